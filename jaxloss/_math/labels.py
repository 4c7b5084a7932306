"""Where the labels of rows point."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer


def label_mask(labels: Integer[Array, "*batch"], classes: int, /) -> Bool[Array, "*batch classes"]:
    """Which class of each row its label names: for use in a reduction, where it is never held in memory.

    Args:
        labels: Integers, of shape (...).
        classes: Number of classes.

    Returns:
        Boolean array of shape (..., classes).
    """
    return labels[..., None] == jax.lax.broadcasted_iota(jnp.int32, (1,) * labels.ndim + (classes,), labels.ndim)
