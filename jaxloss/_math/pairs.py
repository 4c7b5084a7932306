"""Tables of all pairs of the rows of a batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from .dtypes import Scalar
from .vectors import unsharded


class Pairs(NamedTuple):
    """Which rows are an anchor's positives and negatives, and whether it has any."""

    positive: Bool[Array, "n n"]
    negative: Bool[Array, "n n"]
    has_positive: Bool[Array, " n"]
    has_negative: Bool[Array, " n"]


def pairs_of(labels: Integer[Array, " n"], counted: Bool[Array, " n"]) -> Pairs:
    """Rows with the same label are each other's positives, others negatives. Those not counted are neither."""
    same = labels[:, None] == unsharded(labels)[None]
    paired = counted[:, None] & unsharded(counted)[None]
    positive, negative = same & paired & ~jnp.eye(labels.size, dtype=bool), ~same & paired
    return Pairs(positive, negative, jnp.any(positive, axis=-1), jnp.any(negative, axis=-1))


def log_sum_exp(
    logits: Float[Array, "n n"], chosen: Bool[Array, "n n"], temperature: Scalar = 1.0
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """The largest chosen logit of each row, held constant when differentiating, and log Σ exp((chosen - largest) / τ).

    Both are 0 for a row without any.
    """
    nothing = ~jnp.any(chosen, axis=-1)
    top = jax.lax.stop_gradient(jnp.max(jnp.where(chosen, logits, -jnp.inf), axis=-1, initial=-jnp.inf))
    top = jnp.where(nothing, 0, top)
    exponents = jnp.where(chosen, (logits - top[:, None]) / temperature, -jnp.inf)
    return top, jnp.log(jnp.where(nothing, 1, jnp.sum(jnp.exp(exponents), axis=-1)))
