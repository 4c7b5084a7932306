"""The log-odds of classes, log p - log(1 - p).

Their sigmoid is p, and the sigmoid of the negative log-odds is 1 - p. Both are exact however near to 0 they are, while
a computed difference 1 - p is not.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from .arithmetic import bounded, finite, log, over, poison, power_by_log, quotient
from .dtypes import Scalar
from .exponentials import Exponentials, beside_labels, probabilities
from .passes import row_sums, unless_found
from .softmax import selected_scores
from .special import sigmoid, softplus


def log_odds_of_labels(
    logits: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Bool[Array, "*batch"]]:
    """The log-odds of each row's label, `bounded`; and a mask of the labels whose class is ruled out."""
    sums = row_sums(logits, labels)
    scores = unless_found(selected_scores(logits, labels), sums.score)
    exponentials = beside_labels(logits, logits, sums, labels, scores)
    nothing = exponentials.others == 0  # there is no other class, or they are beyond the range of the dtype
    exponentials = exponentials._replace(others=jnp.where(nothing, 1, exponentials.others))
    finite_scores, impossible = finite(scores)
    odds = jnp.where(nothing, jnp.inf, finite_scores - sums.top - _log_of_others(logits, exponentials))
    return poison(scores < jnp.inf) * bounded(jnp.where(impossible, -jnp.inf, odds)), impossible


@jax.custom_jvp
def _log_of_others(logits: Array, exponentials: Exponentials) -> Array:
    """The logarithm of the sum of the others, with respect to their logits."""
    return jnp.log(exponentials.others)


@_log_of_others.defjvp
def _log_of_others_jvp(primals: tuple[Array, Exponentials], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    shares = probabilities(primals[1]._replace(own=jnp.zeros_like(primals[1].own)))
    return _log_of_others(*primals), jnp.sum(shares * tangents[0], axis=-1)


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
    complements = sigmoid(-odds)
    vanishing = complements < jnp.finfo(odds.dtype).tiny
    others = _sums_of_others(sigmoid(odds) * tangent, is_top)
    return odds, tangent - over(others, jnp.where(vanishing, 1, complements))


def _top(logits: Array) -> tuple[Array, Array]:
    """The largest logit of each row, or 0 if all classes are ruled out; and a mask of the classes that have it."""
    top = jnp.max(logits, axis=-1, keepdims=True)
    top = jnp.where(top == -jnp.inf, 0, top)
    return top, logits == top


def _sums_of_others(terms: Array, is_top: Array) -> Array:
    """For each class, the sum of the terms of all other classes.

    The classes with the largest logit have a sum of their own. Otherwise a term that is nearly the whole sum would be
    subtracted from it, and only rounding errors would remain. A single one is not even subtracted from itself, for the
    sake of the transpose.
    """
    top_sum = jnp.sum(jnp.where(is_top, terms, 0), axis=-1, keepdims=True)
    rest = jnp.sum(jnp.where(is_top, 0, terms), axis=-1, keepdims=True)
    ties = jnp.sum(is_top, axis=-1, keepdims=True) > 1
    return jnp.where(is_top, rest + jnp.where(ties, top_sum - terms, 0), top_sum + (rest - terms))


@jax.custom_jvp
def two_sides(
    scores: Float[Array, "*shape"], yes: Float[Array, "*shape"], no: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The sum yes softplus(-s) + no softplus(s), with one logarithm for both."""
    shared = (yes + no) * jnp.log1p(jnp.exp(-jnp.abs(scores)))
    return yes * jnp.maximum(-scores, 0) + no * jnp.maximum(scores, 0) + shared


@two_sides.defjvp
def _two_sides_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    scores, yes, no = primals
    in_scores = no * sigmoid(scores) - yes * sigmoid(-scores)
    in_targets = softplus(-scores) * tangents[1] + softplus(scores) * tangents[2]
    return two_sides(*primals), in_scores * tangents[0] + in_targets


def focal(odds: Float[Array, "*shape"], gamma: Scalar) -> Float[Array, "*shape"]:
    """-(1 - p)^gamma log p, from the log-odds of p."""
    factor_odds = constant_where_saturated(odds)
    factor = power_by_log(sigmoid(-factor_odds), -softplus(factor_odds), gamma)
    return factor * softplus(-odds)


def constant_where_saturated(odds: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Log-odds, which differentiation takes as constants where they are so large that their sigmoid stays the same.

    For the factor of a focal loss. There its slope is 0, but a huge loss times gamma would overflow before the product
    with this 0.
    """
    saturated = jnp.abs(odds) > -2 * math.log(jnp.finfo(odds.dtype).tiny)
    return jnp.where(saturated, jax.lax.stop_gradient(odds), odds)


def shifted_focal(scores: Float[Array, "*shape"], gamma: Scalar, clip: Scalar) -> Float[Array, "*shape"]:
    """-m^gamma log(1 - m) with m = max(0, p - clip) and p = σ(scores)."""
    factor_scores = constant_where_saturated(scores)
    complements = sigmoid(-factor_scores)
    # A sigmoid near 1 has an inexact derivative, so there p is 1 - σ(-s).
    shifted = jnp.where(factor_scores > 0, (1 - clip) - complements, sigmoid(factor_scores) - clip)
    clipped = shifted <= 0
    shifted = jnp.where(clipped, 0.5, shifted)
    small = shifted < 0.5
    nll_of_large = _nll_of_remaining(scores, jnp.asarray(clip, scores.dtype))
    nll = jnp.where(small, -jnp.log1p(-jnp.where(small, shifted, 0)), nll_of_large)
    return jnp.where(clipped, 0, power_by_log(shifted, log(shifted), gamma) * nll)


@jax.custom_jvp
def _nll_of_remaining(scores: Array, clip: Array) -> Array:
    """-log(σ(-s) + clip), which is 1 - m. If clip is 0 the sum may vanish: its log is then -s."""
    remaining = sigmoid(-scores) + clip
    vanishing = remaining < jnp.finfo(scores.dtype).tiny
    return jnp.where(vanishing, scores, -jnp.log(jnp.where(vanishing, 1, remaining)))


@_nll_of_remaining.defjvp
def _nll_of_remaining_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    scores, clip = primals
    complements = jnp.maximum(sigmoid(-scores), jnp.finfo(scores.dtype).tiny)
    in_scores = sigmoid(scores) * quotient(complements, complements + clip)
    return _nll_of_remaining(*primals), in_scores * tangents[0] - over(tangents[1], complements + clip)
