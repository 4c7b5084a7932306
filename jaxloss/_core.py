"""The shared machinery: every loss is written with it, and so can a user's own.

A loss body does three things. An input helper checks shapes and puts harmless numbers where `where` excludes an
entry; a few lines of maths compute one value per entry or row; `reduce` applies masks and weights to those values.
What is the same for all of them happens around the body, in `loss_function`: compilation, dtypes, names in messages.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Real

from ._checks import checked

Scalar = float | np.number[Any] | Float[Array, ""]
Mask = Bool[ArrayLike, "..."]
Weights = Real[ArrayLike, "..."]
Reduction = Literal["mean", "sum", "none"]

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Array])


class Domain(NamedTuple):
    """The values an argument may take: checked by `checkify`, free otherwise."""

    description: str
    contains: Callable[[Any], Any]


PROBABILITY = Domain("in [0, 1]", lambda x: (x >= 0) & (x <= 1))
SIGN = Domain("-1 or 1", lambda x: jnp.abs(x) == 1)
NON_NEGATIVE = Domain("non-negative", lambda x: x >= 0)
AT_LEAST_ONE = Domain("at least 1", lambda x: x >= 1)
POSITIVE = Domain("positive", lambda x: x > 0)


# --- the decorator ----------------------------------------------------------------------------------------------------


def loss_function(
    *,
    static: Sequence[str] = (),
    half: Sequence[str] = (),
    ids: Sequence[str] = (),
    domains: Mapping[str, Domain] | None = None,
    compiled: bool = True,
) -> Callable[[F], F]:
    """Makes a loss of a function that ends in `reduce`.

    The function's positional parameters are its inputs, its keywords are options. Inputs arrive as arrays of the
    compute dtype (float32, or float64 where an input is), those named `labels`, `label_lengths` or `logit_lengths` as
    int32. Inputs named `targets` or `relevance` may be integers or booleans; all others must be floating. A keyword
    whose default is a number arrives as a 0-d array, so that changing, mapping or differentiating it never recompiles.

    Args:
        static: Names of the keywords that change the program (flags, axes); `reduction` is always one.
        half: Names of the inputs that stay in half precision, for a loss that widens them as it reads them.
        ids: Names of the inputs that hold ids, which are only ever compared: they keep their integer dtype, as int32
            might not tell them apart.
        domains: The values that arguments may take, by name. They are checked under `jax.experimental.checkify` and
            cost nothing elsewhere. Labels with a domain may be floating too.
        compiled: Whether the whole body is under `jax.jit`. False for a loss that is handed a function: that has to
            run in its caller's trace, since as a static argument a mutated closure would reuse a stale program.

    Returns:
        A decorator. What it makes is typed as the function it was given, takes the same arguments, and calls the
        compiled body: one dispatch.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> @jaxloss.loss_function()
        ... def cubic_loss(predictions, targets, *, scale=1.0, where=None, weights=None, reduction="mean"):
        ...     predictions, targets = jaxloss.elementwise_inputs(where, predictions=predictions, targets=targets)
        ...     values = scale * jnp.abs(predictions - targets) ** 3
        ...     return jaxloss.reduce(values, where=where, weights=weights, reduction=reduction)
        >>> cubic_loss(jnp.array([1.0, 2.0]), jnp.array([1, 0]))
        Array(4., dtype=float32)
    """

    def decorate(function: F) -> F:
        call = _call(function, ("reduction", *static), half, ids, domains)
        loss = _prepared_function(function, call, compiled=compiled)
        _losses[loss] = call
        return loss

    return decorate


def array_function(*, static: Sequence[str] = (), domains: Mapping[str, Domain] | None = None) -> Callable[[F], F]:
    """What `loss_function` does for a loss, for a function of arrays that is none: it has no reduction.

    Args:
        static: Names of the keywords that change the program.
        domains: The values that arguments may take, by name.

    Returns:
        A decorator.
    """

    def decorate(function: F) -> F:
        return _prepared_function(function, _call(function, static, (), (), domains), compiled=True)

    return decorate


@dataclass(frozen=True)
class _Call:
    """The loss being traced: what casts, messages and value checks need to know of it."""

    name: str
    signature: inspect.Signature
    static: frozenset[str]
    half: frozenset[str]
    ids: frozenset[str]
    domains: Mapping[str, Domain]

    @contextmanager
    def active(self) -> Iterator[None]:
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


# For `reduce` and the helpers when no loss is being traced.
_OUTSIDE = _Call("jaxloss", inspect.Signature(), frozenset(), frozenset(), frozenset(), {})
_losses: WeakKeyDictionary[Callable[..., Array], _Call] = WeakKeyDictionary()
_current: ContextVar[_Call] = ContextVar("_current", default=_OUTSIDE)


def _call(
    function: Callable[..., Array],
    static: Sequence[str],
    half: Sequence[str],
    ids: Sequence[str],
    domains: Mapping[str, Domain] | None,
) -> _Call:
    signature = inspect.signature(function)
    return _Call(function.__name__, signature, frozenset(static), frozenset(half), frozenset(ids), domains or {})


def _prepared_function(function: F, call: _Call, *, compiled: bool) -> F:
    """The function with its arguments checked and cast, and what it calls knowing of the call."""

    @functools.wraps(function)
    def body(*args: Any, **kwargs: Any) -> Array:
        with call.active():
            return function(**_prepared(call, args, kwargs))

    inner = jax.jit(body, static_argnames=tuple(call.static)) if compiled else body

    @functools.wraps(function)
    def prepared(*args: Any, **kwargs: Any) -> Array:
        return inner(*args, **kwargs)

    return cast(F, prepared)


_MASK_NAMES = ("where", "valid")
_INTEGER_NAMES = ("labels", "logit_lengths", "label_lengths", "ignore_index")
_CASTABLE_NAMES = ("targets", "relevance")
_TREE_NAMES = ("tails",)
_FLOATING_DTYPES = ("float64", "float32", "float16", "bfloat16")


def _prepared(call: _Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, checked for dtype and cast."""
    try:
        bound = call.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{call.name}: {error}") from None
    bound.apply_defaults()
    parameters = call.signature.parameters
    inputs = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    leaves = jax.tree.leaves([bound.arguments[name] for name in inputs])
    dtype = _compute_dtype(leaves)

    prepared = {}
    for name, value in bound.arguments.items():
        is_input = name in inputs
        is_scalar = not is_input and isinstance(parameters[name].default, (int, float))
        if name in call.static or callable(value) or (value is None and not is_input):
            prepared[name] = value
            _check_static(name, value)
        elif is_scalar and type(value) in (int, float):  # not their heir np.float64, which would raise the dtype
            prepared[name] = value  # the default: as a constant of the program, an unused option costs nothing
        else:
            is_half = getattr(value, "dtype", None) in ("float16", "bfloat16")
            stays = is_half and name in call.half and dtype == "float32"
            prepared[name] = _cast(name, value, value.dtype if stays else dtype, is_input=is_input)
            if is_scalar:
                shape = prepared[name].shape
                _require(chex.assert_rank, prepared[name], 0, message=f"{name} must be a scalar, got shape {shape}")
            if not is_input:
                prepared[name] = _in_domain(name, prepared[name])
    return prepared


