"""Where the labels of rows point."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer

from .indexing import taken, unseen


def label_mask(labels: Integer[Array, "*batch"], classes: int, /) -> Bool[Array, "*batch classes"]:
    """Which class of each row its label names: for use in a reduction, where it is never held in memory.

    Args:
        labels: Integers, of shape (...).
        classes: Number of classes.

    Returns:
        Boolean array of shape (..., classes).
    """
    return labels[..., None] == jax.lax.broadcasted_iota(jnp.int32, (1,) * labels.ndim + (classes,), labels.ndim)


# --- on accelerators and on CPU ---------------------------------------------------------------------------------------


def selected(rows: Array, labels: Array) -> Array:
    """The entry of each row that its label names, by comparing and adding up."""
    return jnp.sum(jnp.where(label_mask(labels, rows.shape[-1]), rows, 0), axis=-1)


def gathered(rows: Array, labels: Array) -> Array:
    """The same by a gather."""
    return taken(rows, labels[..., None])[..., 0]


def without_selected(rows: Array, labels: Array) -> Array:
    """The rows with 0 there, by comparing."""
    return jnp.where(label_mask(labels, rows.shape[-1]), 0, rows)


@unseen
def zeros_written(rows: Array, labels: Array) -> Array:
    """The same by a scatter."""
    # Not `jnp.put_along_axis`, which takes no symbolic shapes.
    batch, last = tuple(range(labels.ndim)), (labels.ndim,)
    numbers = jax.lax.ScatterDimensionNumbers((), last, last, batch, batch)
    zeros, mode = jnp.zeros_like(rows, shape=labels.shape), jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
    written: Array = jax.lax.scatter(rows, labels[..., None], zeros, numbers, unique_indices=True, mode=mode)
    return written
