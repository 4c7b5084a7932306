"""How arrays are spread over devices, where that is part of their type."""

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
