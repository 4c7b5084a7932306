"""The log-odds of classes: exact however sure a row is, where a difference from 1 is not."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from .arithmetic import bounded, finite, poison, power_by_log
from .dtypes import Scalar
from .passes import label_mask
from .softmax import normalizer, selected_scores


def log_odds_of_labels(
    logits: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Bool[Array, "*batch"]]:
    """The log-odds of the labels, log p - log(1 - p), `bounded`; and which of them lie on ruled-out classes.

    Their sigmoid is p, and that of their negative 1 - p: both are exact however near to 0, as a difference from 1 is
    not.
    """
    scores = selected_scores(logits, labels)
    others = jnp.where(label_mask(labels, logits.shape[-1]), -jnp.inf, logits)
    top, log_normalizer = normalizer(others, others)
    # A normalizer of no classes is 0, not -inf.
    alone = jnp.all(others == -jnp.inf, axis=-1)
    finite_scores, impossible = finite(scores)
    odds = jnp.where(alone, jnp.inf, finite_scores - top - log_normalizer)
    return poison(scores < jnp.inf) * bounded(jnp.where(impossible, -jnp.inf, odds)), impossible


@jax.custom_jvp
def log_odds(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """The log-odds of every class, likewise; as low as can be for one that is ruled out."""
    top, leading = _leading(logits)
    scores, ruled_out = finite(logits)
    odds = scores - top - jnp.log(_sums_of_others(jnp.exp(logits - top), leading))
    return bounded(jnp.where(ruled_out, -jnp.inf, odds))


@log_odds.defjvp
def _log_odds_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (logits,), (tangent,) = primals, tangents
    odds = log_odds(logits)
    _, leading = _leading(logits)
    complements = jax.nn.sigmoid(-odds)
    vanishing = complements < jnp.finfo(odds.dtype).tiny
    others = _sums_of_others(jax.nn.sigmoid(odds) * tangent, leading)
    return odds, tangent - others / jnp.where(vanishing, 1, complements)


def _leading(logits: Array) -> tuple[Array, Array]:
    """The largest logit of each row, or 0 if all classes are ruled out, and which classes have it."""
    top = jnp.max(logits, axis=-1, keepdims=True)
    top = jnp.where(top == -jnp.inf, 0, top)
    return top, logits == top


def _sums_of_others(terms: Array, leading: Array) -> Array:
    """The sum of the terms of all other classes, for each class.

    Those of the leading classes are summed apart, so that a class with nearly all of a sum is never subtracted from it.
    """
    first = jnp.sum(jnp.where(leading, terms, 0), axis=-1, keepdims=True)
    rest = jnp.sum(jnp.where(leading, 0, terms), axis=-1, keepdims=True)
    return jnp.where(leading, rest + (first - terms), first + (rest - terms))


def focal(odds: Float[Array, "*shape"], gamma: Scalar) -> Float[Array, "*shape"]:
    """(1 - p)^gamma (-log p) of log-odds."""
    held = held_constant(odds)
    return power_by_log(jax.nn.sigmoid(-held), -jax.nn.softplus(held), gamma) * jax.nn.softplus(-odds)


def held_constant(odds: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Log-odds, held constant when differentiating where their sigmoid does not change any more.

    Otherwise a huge loss times gamma would overflow before it meets a slope of 0.
    """
    settled = jnp.abs(odds) > -2 * math.log(jnp.finfo(odds.dtype).tiny)
    return jnp.where(settled, jax.lax.stop_gradient(odds), odds)