def _compute_dtype(leaves: Sequence[Any]) -> jnp.dtype:
    # A Python number is float64 under jax_enable_x64, but a weak one, which must not raise the others' dtype.
    double = any(getattr(x, "dtype", None) == "float64" and not getattr(x, "weak_type", False) for x in leaves)
    return jnp.dtype("float64" if double else "float32")


def widened(array: Array) -> Array:
    """Half precision as float32."""
    return array.astype(_compute_dtype([array]))


def _cast(name: str, value: Any, dtype: Any, *, is_input: bool) -> Any:
    if name in _TREE_NAMES:
        return jax.tree.map(lambda leaf: _cast_array(name, leaf, dtype, is_input=is_input), value)
    return _cast_array(name, value, dtype, is_input=is_input)


def _cast_array(name: str, value: Any, dtype: Any, *, is_input: bool) -> Array:
    numeric = isinstance(value, (bool, int, float)) or hasattr(value, "dtype")
    _require_dtype(numeric, f"{name} must be an array, got {type(value).__name__}")
    array = jnp.asarray(value)
    floating, integer = array.dtype.name in _FLOATING_DTYPES, jnp.issubdtype(array.dtype, jnp.integer)
    boolean = array.dtype == jnp.bool_

    if name in _MASK_NAMES:
        _require_dtype(boolean, f"{name} must be boolean, got {array.dtype}: use {name}.astype(bool)")
        return array
    if name in _INTEGER_NAMES:
        if floating and name in _current.get().domains:
            return array.astype(dtype)
        _require_dtype(integer, f"{name} must be integers, got {array.dtype}")
        return array if name in _current.get().ids else _to_int32(array)
    if is_input and name not in _CASTABLE_NAMES:
        _require_dtype(floating, f"{name} must be floating (16, 32 or 64 bits), got {array.dtype}")
    else:
        _require_dtype(floating or integer or boolean, f"{name} must be real numbers, got {array.dtype}")
    return array.astype(dtype)


