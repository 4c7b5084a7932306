"""Value checks that `checkify` finds, and that cost nothing where it does not look.

`checkify.debug_check` alone leaves nothing in the compiled program either, but it is an effect, and a function that has
one is started from Python, the slower the more parameters a training step has. So the check is carried as the inside
of a call of the identity, which is all that anything but `checkify` sees.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import checkify
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Bool


def checked(array: Array, valid: Bool[Array, "..."], message: str) -> Array:
    """The array, and a `checkify` check that all of its entries are valid: the message is followed by an offender."""
    # A maximum finds an offender without indexing, which a sharded array would not allow.
    lowest = -jnp.inf if jnp.issubdtype(array.dtype, jnp.floating) else jnp.iinfo(array.dtype).min
    offender = jnp.max(jnp.where(valid, lowest, array), initial=lowest)

    def check(array: Array, all_valid: Array, offender: Array) -> Array:
        checkify.debug_check(all_valid, message + ", got {offender}", offender=offender)
        return array

    operands = array, jnp.all(valid), offender
    results: list[Array] = _identity.bind(*operands, call_jaxpr=jax.make_jaxpr(check)(*operands))
    return results[0]


class _Identity(Primitive):
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


_identity = _Identity("value_check")


def _derivative(
    primals: Sequence[Array], tangents: Sequence[Any], **params: Any
) -> tuple[Sequence[Array], Sequence[Any]]:
    return _identity.bind(*primals, **params), tangents[:1]


def _mapped(operands: Sequence[Array], axes: Sequence[Any], **params: Any) -> tuple[Sequence[Array], Sequence[Any]]:
    array, all_valid, offender = operands
    return _identity.bind(array, jnp.all(all_valid), jnp.max(offender), **params), axes[:1]


ad.primitive_jvps[_identity] = _derivative
batching.primitive_batchers[_identity] = _mapped
mlir.register_lowering(_identity, lambda _, *operands, **params: _identity.impl(*operands, **params))
