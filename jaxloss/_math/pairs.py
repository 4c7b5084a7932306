"""Tables of all pairs of the rows of a batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from .dtypes import Scalar
from .vectors import unsharded


class Pairs(NamedTuple):
    """For each row as an anchor: masks of its positives and its negatives, and whether it has any."""

    positive: Bool[Array, "n n"]
    negative: Bool[Array, "n n"]
    has_positive: Bool[Array, " n"]
    has_negative: Bool[Array, " n"]


def pairs_of(labels: Integer[Array, " n"], counted: Bool[Array, " n"]) -> Pairs:
    """The pairs of the rows that count: positives are other rows with the same label, negatives have another label."""
    same = labels[:, None] == unsharded(labels)[None]
    paired = counted[:, None] & unsharded(counted)[None]
    positive, negative = same & paired & ~jnp.eye(labels.size, dtype=bool), ~same & paired
    return Pairs(positive, negative, jnp.any(positive, axis=-1), jnp.any(negative, axis=-1))


def log_sum_exp(
    logits: Float[Array, "n n"], chosen: Bool[Array, "n n"], temperature: Scalar = 1.0
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """The parts of log Σ exp(logit / τ) over the chosen logits of each row: the first over τ, plus the second.

    Returns:
        The largest chosen logit, constant when differentiating, and log Σ exp((logit - largest) / τ). Both are 0 in a
        row without chosen logits.
    """
    empty = ~jnp.any(chosen, axis=-1)
    largest = jax.lax.stop_gradient(jnp.max(jnp.where(chosen, logits, -jnp.inf), axis=-1, initial=-jnp.inf))
    largest = jnp.where(empty, 0, largest)
    exponents = jnp.where(chosen, (logits - largest[:, None]) / temperature, -jnp.inf)
    return largest, jnp.log(jnp.where(empty, 1, jnp.sum(jnp.exp(exponents), axis=-1)))
