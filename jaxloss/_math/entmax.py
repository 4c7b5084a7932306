"""Probabilities that are exactly 0 for classes with low logits, and the loss that goes with them.

That is `entmax`, and `sparsemax` at alpha 2. What threshold, scores and a are, `simplex` says.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from .arithmetic import finite, poison, power, ratio, with_impossible
from .dtypes import Scalar
from .labels import label_mask
from .logarithms import close_log_ratio
from .simplex import Projection, nonzero, solved
from .special import exponential_growth

_TERMS = 17  # of a series like that of exp(x), for all digits up to an x of 1


@jax.tree_util.register_static
class Constant(float):
    """An alpha of 1.5 or 2 that is part of the program: it needs no logarithms, and has no derivative."""


Alpha = Constant | Float[Array, ""]


def constant_or_traced(alpha: Scalar, dtype: Any) -> Alpha:
    """Alpha in the form that the functions here take."""
    is_constant = isinstance(alpha, (int, float)) and alpha in (1.5, 2)
    return Constant(alpha) if is_constant else jnp.asarray(alpha, dtype)


@jax.custom_jvp
def projected(logits: Float[Array, "*batch classes"], alpha: Alpha) -> Projection:
    """The probabilities max(0, (alpha - 1)(logit - threshold))^(1/(alpha - 1)), or softmax if `alpha` is 1."""
    top, empty = finite(jnp.max(logits, axis=-1, keepdims=True))
    rows = jnp.where(empty, 0, logits)
    probs, scores = solved(rows, top, float(alpha) - 1 if isinstance(alpha, Constant) else alpha - 1)
    probs, scores = (jnp.where(logits == -jnp.inf, 0, numbers) for numbers in (probs, scores))
    return Projection(poison(top < jnp.inf) * probs, scores)


# A probability moves by p²⁻ᵃˡᵖʰᵃ times what its score does. The scores move by what would move each of them alone, less
# the mean of that over the row, weighted by those slopes.
@projected.defjvp
def _projected_jvp(primals: tuple[Array, Alpha], tangents: tuple[Array, Any]) -> tuple[Projection, Projection]:
    projection, alpha = projected(*primals), primals[1]
    slopes, shares = _slopes_and_shares(projection.probs, alpha)
    moves = tangents[0] - _score_drift(projection.probs, alpha, tangents[1])
    mean = jnp.sum(shares * moves, axis=-1, keepdims=True)
    if isinstance(alpha, Constant):
        tangent = slopes * (moves - mean)
    else:
        # Beyond 2 the largest slope may be infinite, but not what the class gets, which is what all others lose. So
        # moves are taken relative to that class, for which they are 0, whatever rounding says.
        steepest = shares == jnp.max(shares, axis=-1, keepdims=True)
        count = jnp.sum(steepest, axis=-1, keepdims=True, dtype=shares.dtype)
        relative = moves - jnp.sum(jnp.where(steepest, moves, 0), axis=-1, keepdims=True) / count
        flows = jnp.where(steepest & (count == 1), 0, slopes * relative)
        tangent = flows - shares * jnp.sum(flows, axis=-1, keepdims=True)
    return projection, Projection(tangent, tangents[0] - mean)


def _slopes_and_shares(probs: Array, alpha: Alpha) -> tuple[Array, Array]:
    """The derivative of each probability with respect to its score, and that divided by the sum over its row."""
    if isinstance(alpha, Constant):
        slopes = power(probs, 2 - float(alpha))
        return slopes, ratio(slopes, jnp.sum(slopes, axis=-1, keepdims=True))
    present = probs > 0
    logs = (2 - alpha) * jnp.log(jnp.where(present, probs, 1))
    highest = jnp.max(jnp.where(present, logs, -jnp.inf), axis=-1, keepdims=True)
    relative = jnp.where(present, jnp.exp(jnp.where(present, logs - highest, 0)), 0)
    limit = math.log(jnp.finfo(probs.dtype).max) / 2
    slopes = jnp.where(present, jnp.exp(jnp.minimum(logs, limit)), 0)
    return slopes, ratio(relative, jnp.sum(relative, axis=-1, keepdims=True))


def _score_drift(probs: Array, alpha: Alpha, tangent: Any) -> Array | int:
    """The tangent of the scores that have these probabilities, as alpha moves and the probabilities do not."""
    if isinstance(alpha, Constant):
        return 0
    logs = jnp.log(jnp.where(probs > 0, probs, 1))
    drift: Array = jax.jvp(lambda alpha: exponential_growth(logs, alpha - 1), (alpha,), (tangent,))[1]
    return drift


# --- the loss ---------------------------------------------------------------------------------------------------------


@jax.custom_jvp
def divergence(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"] | Float[Array, "*batch classes"],
    alpha: Alpha,
) -> Float[Array, "*batch"]:
    """The loss of each row, as a sum of terms none of which is negative, so that nothing cancels.

    Each class has two terms: the Bregman divergence of the label from the probability, and the label times the
    shortfall, which is how far its logit lies below the threshold.
    """
    projection = projected(logits, alpha)
    targets, errors = _targets(labels, projection.probs)
    ruled_out = logits == -jnp.inf
    terms = _terms(targets, errors, projection, alpha)
    terms = terms + jnp.where(targets == 0, 0, targets * _shortfalls(projection.scores, alpha))
    values = jnp.sum(jnp.where(ruled_out, 0, terms), axis=-1)
    return with_impossible(values, jnp.any(ruled_out & (targets > 0), axis=-1))


# The loss contains a maximum over the probabilities. Its derivatives are those of the maximised function, with the
# probabilities held constant.
@divergence.defjvp
def _divergence_jvp(primals: tuple[Array, Array, Alpha], tangents: tuple[Array, Any, Any]) -> tuple[Array, Array]:
    logits, labels, alpha = primals
    projection = projected(logits, alpha)
    targets, errors = _targets(labels, projection.probs)
    exists = logits != -jnp.inf
    tangent = -jnp.sum(jnp.where(exists, errors, 0) * tangents[0], axis=-1)
    tangent = tangent + _entropy_drift(projection.probs, alpha, tangents[2])
    tangent = tangent - _entropy_drift(targets, alpha, tangents[2])
    if labels.ndim == logits.ndim:
        # Rounded labels may not quite sum to 1. Without this term the gradient would then shift all logits together.
        excess = jnp.sum(targets, axis=-1) - 1
        tangent = tangent + excess * _threshold_tangent(projection.probs, alpha, tangents[0], tangents[2])
        slopes = _differences(targets, errors, projection, alpha) + _shortfalls(projection.scores, alpha)
        tangent = tangent + jnp.sum(jnp.where(exists, slopes, 0) * tangents[1], axis=-1)
    return divergence(logits, labels, alpha), tangent


def _entropy_drift(probs: Array, alpha: Alpha, tangent: Any) -> Array | int:
    """The tangent of Σ (p - pᵃ) / (a (a - 1)), or of -Σ p log p if a = 1, as a moves and the probabilities do not."""
    if isinstance(alpha, Constant):
        return 0
    logs = jnp.log(jnp.where(probs > 0, probs, 1))

    def entropy(alpha: Array) -> Array:
        return jnp.sum(-probs * exponential_growth(logs, alpha - 1), axis=-1) / alpha

    drift: Array = jax.jvp(entropy, (alpha,), (tangent,))[1]
    return drift


def _threshold_tangent(probs: Array, alpha: Alpha, logits_tangent: Array, alpha_tangent: Any) -> Array:
    """The tangent of the threshold, and 1 / a² of the tangent of a, which the sum of labels times 1 / (a - 1) adds."""
    shares = _slopes_and_shares(probs, alpha)[1]
    tangent = jnp.sum(shares * (logits_tangent - _score_drift(probs, alpha, alpha_tangent)), axis=-1)
    return tangent if isinstance(alpha, Constant) else tangent + alpha_tangent / jnp.square(alpha)


def _targets(labels: Array, probs: Array) -> tuple[Array, Array]:
    """Labels as probabilities, and their differences from the predicted probabilities."""
    if labels.ndim == probs.ndim:
        return labels, labels - probs
    is_label = label_mask(labels, probs.shape[-1])
    # 1 - p of the label, as a sum: the difference would be inexact for a p near 1.
    complement = jnp.sum(jnp.where(is_label, 0, probs), axis=-1, keepdims=True)
    targets = is_label.astype(probs.dtype) + jnp.zeros_like(probs)  # sharded over devices as these are
    return targets, jnp.where(is_label, complement, -probs)


def _terms(targets: Array, errors: Array, projection: Projection, alpha: Alpha) -> Array:
    """The Bregman divergence of each label y from its probability p.

    (yᵃ - pᵃ - a pᵃ⁻¹ (y - p)) / (a (a - 1)), or y log(y/p) - (y - p) if a = 1.
    """
    if isinstance(alpha, Constant) and float(alpha) == 2:
        return jnp.square(errors) / 2
    if isinstance(alpha, Constant):  # 1.5
        root_y, root_p = jnp.sqrt(targets), jnp.sqrt(projection.probs)
        total = root_y + root_p
        return jnp.square(errors / jnp.where(total == 0, 1, total)) * (2 * root_y + root_p) * (2 / 3)
    powers = _powers(projection, alpha)
    far = jnp.where(targets == 0, 0, targets * _differences(targets, errors, projection, alpha)) - powers * errors
    # Where y is near p these cancel. With x = log(y/p) it is pᵃ times Σₙ cₙ xⁿ / n! from n = 2 on, where cₙ is the sum
    # of the powers of a from 0 to n - 2.
    logs, near = _log_ratios(targets, errors, projection.probs, alpha)
    series, part, weight = jnp.zeros_like(logs), jnp.square(logs) / 2, jnp.ones_like(alpha)  # weight = cₙ / aⁿ⁻²
    for n in range(2, _TERMS + 2):
        series, part, weight = series + weight * part, part * (alpha * logs / (n + 1)), 1 + weight / alpha
    return jnp.where(near, projection.probs * powers * series, jnp.maximum(far, 0) / alpha)


def _differences(targets: Array, errors: Array, projection: Projection, alpha: Alpha) -> Array:
    """(yᵃ⁻¹ - pᵃ⁻¹) / (a - 1), or log(y/p) if a = 1. The log is taken as 0 for y = 0, as in `kl_div`."""
    exponent, lowest = _as_array(alpha, targets.dtype) - 1, _lowest_score(alpha, targets.dtype)
    powers = _powers(projection, alpha)
    logs, near = _log_ratios(targets, errors, projection.probs, alpha)
    present = targets > 0
    log_targets = jnp.log(jnp.where(present, targets, 1))
    far = exponential_growth(log_targets, exponent) - jnp.maximum(projection.scores, lowest)
    absent = jnp.where(exponent == 0, 0, powers * lowest)
    return jnp.where(near, powers * exponential_growth(logs, exponent), jnp.where(present, far, absent))


def _log_ratios(targets: Array, errors: Array, probs: Array, alpha: Alpha) -> tuple[Array, Array]:
    """log(y/p) where a times that is less than 1, and 0 elsewhere; and where that is."""
    exist = (targets > 0) & (probs > 0)
    logs = close_log_ratio(jnp.where(exist, targets, 1), jnp.where(exist, probs, 1), jnp.where(exist, errors, 0))
    near = exist & (_as_array(alpha, probs.dtype) * jnp.abs(logs) < 1)
    return jnp.where(near, logs, 0), near


def _powers(projection: Projection, alpha: Alpha) -> Array:
    """pᵃ⁻¹, exact also where p underflows."""
    probs, exponent = projection.probs, _as_array(alpha, projection.probs.dtype) - 1
    present = probs > 0
    vanishing = jnp.maximum(0, 1 + exponent * projection.scores)
    return jnp.where(present, jnp.where(present, probs, 1) ** exponent, vanishing)


def _shortfalls(scores: Array, alpha: Alpha) -> Array:
    """How far each logit lies below the threshold; 0 for a logit above it."""
    return jnp.maximum(0, _lowest_score(alpha, scores.dtype) - scores)


def _lowest_score(alpha: Alpha, dtype: Any) -> Array:
    """The score above which a probability is not 0."""
    return -1 / nonzero(_as_array(alpha, dtype) - 1)


def _as_array(alpha: Alpha, dtype: Any) -> Array:
    return jnp.asarray(float(alpha) if isinstance(alpha, Constant) else alpha, dtype)
