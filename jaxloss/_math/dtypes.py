"""The dtype that losses are computed in, and the type of a number that may be traced."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Scalar = float | np.number[Any] | Float[Array, ""]


def compute_dtype(arrays: Iterable[Any]) -> jnp.dtype:
    """float64 where one of the arrays is, else float32."""
    # A Python number is float64 under jax_enable_x64, but a weak one, which must not raise the others' dtype.
    double = any(getattr(x, "dtype", None) == "float64" and not getattr(x, "weak_type", False) for x in arrays)
    return jnp.dtype("float64" if double else "float32")


def widened(array: Array) -> Array:
    """Half precision as float32; anything else as it is."""
    return array.astype(compute_dtype([array]))
