"""Rows divided into chunks, so that what is made of them need not be held at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped


class Chunks(NamedTuple):
    """How an axis is divided: chunk i of n holds entries i, i + n, i + 2n, ....

    So what is sharded over devices stays where it is, and every device has its share of every chunk.
    """

    size: int
    number: int


def divided(rows: int, chunk_size: int | None) -> Chunks:
    """Rows in chunks of about a size, or of one that suits the products of the linear layer if that is None."""
    # An eighth of the rows needs an eighth of the logits. Under 64 rows the products no longer make up for the way of
    # the sums through memory; over 512 they gain nothing.
    size = min(max(rows // 8, 64), 512) if chunk_size is None else chunk_size
    number = max(-(-rows // size), 1)
    return Chunks(-(-rows // number), number)


def padded(rows: dict[str, Array], chunks: Chunks) -> dict[str, Array]:
    """Arrays of rows, by name, up to whole chunks; the mask `where` among them leaves out what is added."""
    length = len(next(iter(rows.values())))
    missing = chunks.size * chunks.number - length
    if missing == 0:
        return rows
    rows = {"where": jnp.ones(length, bool)} | rows
    return {name: jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for name, x in rows.items()}


def chunk_of(array: Shaped[Array, "rows *entry"], chunks: Chunks, index: Array) -> Shaped[Array, "size *entry"]:
    """The rows of a chunk."""
    chunk: Array = jax.lax.dynamic_index_in_dim(array.reshape(*chunks, *array.shape[1:]), index, axis=1, keepdims=False)
    return chunk


def joined(chunks: Shaped[Array, "number size *entry"]) -> Shaped[Array, "rows *entry"]:
    """Chunks, stacked, as the axis they were taken from."""
    return jnp.moveaxis(chunks, 0, 1).reshape(-1, *chunks.shape[2:])


def varying_alike(rows: dict[str, Array], layer: dict[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """All as different on each device inside `shard_map`, if one is.

    Their gradients are then summed over the devices after the loop, once.
    """
    varying = [jax.typeof(array).manual_axis_type.varying for array in (*rows.values(), *layer.values())]
    axes = frozenset().union(*varying)

    def vary(array: Array) -> Array:
        missing = tuple(axes - jax.typeof(array).manual_axis_type.varying)
        return jax.lax.pcast(array, missing, to="varying") if missing else array

    return {name: vary(x) for name, x in rows.items()}, {name: vary(x) for name, x in layer.items()}
