"""Indexing along the last axis, as a call into which `checkify` does not look.

The index checks of `checkify` cannot take a gather or scatter with batch axes, which every indexing has under `vmap`:
they raise an IndexError (JAX 0.10 to 0.12). What is indexed by here are labels, which are checked before, and orders.

Like the value check in `_kit`, this stands on JAX's interface for primitives. tests/test_laws.py fails where it no
longer holds.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

Indexing = Callable[[Array, Array], Array]

_indexing = Primitive("indexing")


def unseen(function: Indexing) -> Indexing:
    """The same function of an array and of indices, which is linear in the array."""

    def call(array: Array, indices: Array) -> Array:
        result: Array = _indexing.bind(array, indices, function=function)
        return result

    return functools.wraps(function)(call)


def _called(array: Array, indices: Array, *, function: Indexing) -> Array:
    return function(array, indices)


def _type_of_result(array: Any, indices: Any, *, function: Indexing) -> Any:
    return jax.make_jaxpr(function)(array, indices).out_avals[0]


def _derivative(tangent: Array, _: Array, indices: Array, *, function: Indexing) -> Array:
    result: Array = _indexing.bind(tangent, indices, function=function)
    return result


def _transposed(cotangent: Any, array: Any, indices: Array, *, function: Indexing) -> list[Any]:
    if isinstance(cotangent, ad.Zero):
        return [ad.Zero(array.aval), None]

    def transpose(cotangent: Array, indices: Array) -> Array:
        result: Array = jax.linear_transpose(lambda array: function(array, indices), array.aval)(cotangent)[0]
        return result

    return [_indexing.bind(cotangent, indices, function=transpose), None]


def _mapped(operands: Sequence[Array], axes: Sequence[Any], *, function: Indexing) -> tuple[Array, int]:
    return _indexing.bind(*operands, function=jax.vmap(function, in_axes=tuple(axes))), 0


_indexing.def_impl(_called)
_indexing.def_abstract_eval(_type_of_result)
ad.defjvp(_indexing, _derivative, None)
ad.primitive_transposes[_indexing] = _transposed
batching.primitive_batchers[_indexing] = _mapped
mlir.register_lowering(_indexing, mlir.lower_fun(_called, multiple_results=False))


@unseen
def taken(rows: Array, indices: Array) -> Array:
    """The entries of each row at its indices, which are known to exist."""
    return jnp.take_along_axis(rows, indices, axis=-1, mode="promise_in_bounds")
