"""Errors of one line that name the loss, and checks of values that only `checkify` sees."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.experimental import checkify
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.typing import ArrayLike
from jaxtyping import Array, Bool

# --- the loss that is being traced ------------------------------------------------------------------------------------


class Domain(NamedTuple):
    """The values an argument may take: checked by `checkify`, free otherwise.

    Attributes:
        description: What they are, for messages: "must be …".
        contains: Whether an array lies in it, entry by entry.
        harmless: What an excluded entry of an array is replaced by.
    """

    description: str
    contains: Callable[[Any], Any]
    harmless: Callable[[Array], float] = lambda _: 1.0


PROBABILITY = Domain("in [0, 1]", lambda x: (x >= 0) & (x <= 1))
SIGN = Domain("-1 or 1", lambda x: jnp.abs(x) == 1)
NON_NEGATIVE = Domain("non-negative", lambda x: x >= 0)
AT_LEAST_ONE = Domain("at least 1", lambda x: x >= 1)
POSITIVE = Domain("positive", lambda x: x > 0)


def _are_log_probabilities(rows: Array) -> Array:
    total = jnp.sum(jnp.exp(jnp.minimum(rows, 0)), axis=-1, keepdims=True)
    return (rows <= 1e-3) & (jnp.abs(total - 1) <= 0.05)  # as exact as half precision is


LOG_PROBABILITIES = Domain(
    "log-probabilities of a distribution, as of log_softmax",
    _are_log_probabilities,
    lambda rows: -math.log(rows.shape[-1]),
)


@dataclass(frozen=True)
class Tracing:
    """What the helpers and `reduce` have to know of the loss whose body is being traced.

    Attributes:
        name: The name that messages begin with.
        arguments: The names of its arguments.
        domains: The values that its arguments may take.
        partial: Whether its mean is wanted before the division.
    """

    name: str = "jaxloss"
    arguments: Collection[str] = ()
    domains: Mapping[str, Domain] = field(default_factory=dict)
    partial: bool = False


_tracing: ContextVar[Tracing] = ContextVar("_tracing")
_NO_LOSS = Tracing()  # for `reduce` and the helpers by themselves


def tracing() -> Tracing:
    """The loss whose body is being traced."""
    return _tracing.get(_NO_LOSS)


@contextmanager
def traced_as(loss: Tracing) -> Iterator[None]:
    """What is traced inside belongs to a loss."""
    token = _tracing.set(loss)
    try:
        yield
    finally:
        _tracing.reset(token)


# --- errors -----------------------------------------------------------------------------------------------------------


def require(assertion: Callable[..., None], *args: Any, message: str) -> None:
    """A chex assertion, as a `ValueError` of one line that names the loss."""
    try:
        assertion(*args)
    except AssertionError:
        raise ValueError(f"{tracing().name}: {message}") from None


def require_dtype(condition: bool, message: str) -> None:
    """For what an argument is, rather than which shape or value it has."""
    if not condition:
        raise TypeError(f"{tracing().name}: {message}")


def require_option(name: str, value: object, choices: Collection[object]) -> None:
    """For static options."""
    if value not in choices:
        batchmean = ': what PyTorch calls "batchmean" is "mean" here' if value == "batchmean" else ""
        raise ValueError(f"{tracing().name}: {name} must be one of {choices}, got {value!r}{batchmean}")


def require_shape(name: str, array: ArrayLike, shape: tuple[int, ...], because: str) -> None:
    """For inputs that have a shape of their own, such as parameters."""
    message = f"{name} must have shape {shape}, {because}, got {jnp.shape(array)}"
    if jnp.ndim(array) == len(shape) == 2 and jnp.shape(array)[0] != shape[0] == jnp.shape(array)[1]:
        message += f": use {name}.T"  # a kernel as PyTorch and Equinox have them
    require(chex.assert_shape, array, shape, message=message)


# --- values -----------------------------------------------------------------------------------------------------------


def in_domain(name: str, array: Array, domain: Domain | None = None) -> Array:
    """The array, with a check that it lies in a domain: by default the one that the loss has for it."""
    domain = domain or tracing().domains.get(name)
    return array if domain is None else check_values(name, array, domain.contains(array), domain.description)


def check_values(name: str, array: Array, valid: Bool[Array, "..."], expected: str) -> Array:
    """The array, with a check for `checkify` that all of its entries are valid: the message ends in an offender."""
    # A maximum finds an offender without indexing, which a sharded array would not allow.
    lowest = -jnp.inf if jnp.issubdtype(array.dtype, jnp.floating) else jnp.iinfo(array.dtype).min
    offender = jnp.max(jnp.where(valid, lowest, array), initial=lowest)
    message = f"{tracing().name}: {name} must be {expected}"

    def check(array: Array, all_valid: Array, offender: Array) -> Array:
        checkify.debug_check(all_valid, message + ", got {offender}", offender=offender)
        return array

    operands = array, jnp.all(valid), offender
    results: list[Array] = _value_check.bind(*operands, call_jaxpr=jax.make_jaxpr(check)(*operands))
    return results[0]


# `checkify.debug_check` by itself leaves nothing in the compiled program either, but it is an effect, and JAX starts a
# function with effects from Python, the slower the more parameters a training step has. So the check is carried as the
# inside of a call of the identity, which is all that anything but `checkify` sees.
#
# This stands on two internals of JAX. `checkify` treats every primitive that has a `call_jaxpr` parameter as a call: it
# rewrites the inside and binds the primitive again, with the result in `subfuns`. And `ad.primitive_jvps` takes a rule
# for a primitive with several results. tests/test_value_checks.py fails where either no longer holds.


class _ValueCheck(Primitive):
    """The first of its operands, with a `call_jaxpr` inside: `checkify` goes into whatever has one."""

    multiple_results = True

    def bind(self, *operands: Any, subfuns: Sequence[Any] = (), **params: Any) -> Any:
        if subfuns:  # what `checkify` has made of the inside, to replace the call
            return subfuns[0].call_wrapped(*operands)
        plain: Callable[..., Any] = super().bind
        return plain(*operands, **params)

    def impl(self, first: Any, *_: Any, call_jaxpr: Any) -> list[Any]:
        return [first]

    def abstract_eval(self, first: Any, *_: Any, call_jaxpr: Any) -> tuple[list[Any], set[Any]]:
        return [first], set()  # no effects


_value_check = _ValueCheck("value_check")


def _derivative(
    primals: Sequence[Array], tangents: Sequence[Any], **params: Any
) -> tuple[Sequence[Array], Sequence[Any]]:
    return _value_check.bind(*primals, **params), tangents[:1]


def _mapped(operands: Sequence[Array], axes: Sequence[Any], **params: Any) -> tuple[Sequence[Array], Sequence[Any]]:
    array, all_valid, offender = operands
    return _value_check.bind(array, jnp.all(all_valid), jnp.max(offender), **params), axes[:1]


ad.primitive_jvps[_value_check] = _derivative
batching.primitive_batchers[_value_check] = _mapped
mlir.register_lowering(_value_check, lambda _, *operands, **params: _value_check.impl(*operands, **params))