def _to_int32(array: Array) -> Array:
    # Comparing labels in their own dtype wraps (uint8 == -100), and so does narrowing: 2**32 would become class 0.
    narrow, wide = jnp.iinfo(jnp.int32), jnp.iinfo(array.dtype)
    if wide.max > narrow.max:
        array = jnp.clip(array, max(wide.min, narrow.min), narrow.max)
    return array.astype(jnp.int32)


# --- checks -----------------------------------------------------------------------------------------------------------


def _require(assertion: Callable[..., None], *args: Any, message: str) -> None:
    """A chex assertion, as a `ValueError` of one line that names the loss."""
    try:
        assertion(*args)
    except AssertionError:
        raise ValueError(f"{_current.get().name}: {message}") from None


def _require_dtype(condition: bool, message: str) -> None:
    if not condition:
        raise TypeError(f"{_current.get().name}: {message}")


def require_option(name: str, value: object, choices: Collection[object]) -> None:
    """For static options."""
    if value not in choices:
        raise ValueError(f"{_current.get().name}: {name} must be one of {choices}, got {value!r}")


def require_shape(name: str, array: ArrayLike, shape: tuple[int, ...], because: str) -> None:
    """For inputs that have a shape of their own, such as parameters."""
    message = f"{name} must have shape {shape}, {because}, got {jnp.shape(array)}"
    _require(chex.assert_shape, array, shape, message=message)


def _require_equal_shapes(arrays: Mapping[str, Array]) -> None:
    described = " and ".join(f"{name} {array.shape}" for name, array in arrays.items())
    message = f"{described} must have one shape"
    for name, array in arrays.items():
        message += "".join(_squeeze_hint(name, array, other.shape) for other in arrays.values())
    _require(chex.assert_equal_shape, list(arrays.values()), message=message)


def _squeeze_hint(name: str, array: Array, shape: tuple[int, ...]) -> str:
    """The habit behind most mismatches: an output or a label of shape (n, 1) where (n,) is meant."""
    return f": use {name}[..., 0]" if array.shape == (*shape, 1) else ""


def stretching(name: str, option: ArrayLike, shape: tuple[int, ...], *, of: str = "the loss") -> Array:
    """A scalar, or of the rank of the loss with axes of its sizes or 1: anything else could mean two things."""
    array = jnp.asarray(option)
    message = f"{name} must be a scalar or have the rank of {of}, which is {shape}, got {array.shape}"
    if array.ndim and array.ndim < len(shape):
        if array.shape == shape[: array.ndim]:
            message += f": use {name}[{', '.join([':'] * array.ndim + ['None'] * (len(shape) - array.ndim))}]"
        elif array.shape == shape[-array.ndim :]:
            message += f": use {name}[{', '.join(['None'] * (len(shape) - array.ndim) + [':'] * array.ndim)}]"
    if array.ndim:
        _require(chex.assert_rank, array, len(shape), message=message)
        _require(chex.assert_is_broadcastable, array.shape, shape, message=message)
    return array


