"""Rows divided into chunks, so that large arrays computed from them exist for one chunk at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped


class Chunks(NamedTuple):
    """How rows are divided: chunk i of n has the rows i, i + n, i + 2n, ….

    If the rows are sharded over devices, every device then has its share of each chunk, and no row moves.

    Attributes:
        size: The number of rows in a chunk.
        number: The number of chunks.
    """

    size: int
    number: int


def chunks_for(rows: int, chunk_size: int | None) -> Chunks:
    """Chunks of about `chunk_size` rows; None for a size that suits the matrix products of the linear layer."""
    if not isinstance(rows, int):  # a symbolic size, of `jax.export`: the loop's length cannot depend on it
        return Chunks(-(-rows // 8), 8)
    # An eighth of the rows needs an eighth of the memory for logits. Below 64 rows, moving the sums of the gradient
    # through memory takes longer than the products. Above 512 rows the products are no faster.
    size = min(max(rows // 8, 64), 512) if chunk_size is None else chunk_size
    number = max(-(-rows // size), 1)
    return Chunks(-(-rows // number), number)


def padded(rows: dict[str, Array], chunks: Chunks) -> dict[str, Array]:
    """Arrays of rows, by name, padded to whole chunks. Their mask `where` leaves the padding out."""
    length = next(iter(rows.values())).shape[0]
    missing = chunks.size * chunks.number - length
    if isinstance(missing, int) and missing == 0:
        return rows
    rows = {"where": jnp.ones(length, bool)} | rows
    return {name: jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for name, x in rows.items()}


def chunk_of(array: Shaped[Array, "rows *entry"], chunks: Chunks, index: Array) -> Shaped[Array, "size *entry"]:
    """The rows of one chunk."""
    chunk: Array = jax.lax.dynamic_index_in_dim(array.reshape(*chunks, *array.shape[1:]), index, axis=1, keepdims=False)
    return chunk


def joined(chunks: Shaped[Array, "number size *entry"]) -> Shaped[Array, "rows *entry"]:
    """The rows in their original order, from the stacked chunks."""
    return jnp.moveaxis(chunks, 0, 1).reshape(-1, *chunks.shape[2:])
