"""How arrays are spread over devices, where that is part of their type."""

import math
from typing import Any

import jax
from jaxtyping import Array


def varying_alike(arrays: Any) -> Any:
    """A tree of arrays, all marked as varying over each mesh axis of `shard_map` over which one of them varies."""
    varying = [jax.typeof(array).manual_axis_type.varying for array in jax.tree.leaves(arrays)]
    axes = frozenset().union(*varying)

    def vary(array: Array) -> Array:
        missing = tuple(axes - jax.typeof(array).manual_axis_type.varying)
        return jax.lax.pcast(array, missing, to="varying") if missing else array

    return jax.tree.map(vary, arrays)


def shards_of(array: Array) -> int:
    """Into how many parts an explicit mesh divides the first axis of an array."""
    sharding = jax.typeof(array).sharding
    axes = sharding.spec[0] or ()
    return math.prod(sharding.mesh.shape[axis] for axis in (axes if isinstance(axes, tuple) else (axes,)))


def on_one_device(*arrays: Array) -> bool:
    """Whether no mesh of several devices is known of, neither by arrays nor by the context."""
    meshes = [jax.typeof(array).sharding.mesh for array in arrays]
    return all(math.prod(mesh.axis_sizes) <= 1 for mesh in (*meshes, jax.sharding.get_abstract_mesh()))


def sharded_like(like: Array, array: Array) -> Array:
    """An array with the explicit sharding of another one of its shape."""
    spec = jax.typeof(like).sharding.spec
    return array if jax.typeof(array).sharding.spec == spec else jax.sharding.reshard(array, spec)
