"""What is the same for every loss, around its body: arguments are named, checked and cast, and the body is compiled."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from .arguments import acceptable, bound
from .arguments import cast as cast_arguments
from .checks import Domain, Tracing, traced_as
from .kinds import Kind, Parameter, parameters_of

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


def loss_function(
    *,
    domains: Mapping[str, Domain] | None = None,
    half: Collection[str] = (),
    recomputed: bool = False,
    compiled: bool = True,
) -> Callable[[F], F]:
    """Makes a loss of a function that ends in `reduce`.

    What an argument is, its annotation says. Positional parameters are inputs: they arrive as arrays of the compute
    dtype, which is float32, or float64 where an input is that. `Float[ArrayLike, "..."]` has to be floating;
    `Castable` may be integers or booleans too; `Integer[ArrayLike, "..."]` arrives as int32; `Ids` are integers that
    are only ever compared. Keywords are options: `float` or `Scalar` is a number, which arrives as a 0-d array, so
    that changing, mapping or differentiating it never recompiles; `bool`, `int`, `str`, `Literal[...]`, tuples of
    these and `Static[...]` change the program; what jaxtyping describes is an array; `Mask` is a mask. A number that
    is left out arrives as its default, a Python constant.

    Without annotations a positional parameter is a floating array, or whatever is real if it is called `targets`; an
    option whose default is a float is a number, one whose default is a bool, int, str or None changes the program;
    `where` and `valid` are masks.

    Args:
        domains: The values that arguments may take, by name. They are checked under `jax.experimental.checkify` and
            cost nothing elsewhere; those of options that change the program are checked at once.
        half: Names of the inputs that stay in half precision, for a loss that widens them as it reads them.
        recomputed: Whether a derivative computes anew whatever it has in common with the value. Then it reads only
            the inputs, and a GPU reads them once for both: for a loss of single entries, in which an exponential, a
            logarithm or a power would be written to memory between them. A sum over a row would be computed twice.
        compiled: Whether the whole body is under `jax.jit`. A loss that is handed a function never is: that has to
            run in its caller's trace, since as a static argument a mutated closure would reuse a stale program.

    Returns:
        A decorator. What it makes is typed as the function it was given, takes the same arguments, and calls the
        compiled body: one dispatch.

    Raises:
        TypeError: An annotation cannot be evaluated, or `domains` or `half` names no argument.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxloss import kit
        >>> @kit.loss_function()
        ... def cubic_loss(predictions, targets, *, scale=1.0, where=None, weights=None, reduction="mean"):
        ...     predictions, targets = kit.elementwise_inputs(where, predictions=predictions, targets=targets)
        ...     values = scale * jnp.abs(predictions - targets) ** 3
        ...     return kit.reduce(values, where=where, weights=weights, reduction=reduction)
        >>> cubic_loss(jnp.array([1.0, 2.0]), jnp.array([1, 0]))
        Array(4., dtype=float32)
    """

    def decorate(function: F) -> F:
        definition = _definition(function, domains or {}, half, recomputed=recomputed, compiled=compiled)
        loss = _prepared(definition, partial=False)
        loss.__dict__[_DEFINED] = Loss(definition, _prepared(definition, partial=True))
        return cast(F, loss)

    return decorate


def array_function(*, domains: Mapping[str, Domain] | None = None) -> Callable[[F], F]:
    """What `loss_function` does for a loss, for a function of arrays that is none: it has no reduction.

    Args:
        domains: The values that arguments may take, by name.

    Returns:
        A decorator.
    """

    def decorate(function: F) -> F:
        return cast(F, _prepared(_definition(function, domains or {}, ()), partial=False))

    return decorate


# --- what a loss is known by ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Definition:
    """A function, and what is known of it since it was defined."""

    function: Callable[..., Any]
    signature: inspect.Signature
    parameters: Mapping[str, Parameter]
    domains: Mapping[str, Domain]
    half: frozenset[str]
    recomputed: bool
    compiled: bool

    @property
    def static(self) -> frozenset[str]:
        """The names of the arguments that change the program."""
        return frozenset(name for name, parameter in self.parameters.items() if parameter.kind is Kind.STATIC)


@dataclass(frozen=True, eq=False)
class Loss:
    """What a loss carries with it, also through a pickle: its definition, and the loss with its mean undivided."""

    definition: Definition
    partial: Callable[..., Any]


_DEFINED = "_jaxloss"  # the attribute of a loss that has its `Loss`


def loss_of(function: Callable[..., Any]) -> Loss | None:
    """What a function carries if it is a loss, made with `loss_function`."""
    loss = getattr(function, _DEFINED, None)
    # `functools.wraps` copies the attributes of what it wraps.
    own = loss is not None and getattr(function, "__wrapped__", None) is loss.definition.function
    return loss if own else None


def _definition(
    function: Callable[..., Any],
    domains: Mapping[str, Domain],
    half: Collection[str],
    *,
    recomputed: bool = False,
    compiled: bool = True,
) -> Definition:
    parameters = parameters_of(function)
    for option, names in {"domains": domains, "half": half}.items():
        for name in names:
            if name not in parameters:
                raise TypeError(f"{function.__name__}: {option} names {name}, which is none of its arguments")
    takes_function = any(parameter.kind is Kind.FUNCTION for parameter in parameters.values())
    signature = inspect.signature(function)
    compiled = compiled and not takes_function
    return Definition(function, signature, parameters, domains, frozenset(half), recomputed, compiled)


def _prepared(definition: Definition, *, partial: bool) -> Callable[..., Any]:
    """The function with its arguments checked and cast, and what it calls knowing of the loss."""
    function, signature, parameters = definition.function, definition.signature, definition.parameters
    loss = Tracing(function.__name__, tuple(parameters), definition.domains, partial)

    def traced(**arguments: Any) -> Any:
        with traced_as(loss):
            return function(**arguments)

    computed = _recomputed(traced) if definition.recomputed else traced

    @functools.wraps(function)
    def body(*args: Any, **kwargs: Any) -> Any:
        with traced_as(loss):
            arguments = acceptable(parameters, bound(signature, args, kwargs))
            arguments = cast_arguments(parameters, definition.half, arguments)
        return computed(**arguments)

    if not definition.compiled:
        return body
    program = jax.jit(body, static_argnames=tuple(definition.static))

    @functools.wraps(function)
    def prepared(*args: Any, **kwargs: Any) -> Any:
        try:
            return program(*args, **kwargs)
        except (TypeError, ValueError):
            # JAX refuses some arguments before the body sees them: here they are named, or made what it takes.
            with traced_as(loss):
                arguments = acceptable(parameters, bound(signature, args, kwargs))
        return program(**arguments)

    return prepared


def _recomputed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with derivatives that share nothing with its value but the arguments."""

    def computed(**arguments: Any) -> Any:
        arrays = {name: argument for name, argument in arguments.items() if isinstance(argument, jax.Array)}

        @jax.custom_jvp
        def value(arrays: dict[str, Array]) -> Any:
            return function(**arguments | arrays)

        def jvp(primals: tuple[dict[str, Array]], tangents: tuple[dict[str, Array | SymbolicZero]]) -> tuple[Any, Any]:
            (arrays,) = primals
            anew = {name: _unshared(array) for name, array in arrays.items()}
            moved = {name: tangent for name, tangent in tangents[0].items() if not isinstance(tangent, SymbolicZero)}
            of_moved = {name: anew[name] for name in moved}
            _, tangent = jax.jvp(lambda some: function(**arguments | anew | some), (of_moved,), (moved,))
            return value(arrays), tangent

        value.defjvp(jvp, symbolic_zeros=True)
        return value(arrays)

    return computed


def _unshared(array: Array) -> Array:
    """The same array, which XLA takes for another: nothing that is computed from both is computed once.

    What a value and its gradient share, XLA would write to memory and read again, instead of reading the inputs of both
    once. A barrier would keep the two apart, but also the kernels that read the inputs.
    """
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array
    # Rounding to one bit more than there is changes nothing. XLA removes it only for as many bits as there are.
    info = jnp.finfo(array.dtype)
    return jax.lax.reduce_precision(array, info.nexp, info.nmant + 1)
