"""The inputs of a loss: their shapes are checked, and harmless numbers put where a mask excludes an entry."""

from collections.abc import Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from .checks import NON_NEGATIVE, in_domain, require, require_shape, tracing
from .kinds import Mask


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
    rows, batch = rows_last(axis, inputs, per_row or {})
    return shielded(where, batch, **rows)


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
    arrays = _alike_sharded(_arrays(inputs), len(shape))
    if where is not None:
        mask = sharded_as(next(iter(arrays.values())), broadcastable("where", where, shape))
        for name, array in arrays.items():
            # 1 is a probability, a variance, a logit, a sign; 0 is a class of every label.
            domain = tracing().domains.get(name)
            floating = 1.0 if domain is None else domain.harmless(array)
            harmless = floating if jnp.issubdtype(array.dtype, jnp.floating) else 0
            aligned = jnp.expand_dims(mask, tuple(range(mask.ndim, array.ndim))) if mask.ndim else mask
            arrays[name] = jnp.where(aligned, array, harmless)
    for name, array in arrays.items():
        if jnp.issubdtype(array.dtype, jnp.floating):  # integers have classes or lengths for a domain
            arrays[name] = in_domain(name, array)
    return tuple(arrays.values())


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
    name, value = next(iter(option.items()))
    if value is None:
        return None
    classes = rows.shape[-1:]
    array = jnp.asarray(value)
    if array.ndim == 0:
        array = jnp.broadcast_to(array, classes)
    require_shape(name, array, classes, "one entry per class")
    array = in_domain(name, array, NON_NEGATIVE)
    return jnp.expand_dims(array, tuple(range(rows.ndim - 1)))


def broadcastable(name: str, option: ArrayLike, shape: tuple[int, ...], *, of: str = "the loss") -> Array:
    """A scalar, or of the rank of the loss with axes of its sizes or 1: anything else could mean two things."""
    array = jnp.asarray(option)
    message = f"{name} must be a scalar or have the rank of {of}, which is {shape}, got {array.shape}"
    if array.ndim and array.ndim < len(shape):
        if array.shape == shape[: array.ndim]:
            message += f": use {name}[{', '.join([':'] * array.ndim + ['None'] * (len(shape) - array.ndim))}]"
        elif array.shape == shape[-array.ndim :]:
            message += f": use {name}[{', '.join(['None'] * (len(shape) - array.ndim) + [':'] * array.ndim)}]"
    elif name == "weights" and array.ndim == 1 and "class_weights" in tracing().arguments:
        message += ": for one weight per class use class_weights"
    if array.ndim:
        require(chex.assert_rank, array, len(shape), message=message)
        require(chex.assert_is_broadcastable, array.shape, shape, message=message)
    return array


def rows_last(
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
        elif "axis" in tracing().arguments and array.shape == (*shape[:1], *shape[2:]):
            message += ": use axis=1"  # as PyTorch has its classes
        require(chex.assert_shape, array, batch, message=message + _squeeze_hint(name, array, batch))
    return rows | entries, batch


# --- shardings --------------------------------------------------------------------------------------------------------


def _alike_sharded(arrays: dict[str, Array], rank: int) -> dict[str, Array]:
    """Arrays whose first axes are those of the loss, sharded alike on explicit mesh axes.

    These axes, and all others of floating arrays that have the first one's shape, are sharded as in the first array
    that shards them. No mesh axis is used twice. Where the mesh has no explicit axes, nothing happens.
    """
    if not any(any(_spec(array)) for array in arrays.values()):
        return arrays
    shape = _shape(arrays)

    def is_whole(array: Array) -> bool:
        return array.shape == shape and (len(shape) == rank or bool(jnp.issubdtype(array.dtype, jnp.floating)))

    union: list[Any] = [None] * len(shape)
    for array in arrays.values():
        shared = len(shape) if is_whole(array) else rank
        for i, names in enumerate(_spec(array)[:shared]):
            if union[i] is None and not _names(names) & set().union(*map(_names, union)):
                union[i] = names

    def wanted(array: Array) -> list[Any]:
        if is_whole(array):
            return union
        used = set().union(*map(_names, union[:rank]))
        return union[:rank] + [None if _names(names) & used else names for names in _spec(array)[rank:]]

    return {name: _resharded(array, wanted(array)) for name, array in arrays.items()}


def sharded_as(like: Array, option: Array) -> Array:
    """An option that stretches over an array, sharded like that array's first axes if these are sharded."""
    if not any(_spec(like)):
        return option
    wanted = [None if size == 1 else names for size, names in zip(option.shape, _spec(like), strict=False)]
    return _resharded(option, wanted)


def _spec(array: Array) -> tuple[Any, ...]:
    return tuple(jax.typeof(array).sharding.spec)


def _names(axes: Any) -> set[Any]:
    return set() if axes is None else {axes} if isinstance(axes, str) else set(axes)


def _resharded(array: Array, spec: Sequence[Any]) -> Array:
    return array if _spec(array) == tuple(spec) else jax.sharding.reshard(array, jax.sharding.PartitionSpec(*spec))


# --- shapes -----------------------------------------------------------------------------------------------------------


def _arrays(inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
    return {name: jnp.asarray(array) for name, array in inputs.items()}


def _shape(arrays: Mapping[str, Array]) -> tuple[int, ...]:
    return next(iter(arrays.values())).shape


def _axis_last(name: str, array: Array, axis: int) -> Array:
    message = f"{name} {array.shape} must have entries along axis {axis}"
    require(chex.assert_axis_dimension_gt, array, axis, 0, message=message)
    return jnp.moveaxis(array, axis, -1)


def _require_equal_shapes(arrays: Mapping[str, Array]) -> None:
    described = " and ".join(f"{name} {array.shape}" for name, array in arrays.items())
    message = f"{described} must have one shape"
    for name, array in arrays.items():
        message += "".join(_squeeze_hint(name, array, other.shape) for other in arrays.values())
    require(chex.assert_equal_shape, list(arrays.values()), message=message)


def _squeeze_hint(name: str, array: Array, shape: tuple[int, ...]) -> str:
    """The habit behind most mismatches: an output or a label of shape (n, 1) where (n,) is meant."""
    return f": use {name}[..., 0]" if array.shape == (*shape, 1) else ""
