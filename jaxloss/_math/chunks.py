"""Rows divided into chunks, so that large arrays computed from them exist for one chunk at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from .shardings import on_one_device, shards_of

_TILE = 2048


class Chunks(NamedTuple):
    """How rows are divided: chunk i of n has the rows i, i + n, i + 2n, … of each shard.

    If the rows are sharded over devices, every device then has its share of each chunk, and no row moves.

    Attributes:
        size: The number of rows in a chunk.
        number: The number of chunks.
        shards: The number of parts into which an explicit mesh divides the rows, each padded by itself.
        free: Whether an accelerator may divide other things, and otherwise.
    """

    size: int
    number: int
    shards: int
    free: bool = False


def chunks_for(rows: Shaped[Array, "rows *entry"], kernel: Array, chunk_size: int | None) -> Chunks:
    """Chunks of about `chunk_size` rows; None for a size that suits the matrix products of the linear layer."""
    length, shards = rows.shape[0], shards_of(rows)
    if not isinstance(length, int):  # a symbolic size, of `jax.export`: the loop's length cannot depend on it
        return Chunks(-(-length // 8), 8, shards)
    # An eighth of the rows needs an eighth of the memory for logits. Below 64 rows, moving the sums of the gradient
    # through memory takes longer than the products. Above 512 rows the products are no faster.
    size = min(max(length // 8, 64), 512) if chunk_size is None else chunk_size
    number = max(-(-length // size), 1)
    free = chunk_size is None and length > 0 and on_one_device(rows, kernel)
    return Chunks(-(-length // (shards * number)) * shards, number, shards, free)


def tiles_of(length: int) -> Chunks:
    """Chunks of as many rows as keep an accelerator busy."""
    number = -(-length // _TILE)
    return Chunks(-(-length // number), number, 1)


def tiles_are_small(length: int, features: int) -> bool:
    """Whether such a chunk and the sums of the kernel's gradient need at most a fifth of the memory of all logits."""
    # Of each class: 6 bytes for a logit and its slope in half precision, and 4 for a sum.
    return 6 * min(_TILE, length) + 4 * features <= 6 * length / 5


def padded(rows: dict[str, Array], chunks: Chunks) -> dict[str, Array]:
    """Arrays of rows, by name, padded to whole chunks. Their mask `where` leaves the padding out."""
    length = next(iter(rows.values())).shape[0]
    missing = chunks.size * chunks.number - length
    if isinstance(missing, int) and missing == 0:
        return rows

    def padded_by_shard(x: Array) -> Array:
        parts = x.reshape(chunks.shards, -1, *x.shape[1:])
        parts = jnp.pad(parts, [(0, 0), (0, missing // chunks.shards)] + [(0, 0)] * (x.ndim - 1))
        return parts.reshape(-1, *x.shape[1:])

    return {name: padded_by_shard(x) for name, x in ({"where": jnp.ones(length, bool)} | rows).items()}


def without_padding(values: Shaped[Array, " padded"], chunks: Chunks, length: int) -> Shaped[Array, " rows"]:
    """The values of the rows themselves."""
    parts: Array = values.reshape(chunks.shards, -1)[:, : length // chunks.shards]
    return parts.reshape(-1)


def chunk_of(array: Shaped[Array, "rows *entry"], chunks: Chunks, index: Array) -> Shaped[Array, "size *entry"]:
    """The rows of one chunk."""
    by_chunk = array.reshape(chunks.size, chunks.number, *array.shape[1:])
    chunk: Array = jax.lax.dynamic_index_in_dim(by_chunk, index, axis=1, keepdims=False)
    return chunk


def joined(chunks: Shaped[Array, "number size *entry"]) -> Shaped[Array, "rows *entry"]:
    """The rows in their original order, from the stacked chunks."""
    return jnp.moveaxis(chunks, 0, 1).reshape(-1, *chunks.shape[2:])
