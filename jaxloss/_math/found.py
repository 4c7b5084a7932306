"""Values that were found in another way than they are differentiated."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

# Not a function with a `jax.custom_jvp`, whose rule JAX drops where it computes ahead of a `scan`. Like the value check
# in `_kit`, it stands on JAX's interface for primitives.
_found = Primitive("found")


def found(value: Float[Array, "*shape"], computed: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A value, with the derivatives of what it would be computed as: of that, XLA then removes the value."""
    result: Array = _found.bind(value, computed)
    return result


def _value(value: Any, _: Any) -> Any:
    return value


def _jvp(operands: Sequence[Array], tangents: Sequence[Any]) -> tuple[Array, Any]:
    return _found.bind(*operands), tangents[1]


def _mapped(operands: Sequence[Array], axes: Sequence[Any]) -> tuple[Array, int]:
    size = next(array.shape[axis] for array, axis in zip(operands, axes, strict=True) if axis is not None)
    first = [
        jnp.broadcast_to(array, (size, *array.shape)) if axis is None else jnp.moveaxis(array, axis, 0)
        for array, axis in zip(operands, axes, strict=True)
    ]
    return _found.bind(*first), 0


_found.def_impl(_value)
_found.def_abstract_eval(_value)
ad.primitive_jvps[_found] = _jvp
batching.primitive_batchers[_found] = _mapped
mlir.register_lowering(_found, mlir.lower_fun(_value, multiple_results=False))