def _in_domain(name: str, array: Array, domain: Domain | None = None) -> Array:
    domain = domain or _current.get().domains.get(name)
    return array if domain is None else check_values(name, array, domain.contains(array), domain.description)


def _check_static(name: str, value: Any) -> None:
    call = _current.get()
    domain = call.domains.get(name)
    if domain is not None and value is not None and not domain.contains(value):
        raise ValueError(f"{call.name}: {name} must be {domain.description}, got {value!r}")


def check_values(name: str, array: Array, valid: Array, expected: str) -> Array:
    """The array, with a check of its values for `checkify`, in the name of the loss."""
    return checked(array, valid, f"{_current.get().name}: {name} must be {expected}")


# --- inputs -----------------------------------------------------------------------------------------------------------


def elementwise_inputs(where: Mask | None, /, **inputs: ArrayLike) -> tuple[Array, ...]:
    """Checks the inputs of a loss that has one value per entry, and shields excluded entries.

    Args:
        where: Boolean mask of the entries that count, or None for all.
        **inputs: Arrays of one shape, by the names that messages shall use.

    Returns:
        The inputs in the same order, with harmless numbers in excluded entries.

    Raises:
        ValueError: Shapes differ, or `where` does not fit them.
    """
    arrays = _arrays(inputs)
    _require_equal_shapes(arrays)
    return shielded(where, _shape(arrays), **arrays)


def rowwise_inputs(
    where: Mask | None, axis: int, /, *, per_row: Mapping[str, ArrayLike] | None = None, **inputs: ArrayLike
) -> tuple[Array, ...]:
    """Checks the inputs of a loss that has one value per row, and shields excluded rows.

    Args:
        where: Boolean mask of the rows that count, or None for all.
        axis: The axis that a row runs along.
        per_row: Arrays of one entry per row, by name: of the inputs' shape without `axis`.
        **inputs: Arrays of one shape, by the names that messages shall use.

    Returns:
        The inputs with `axis` moved last, then those of `per_row`, with harmless numbers in excluded rows.

    Raises:
        ValueError: Shapes differ, there is no such axis, or `where` does not fit them.
    """
    rows, batch = _rows(axis, inputs, per_row or {})
    return shielded(where, batch, **rows)


def labelled_inputs(
    where: Mask | None,
    axis: int,
    ignore_index: ArrayLike | None,
    /,
    *,
    labels: ArrayLike,
    classes: int | None = None,
    **inputs: ArrayLike,
) -> tuple[Array, Array, Mask | None, Array]:
    """Checks the inputs of a loss with one integer label per row, and shields excluded rows.

    Args:
        where: Boolean mask of the rows that count, or None for all.
        axis: The class axis of the input.
        ignore_index: The label of rows that do not count, or None if no label means that.
        labels: Integer classes, of the input's shape without `axis`.
        classes: How many classes there are, if not the size of `axis`.
        **inputs: One array, by the name that messages shall use.

    Returns:
        The input with its class axis last; labels that lie within the classes; `where` without the ignored rows; and
        a factor for each row's value: 1, or NaN where the label was no class, so that neither the loss nor its
        gradient can be mistaken for right ones.

    Raises:
        TypeError: Labels are not integers.
        ValueError: Shapes do not fit, or there is no such axis.
    """
    labels = jnp.asarray(labels)
    integers = jnp.issubdtype(labels.dtype, jnp.integer)
    _require_dtype(integers, f"labels must be integers, or probabilities with a class axis, got {labels.dtype}")
    arrays, batch = _rows(axis, inputs, {"labels": labels})
    if ignore_index is not None:
        counted = labels != ignore_index
        where = counted if where is None else counted & stretching("where", where, batch)
    rows, labels = shielded(where, batch, **arrays)
    classes = classes or rows.shape[-1]
    valid = (labels >= 0) & (labels < classes)
    labels = check_values("labels", labels, valid, f"in [0, {classes})")
    return rows, jnp.where(valid, labels, 0), where, poison(valid)


