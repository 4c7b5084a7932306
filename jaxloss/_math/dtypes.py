"""The dtype in which losses are computed, and the type of an option that may be a traced number."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Scalar = float | np.number[Any] | Float[Array, ""]


def compute_dtype(arrays: Iterable[Any]) -> jnp.dtype:
    """float64 if the dtype of one of the arrays is float64, else float32."""
    # Under jax_enable_x64 a Python number becomes a weakly typed float64, which must not raise the dtype of the others.
    double = any(getattr(x, "dtype", None) == "float64" and not getattr(x, "weak_type", False) for x in arrays)
    return jnp.dtype("float64" if double else "float32")


def widened(array: Array) -> Array:
    """An array cast to the dtype in which it is computed: float64 stays, everything else becomes float32."""
    return array.astype(compute_dtype([array]))
