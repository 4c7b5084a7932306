"""Fenchel-Young: losses for probabilities that may be exactly 0, and the functions that compute them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Real

from .._kit import (
    AT_LEAST_ONE,
    PROBABILITY,
    Label,
    Mask,
    Reduction,
    Weights,
    array_function,
    class_inputs,
    loss_function,
    reduce,
    require_shape,
    rowwise_inputs,
)
from .._math.arithmetic import finite, polynomial, with_impossible
from .._math.dtypes import Scalar
from .._math.passes import label_mask
from .._math.simplex import (
    Alpha,
    Constant,
    Projection,
    constant_or_traced,
    nonzero,
    projected,
    score_drift,
    slopes_and_shares,
)
from .._math.special import close_log_ratio, exponential_growth

_TERMS = 16  # of a series like that of exp(x), for all digits up to an x of 1


@array_function()
def sparsemax(logits: Float[ArrayLike, "*batch classes"], *, axis: int = -1) -> Float[Array, "*batch classes"]:
    """The probabilities nearest to the logits: like softmax, but exactly 0 for classes with low logits.

        argminₚ ‖p - s‖²  over distributions p,  which is  max(0, s - τ)

    The threshold τ is the number for which the probabilities sum to 1. A logit of -inf gets 0, and a row with no other
    logits gets only zeros. At a logit that is exactly τ, the derivative is that for the other classes alone.

    Args:
        logits: Scores, shape (..., classes).
        axis: The class axis.

    Returns:
        Probabilities of the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.sparsemax(jnp.array([1.0, 0.5, -1.0]))
        Array([0.75, 0.25, 0.  ], dtype=float32)

    References:
        Martins and Astudillo, From softmax to sparsemax, 2016.
    """
    return _probabilities(logits, 2, axis)


def _probabilities(logits: ArrayLike, alpha: Scalar, axis: int) -> Array:
    """`entmax` with any `axis`."""
    (rows,) = rowwise_inputs(None, axis, logits=logits)
    return jnp.moveaxis(projected(rows, constant_or_traced(alpha, rows.dtype)).probs, -1, axis)


@array_function(domains={"alpha": AT_LEAST_ONE})
def entmax(
    logits: Float[ArrayLike, "*batch classes"], *, alpha: Scalar = 1.5, axis: int = -1
) -> Float[Array, "*batch classes"]:
    """Probabilities that are sparser for a larger `alpha`: softmax at 1, `sparsemax` at 2.

        argmaxₚ Σₖ pₖ sₖ + Hₐ(p),  Hₐ(p) = Σₖ (pₖ - pₖᵃ) / (a (a - 1)),  which is  max(0, (a - 1)(s - τ))^(1/(a - 1))

    The threshold τ is the number for which the probabilities sum to 1. A logit of -inf gets 0, and a row with no other
    logits gets only zeros.

    Args:
        logits: Scores, shape (..., classes).
        alpha: The exponent a, at least 1. It may be learned: it has a derivative, and no new value compiles anew.
        axis: The class axis.

    Returns:
        Probabilities of the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.entmax(jnp.array([2.0, 2.0, -1.0]))
        Array([0.5, 0.5, 0. ], dtype=float32)

    References:
        Peters, Niculae and Martins, Sparse sequence-to-sequence models, 2019.
    """
    return _probabilities(logits, alpha, axis)


@loss_function(domains={"labels": PROBABILITY})
def sparsemax_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """The loss that goes with `sparsemax`, as `cross_entropy` goes with softmax.

        ‖s - y‖²/2 - ‖s - sparsemax(s)‖²/2,  with gradient  sparsemax(s) - y

    For sparse probabilities and labels. It is 0 exactly where `sparsemax` gives the labels: for an integer label, as
    soon as its logit is larger than all others by 1. A class with a logit of -inf is left out, and a label on it makes
    the loss inf. Adding the same number to all logits of a row does not change the loss, even if the labels do not sum
    to exactly 1 because of rounding.

    optax calls this loss `multiclass_sparsemax_loss`. Its `sparsemax_loss` is the binary one, for logits (0, s).

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`; or floating class probabilities, of
            the shape of `logits`.
        ignore_index: Rows with this integer label do not count; None for no such label.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> logits = jnp.array([[1.0, 0.5, -1.0], [0.0, 2.0, 1.0]])
        >>> jaxloss.sparsemax_loss(logits, jnp.array([1, 1]))
        Array(0.28125, dtype=float32)
        >>> jaxloss.sparsemax_loss(logits, jnp.array([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]]))
        Array(0.125, dtype=float32)

    References:
        Martins and Astudillo, From softmax to sparsemax, 2016.
        Blondel, Martins and Niculae, Learning with Fenchel-Young losses, 2020.
    """
    logits, labels, where = class_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    values = _fenchel_young(logits, labels, constant_or_traced(2, logits.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@jax.custom_jvp
def _fenchel_young(logits: Array, labels: Array, alpha: Alpha) -> Array:
    """The loss of each row, as a sum of terms none of which is negative, so that nothing cancels.

    Each class has two terms: the Bregman divergence of the label from the probability, and the label times the
    shortfall, which is how far its logit lies below the threshold.
    """
    projection = projected(logits, alpha)
    targets, errors = _targets(labels, projection.probs)
    ruled_out = logits == -jnp.inf
    terms = _divergences(targets, errors, projection, alpha)
    terms = terms + jnp.where(targets == 0, 0, targets * _shortfalls(projection.scores, alpha))
    values = jnp.sum(jnp.where(ruled_out, 0, terms), axis=-1)
    return with_impossible(values, jnp.any(ruled_out & (targets > 0), axis=-1))


# The loss contains a maximum over the probabilities. Its derivatives are those of the maximised function, with the
# probabilities held constant.
@_fenchel_young.defjvp
def _fenchel_young_jvp(primals: tuple[Array, Array, Alpha], tangents: tuple[Array, Any, Any]) -> tuple[Array, Array]:
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
    return _fenchel_young(logits, labels, alpha), tangent


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
    shares = slopes_and_shares(probs, alpha)[1]
    tangent = jnp.sum(shares * (logits_tangent - score_drift(probs, alpha, alpha_tangent)), axis=-1)
    return tangent if isinstance(alpha, Constant) else tangent + alpha_tangent / jnp.square(alpha)


def _targets(labels: Array, probs: Array) -> tuple[Array, Array]:
    """Labels as probabilities, and their differences from the predicted probabilities."""
    if labels.ndim == probs.ndim:
        return labels, labels - probs
    is_label = label_mask(labels, probs.shape[-1])
    # 1 - p of the label, as a sum: the difference would be inexact for a p near 1.
    complement = jnp.sum(jnp.where(is_label, 0, probs), axis=-1, keepdims=True)
    return is_label.astype(probs.dtype), jnp.where(is_label, complement, -probs)


def _divergences(targets: Array, errors: Array, projection: Projection, alpha: Alpha) -> Array:
    """The Bregman divergence of each label y from its probability p.

    (yᵃ - pᵃ - a pᵃ⁻¹ (y - p)) / (a (a - 1)), or y log(y/p) - (y - p) if a = 1.
    """
    if isinstance(alpha, Constant) and alpha == 2:
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
    sums = [jnp.ones_like(alpha)]  # cₙ / aⁿ⁻²
    for _ in range(_TERMS):
        sums.append(1 + sums[-1] / alpha)
    series = polynomial([total / float(math.factorial(n)) for n, total in enumerate(sums, 2)], alpha * logs)
    return jnp.where(near, projection.probs * powers * jnp.square(logs) * series, jnp.maximum(far, 0) / alpha)


def _differences(targets: Array, errors: Array, projection: Projection, alpha: Alpha) -> Array:
    """(yᵃ⁻¹ - pᵃ⁻¹) / (a - 1), or log(y/p) if a = 1. The log is taken as 0 for y = 0, as in `kl_div`."""
    powers = _powers(projection, alpha)
    logs, near = _log_ratios(targets, errors, projection.probs, alpha)
    present = targets > 0
    expected = jnp.maximum(projection.scores, _lowest_score(alpha))
    far = exponential_growth(jnp.log(jnp.where(present, targets, 1)), alpha - 1) - expected
    absent = jnp.where(jnp.equal(alpha, 1), 0, powers * _lowest_score(alpha))
    return jnp.where(near, powers * exponential_growth(logs, alpha - 1), jnp.where(present, far, absent))


def _log_ratios(targets: Array, errors: Array, probs: Array, alpha: Alpha) -> tuple[Array, Array]:
    """log(y/p) where a times that is less than 1, and 0 elsewhere; and where that is."""
    exist = (targets > 0) & (probs > 0)
    safe_targets, safe_probs = jnp.where(exist, targets, 1), jnp.where(exist, probs, 1)
    logs = close_log_ratio(safe_targets, safe_probs, jnp.where(exist, errors, 0))
    near = exist & (alpha * jnp.abs(logs) < 1)
    return jnp.where(near, logs, 0), near


def _powers(projection: Projection, alpha: Alpha) -> Array:
    """pᵃ⁻¹, exact also where p underflows."""
    present = projection.probs > 0
    vanishing = jnp.maximum(0, 1 + (alpha - 1) * projection.scores)
    return jnp.where(present, jnp.where(present, projection.probs, 1) ** (alpha - 1), vanishing)


def _shortfalls(scores: Array, alpha: Alpha) -> Array:
    """How far each logit lies below the threshold; 0 for a logit above it."""
    return jnp.maximum(0, _lowest_score(alpha) - scores)


def _lowest_score(alpha: Alpha) -> Array | float:
    """The score from which on probabilities are above 0."""
    return -1 / (float(alpha) - 1 if isinstance(alpha, Constant) else nonzero(alpha - 1))


@loss_function(domains={"labels": PROBABILITY, "alpha": AT_LEAST_ONE})
def entmax_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    alpha: Scalar = 1.5,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """The loss that goes with `entmax`, as `cross_entropy` goes with softmax.

        Σₖ (pₖ - yₖ) sₖ + Hₐ(p) - Hₐ(y),  p = entmax(s),  Hₐ(p) = Σₖ (pₖ - pₖᵃ) / (a (a - 1)),  with gradient  p - y

    For sparse probabilities and labels, such as those of the next word in a translation. It is 0 exactly where `entmax`
    gives the labels: for an integer label, as soon as its logit is larger than all others by 1/(a - 1). At `alpha` 1
    the loss is `cross_entropy` minus the entropy of the labels, which is 0 for integers. At 2 it is `sparsemax_loss`.
    A class with a logit of -inf is left out, and a label on it makes the loss inf. Adding the same number to all logits
    of a row does not change the loss, even if the labels do not sum to exactly 1 because of rounding.

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`; or floating class probabilities, of
            the shape of `logits`.
        alpha: The exponent a, at least 1; a larger one is sparser. It may be learned.
        ignore_index: Rows with this integer label do not count; None for no such label.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> logits = jnp.array([[2.0, 2.0, -1.0], [0.0, 3.0, 1.0]])
        >>> jaxloss.entmax_loss(logits, jnp.array([1, 1]))
        Array(0.19526, dtype=float32)
        >>> jaxloss.entmax_loss(logits, jnp.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]))
        Array(0., dtype=float32)

    References:
        Peters, Niculae and Martins, Sparse sequence-to-sequence models, 2019.
        Blondel, Martins and Niculae, Learning with Fenchel-Young losses, 2020.
    """
    logits, labels, where = class_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    values = _fenchel_young(logits, labels, constant_or_traced(alpha, logits.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)


def make_fenchel_young_loss(max_fun: Callable[[Array], Array]) -> Callable[..., Array]:
    """Makes a loss from a convex function that generalises the maximum.

        max_fun(s) - Σₖ yₖ sₖ,  with gradient  ∇max_fun(s) - y

    The gradient of `max_fun` is the prediction, and the loss is least where the prediction equals the targets. With
    `jax.nn.logsumexp` it is `cross_entropy`. It is of use for structured or perturbed maxima. On a logit of -inf, a
    target of 0 adds 0 to the loss, and any other target makes it inf.

    Args:
        max_fun: Takes an array of shape (n,) and returns a scalar. It may close over parameters, which are
            differentiated as usual. For this the loss is not compiled by itself, but runs in the caller's trace.

    Returns:
        A loss `fenchel_young_loss(logits, targets, *, axis=-1, where=None, weights=None, reduction="mean")`. Logits and
        targets have the same shape (..., n), and the loss has one value per row.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> loss = jaxloss.make_fenchel_young_loss(jax.nn.logsumexp)
        >>> loss(jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]]))
        Array(0.6931, dtype=float32)

    References:
        Blondel, Martins and Niculae, Learning with Fenchel-Young losses, 2020.
    """

    @functools.partial(jnp.vectorize, signature="(n)->()")
    def maxima(logits: Array) -> Array:
        maximum = max_fun(logits)
        require_shape("max_fun(logits)", maximum, (), "of one row")
        return maximum

    def fenchel_young_loss(
        logits: Float[ArrayLike, "*batch n"],
        targets: Real[ArrayLike, "*batch n"],
        *,
        axis: int = -1,
        where: Mask | None = None,
        weights: Weights | None = None,
        reduction: Reduction = "mean",
    ) -> Float[Array, "..."]:
        logits, targets = rowwise_inputs(where, axis, logits=logits, targets=targets)
        scores, ruled_out = finite(logits)
        empty = jnp.all(ruled_out, axis=-1)  # such a row has no maximum, and its gradient would be NaN
        highest = jnp.where(empty, 0, maxima(jnp.where(empty[..., None], 0, logits)))
        values = highest - jnp.sum(targets * scores, axis=-1)
        values = with_impossible(values, jnp.any(ruled_out & (targets != 0), axis=-1))
        return reduce(values, where=where, weights=weights, reduction=reduction)

    # The loss belongs to the module of `max_fun`, not to this library.
    fenchel_young_loss.__module__ = getattr(max_fun, "__module__", "__main__")
    fenchel_young_loss.__doc__ = f"The Fenchel-Young loss of {max_fun}: see `jaxloss.make_fenchel_young_loss`."
    return loss_function(compiled=False)(fenchel_young_loss)