def shielded(where: Mask | None, shape: tuple[int, ...], /, **inputs: ArrayLike) -> tuple[Array, ...]:
    """Puts harmless numbers where `where` excludes an entry: masking only the loss would leave 0 * NaN in gradients.

    The other input helpers end in it; a loss whose inputs fit none of them checks their shapes and calls it.

    Args:
        where: Boolean mask of the entries that count, or None for all.
        shape: The shape of the unreduced loss.
        **inputs: Arrays whose shapes start with it, by the names that messages shall use.

    Returns:
        The inputs in the same order.

    Raises:
        ValueError: `where` does not fit the shape.
    """
    arrays = _arrays(inputs)
    if where is not None:
        mask = stretching("where", where, shape)
        for name, array in arrays.items():
            # 1 is a probability, a variance, a logit, a sign; 0 is a class of every label.
            harmless = 1 if jnp.issubdtype(array.dtype, jnp.floating) else 0
            aligned = jnp.expand_dims(mask, tuple(range(mask.ndim, array.ndim))) if mask.ndim else mask
            arrays[name] = jnp.where(aligned, array, harmless)
    for name, array in arrays.items():
        if jnp.issubdtype(array.dtype, jnp.floating):  # integers have classes or lengths for a domain
            arrays[name] = _in_domain(name, array)
    return tuple(arrays.values())


def are_probabilities(labels: Array, rows: Array, /) -> bool:
    """Whether labels are probabilities with an axis of classes, where they may also be integers without it."""
    return bool(jnp.issubdtype(labels.dtype, jnp.floating)) and labels.ndim == rows.ndim


def per_class(rows: Array, /, **option: ArrayLike | None) -> Array | None:
    """Checks an optional array of one non-negative number per class, and aligns it with rows whose classes are last.

    Args:
        rows: Array of shape (..., classes).
        **option: Array of shape (classes,), a scalar for all classes, or None, by the name that messages shall use.

    Returns:
        The option with the rank of `rows`, or None.

    Raises:
        ValueError: The option is not of shape (classes,).
    """
    ((name, value),) = option.items()
    if value is None:
        return None
    classes = rows.shape[-1:]
    array = jnp.asarray(value)
    if array.ndim == 0:
        array = jnp.broadcast_to(array, classes)
    require_shape(name, array, classes, "one entry per class")
    array = _in_domain(name, array, NON_NEGATIVE)
    return jnp.expand_dims(array, tuple(range(rows.ndim - 1)))


def poison(valid: Array, /) -> Array:
    """1 where an entry is valid, else NaN: a factor, since selecting NaN would leave the gradient 0 and look right."""
    return jnp.where(valid, 1, jnp.nan)


def at_labels(rows: Array, labels: Array, /) -> Array:
    """The entry of each row that its label names.

    On accelerators a compare-and-select reduction, which fuses with its neighbours into one pass; on CPU, where that
    would be a pass of its own, a gather. Neither brings classes that are sharded over devices together.

    Args:
        rows: Array of shape (..., classes); the leading axes may be of size 1.
        labels: Integers in [0, classes), of shape (...).

    Returns:
        Array of the shape of `labels`.
    """
    rows, labels = jnp.asarray(rows), jnp.asarray(labels)
    # Indexing refuses an axis that is sharded explicitly, and labels that are sharded unlike the rows.
    if tuple(jax.typeof(rows).sharding.spec) != (*jax.typeof(labels).sharding.spec, None):
        return _selected(rows, labels)
    entries: Array = jax.lax.platform_dependent(rows, labels, cpu=_gathered, default=_selected)
    return entries


