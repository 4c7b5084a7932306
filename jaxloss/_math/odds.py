"""The log-odds of classes, log p - log(1 - p).

Their sigmoid is p, and the sigmoid of the negative log-odds is 1 - p. Both are exact however near to 0 they are, while
a computed difference 1 - p is not.
"""

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
    """The log-odds of each row's label, `bounded`; and a mask of the labels whose class is ruled out."""
    scores = selected_scores(logits, labels)
    others = jnp.where(label_mask(labels, logits.shape[-1]), -jnp.inf, logits)
    top, log_normalizer = normalizer(others)
    # `normalizer` returns 0 for a row without classes, where the log of the sum is -inf.
    no_others = jnp.all(others == -jnp.inf, axis=-1)
    finite_scores, impossible = finite(scores)
    odds = jnp.where(no_others, jnp.inf, finite_scores - top - log_normalizer)
    return poison(scores < jnp.inf) * bounded(jnp.where(impossible, -jnp.inf, odds)), impossible


@jax.custom_jvp
def log_odds(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """The log-odds of every class, `bounded`; the lowest finite number for a class that is ruled out."""
    top, is_top = _top(logits)
    scores, ruled_out = finite(logits)
    odds = scores - top - jnp.log(_sums_of_others(jnp.exp(logits - top), is_top))
    return bounded(jnp.where(ruled_out, -jnp.inf, odds))


@log_odds.defjvp
def _log_odds_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (logits,), (tangent,) = primals, tangents
    odds = log_odds(logits)
    _, is_top = _top(logits)
    complements = jax.nn.sigmoid(-odds)
    vanishing = complements < jnp.finfo(odds.dtype).tiny
    others = _sums_of_others(jax.nn.sigmoid(odds) * tangent, is_top)
    return odds, tangent - others / jnp.where(vanishing, 1, complements)


def _top(logits: Array) -> tuple[Array, Array]:
    """The largest logit of each row, or 0 if all classes are ruled out; and a mask of the classes that have it."""
    top = jnp.max(logits, axis=-1, keepdims=True)
    top = jnp.where(top == -jnp.inf, 0, top)
    return top, logits == top


def _sums_of_others(terms: Array, is_top: Array) -> Array:
    """For each class, the sum of the terms of all other classes.

    The classes with the largest logit have a sum of their own. Otherwise a term that is nearly the whole sum would be
    subtracted from it, and only rounding errors would remain.
    """
    top_sum = jnp.sum(jnp.where(is_top, terms, 0), axis=-1, keepdims=True)
    rest = jnp.sum(jnp.where(is_top, 0, terms), axis=-1, keepdims=True)
    return jnp.where(is_top, rest + (top_sum - terms), top_sum + (rest - terms))


def focal(odds: Float[Array, "*shape"], gamma: Scalar) -> Float[Array, "*shape"]:
    """-(1 - p)^gamma log p, from the log-odds of p."""
    factor_odds = constant_where_saturated(odds)
    factor = power_by_log(jax.nn.sigmoid(-factor_odds), -jax.nn.softplus(factor_odds), gamma)
    return factor * jax.nn.softplus(-odds)


def constant_where_saturated(odds: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Log-odds, which differentiation takes as constants where they are so large that their sigmoid stays the same.

    For the factor of a focal loss. There its slope is 0, but a huge loss times gamma would overflow before the product
    with this 0.
    """
    saturated = jnp.abs(odds) > -2 * math.log(jnp.finfo(odds.dtype).tiny)
    return jnp.where(saturated, jax.lax.stop_gradient(odds), odds)