def _selected(rows: Array, labels: Array) -> Array:
    return jnp.sum(jnp.where(label_mask(labels, rows.shape[-1]), rows, 0), axis=-1)


def _gathered(rows: Array, labels: Array) -> Array:
    return jnp.take_along_axis(rows, labels[..., None], axis=-1, mode="promise_in_bounds")[..., 0]


def label_mask(labels: Array, classes: int, /) -> Array:
    """Which class of each row its label names: for use in a reduction, where it is never held in memory.

    Args:
        labels: Integers, of shape (...).
        classes: Number of classes.

    Returns:
        Boolean array of shape (..., classes).
    """
    return labels[..., None] == jax.lax.broadcasted_iota(jnp.int32, (1,) * labels.ndim + (classes,), labels.ndim)


def _arrays(inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
    return {name: jnp.asarray(array) for name, array in inputs.items()}


def _shape(arrays: Mapping[str, Array]) -> tuple[int, ...]:
    return next(iter(arrays.values())).shape


def _rows(
    axis: int, inputs: Mapping[str, ArrayLike], per_row: Mapping[str, ArrayLike]
) -> tuple[dict[str, Array], tuple[int, ...]]:
    """Inputs with their rows last, and what there is one of per row, once their shapes fit; and the batch shape."""
    arrays, entries = _arrays(inputs), _arrays(per_row)
    _require_equal_shapes(arrays)
    rows = {name: _axis_last(name, array, axis) for name, array in arrays.items()}
    batch = _shape(rows)[:-1]
    first, shape = next(iter(arrays)), _shape(arrays)
    for name, array in entries.items():
        message = f"{name} {array.shape} must have the shape of {first} {shape} without axis {axis}"
        if name == "labels" and array.shape == shape:
            message += ": for one-hot or soft labels pass floats"
        _require(chex.assert_shape, array, batch, message=message + _squeeze_hint(name, array, batch))
    return rows | entries, batch


def _axis_last(name: str, array: Array, axis: int) -> Array:
    message = f"{name} {array.shape} must have entries along axis {axis}"
    _require(chex.assert_axis_dimension_gt, array, axis, 0, message=message)
    return jnp.moveaxis(array, axis, -1)


# --- reduction --------------------------------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PartialMean:
    """A mean before its division: add those of micro-batches, `jax.lax.psum` those of devices, then take `value`.

    The mean of means is wrong where parts count differently: losses {2} and {1, 1, 1} have the mean 1.25, not 1.5.

    Attributes:
        total: The weighted sum of the losses, a scalar.
        weight: The sum of the weights, a scalar.

    Example:
        >>> import jaxloss
        >>> parts = jaxloss.PartialMean(2.0, 1.0), jaxloss.PartialMean(3.0, 3.0)
        >>> print(sum(parts).value)
        1.25
    """

    total: Float[ArrayLike, ""]
    weight: Float[ArrayLike, ""]

    def __add__(self, other: "PartialMean | int") -> "PartialMean":
        if isinstance(other, PartialMean):
            return PartialMean(self.total + other.total, self.weight + other.weight)
        return self if other == 0 else NotImplemented  # `sum` starts at 0

    __radd__ = __add__

    @property
    def value(self) -> Float[Array, ""]:
        """The mean: total over weight, and 0 with zero gradient over nothing."""
        nothing = jnp.equal(self.weight, 0)
        return jnp.where(nothing, 0, self.total / jnp.where(nothing, 1, self.weight))


def partial_mean(loss: Callable[P, Array]) -> Callable[P, PartialMean]:
    """Makes a loss return its mean before the division, for exact means over micro-batches and devices.

    Apply it first, closest to the loss: `jax.vmap(partial_mean(loss))`. Inside `jax.shard_map`, differentiate
    the value of the `psum`-ed partial mean, and take no `psum` of the gradients: that would count each device again.

    Args:
        loss: A loss of this library, or one made with `loss_function`.

    Returns:
        A function with the arguments of `loss` but `reduction`, returning a `PartialMean`.

    Raises:
        TypeError: `loss` was not made with `loss_function`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> partial_mse = jaxloss.partial_mean(jaxloss.mse_loss)
        >>> batches = [(jnp.array([3.0]), jnp.array([1.0])), (jnp.ones(3), jnp.zeros(3))]
        >>> sum(partial_mse(*batch) for batch in batches).value
        Array(1.75, dtype=float32)
    """
    if loss not in _losses:
        raise TypeError(f"partial_mean: expected a loss made with loss_function, innermost, got {loss!r}")

    @functools.wraps(loss)
    def partial_loss(*args: P.args, **kwargs: P.kwargs) -> PartialMean:
        if "reduction" in kwargs:
            raise TypeError(f"partial_mean({loss.__name__}) is a mean: it takes no reduction")
        unreduced = cast(Callable[..., PartialMean], loss)
        return unreduced(*args, **kwargs, reduction=PartialMean)

    return partial_loss


def reduce(
    values: Float[Array, "..."],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    normalizer: Float[Array, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Applies mask and weights to unreduced losses, and reduces them.

    Args:
        values: The losses, one per entry or row.
        where: Boolean mask of the entries that count. A scalar, or the rank of `values` with axes of its sizes or 1.
        weights: Multiplier of each entry, shaped like `where`. Weight 2 is a repeat, weight 0 a removal; but only
            `where` shields from NaN.
        normalizer: What each entry adds to the divisor of the mean before its weight, if not 1: for values that
            are weighted already, as by class.
        reduction: "mean", "sum" or "none".

    Returns:
        "mean": sum of the weighted values over the sum of the weights, 0 where there are none. "sum": the former.
        "none": the weighted values, 0 where excluded, of the shape of `values`.

    Raises:
        ValueError: `where` or `weights` does not fit `values`, or there is no such reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.reduce(jnp.array([1.0, 2.0, jnp.nan]), where=jnp.array([True, True, False]))
        Array(1.5, dtype=float32)
    """
    values, weight = weighted(values, where, weights, normalizer)
    return values if reduction == "none" else reduced(jnp.sum(values), weight, reduction)


def weighted(
    values: Array, where: Mask | None, weights: Weights | None, normalizer: Array | None
) -> tuple[Array, Array]:
    """The losses with mask and weights applied, and the sum of the weights."""
    values = widened(values)
    mask = None if where is None else stretching("where", where, values.shape)
    if mask is not None:
        values = jnp.where(mask, values, 0)
    if weights is not None:
        multipliers = stretching("weights", weights, values.shape).astype(values.dtype)
        multipliers = multipliers if mask is None else jnp.where(mask, multipliers, 0)
        multipliers = _in_domain("weights", multipliers, NON_NEGATIVE)
        values = multipliers * values
        normalizer = multipliers if normalizer is None else multipliers * normalizer
    return values, _total_weight(values, mask, normalizer)


def reduced(total: Array, weight: Array, reduction: Reduction) -> Array:
    """What `reduce` returns of the sum of weighted losses and that of the weights."""
    chosen: object = reduction  # PartialMean itself stands for what `partial_mean` asks
    if chosen is PartialMean:
        return cast(Array, PartialMean(total, weight))
    require_option("reduction", reduction, ("mean", "sum", "none"))
    return total if reduction == "sum" else PartialMean(total, weight).value


def _total_weight(values: Array, mask: Array | None, normalizer: Array | None) -> Array:
    if normalizer is None:
        # Counted as integers: a float32 sum of ones stands still at 2**24.
        counted = jnp.ones((), jnp.int32) if mask is None else mask.astype(jnp.int32)
    else:
        counted = normalizer if mask is None else jnp.where(mask, normalizer, 0)
    stretched = values.size / max(counted.size, 1)
    return jnp.sum(counted).astype(values.dtype) * stretched
