"""Binary and multi-label classification: losses of independent yes-or-no questions."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import (
    NON_NEGATIVE,
    PROBABILITY,
    SIGN,
    Mask,
    Reduction,
    Weights,
    elementwise_inputs,
    loss_function,
    per_class,
    reduce,
    rowwise_inputs,
)
from .._math.arithmetic import bounded, left_out, log, power_by_log, times, with_impossible
from .._math.dtypes import Scalar
from .._math.odds import constant_where_saturated, focal, shifted_focal, two_sides
from .._math.softmax import count_classes
from .._math.special import sigmoid, softplus


@loss_function(domains={"targets": PROBABILITY, "label_smoothing": PROBABILITY}, recomputed=True)
def binary_cross_entropy_with_logits(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    pos_weight: Real[ArrayLike, "..."] | None = None,
    label_smoothing: Scalar = 0.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy of sigmoid probabilities with targets between 0 (no) and 1 (yes).

        -w y log σ(s) - (1 - y) log σ(-s)

    For independent yes-or-no questions, as in detection or if a row may have several labels. It is accurate for logits
    of any size, where the log of a computed sigmoid is not. An infinite logit rules one answer out: a target that gives
    this answer any probability makes the loss inf with a finite gradient. Such entries get no label smoothing.

    optax calls it `sigmoid_binary_cross_entropy`.

    Args:
        logits: Log-odds of yes, any shape.
        targets: Probabilities of yes, or 0 and 1, of the shape of `logits`.
        pos_weight: Multiplier w of the yes term, for rare positives: a scalar, or shape (classes,) with the classes on
            the last axis.
        label_smoothing: Share, in [0, 1], by which targets move towards 1/2.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.binary_cross_entropy_with_logits(jnp.array([0.0, 100.0]), jnp.array([1, 0]))
        Array(50.3466, dtype=float32)

    References:
        Good, Rational decisions, 1952.
    """
    logits, targets = elementwise_inputs(where, logits=logits, targets=targets)
    pos_weight = per_class(logits, pos_weight=pos_weight)
    # A smoothed target is never exactly 0 or 1, so every infinite logit would make the loss inf.
    targets = jnp.where(jnp.isinf(logits), targets, _smoothed(targets, label_smoothing))
    values, impossible = _binary_nll(logits, targets, pos_weight)
    values = with_impossible(values, impossible)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _smoothed(targets: Array, label_smoothing: Scalar) -> Array:
    return targets if left_out(label_smoothing) else (1 - label_smoothing) * targets + label_smoothing / 2


def _binary_nll(logits: Array, targets: Array, pos_weight: Array | None = None) -> tuple[Array, Array]:
    """Computes -w y log σ(s) - (1 - y) log σ(-s) as two terms, neither of which is negative: nothing cancels.

    Returns the losses with 0 for infinite logits, and a mask of the losses that have to be inf.
    """
    infinite = jnp.isinf(logits)
    scores = jnp.where(infinite, 0, logits)
    yes, no = targets if pos_weight is None else pos_weight * targets, 1 - targets
    terms = two_sides(scores, yes, no)
    # A product, so that a target that is NaN stays NaN; and as a CPU would take four times as long to select.
    return jnp.where(infinite, 0, jnp.ones_like(scores)) * terms, infinite & (jnp.where(logits > 0, no, yes) > 0)


@loss_function(domains={"targets": PROBABILITY}, recomputed=True)
def multilabel_soft_margin_loss(
    logits: Float[ArrayLike, "*batch classes"],
    targets: Real[ArrayLike, "*batch classes"],
    *,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Mean over classes of `binary_cross_entropy_with_logits`, for rows with any number of labels.

        Σₖ wₖ (-yₖ log σ(sₖ) - (1 - yₖ) log σ(-sₖ)) / K

    Here `where` and `weights` apply to whole rows, in `binary_cross_entropy_with_logits` to single entries. A class
    with a logit of -inf is not counted in K, and a target above 0 on it makes the loss inf. As in PyTorch, every row
    counts once in the mean, whatever the class weights are.

    Args:
        logits: Log-odds of each label, shape (..., classes).
        targets: Probabilities of each label, or 0 and 1, of the shape of `logits`.
        class_weights: Multiplier of each class, shape (classes,).
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.multilabel_soft_margin_loss(jnp.array([[0.0, 100.0]]), jnp.array([[1, 0]]))
        Array(50.3466, dtype=float32)

    References:
        Good, Rational decisions, 1952.
    """
    logits, targets = rowwise_inputs(where, axis, logits=logits, targets=targets)
    class_weights = per_class(logits, class_weights=class_weights)
    terms, impossible = _binary_nll(logits, targets)
    # Divided before they are added, as their sum may overflow; by a constant, so that no pass comes before this one.
    classes = logits.shape[-1]
    shares: Array | float = 1 / classes
    if class_weights is not None:
        shares, impossible = class_weights / classes, impossible & (class_weights > 0)
    values = jnp.sum(with_impossible(shares * terms, impossible), axis=-1) * (classes / count_classes(logits))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"probs": PROBABILITY, "targets": PROBABILITY, "label_smoothing": PROBABILITY}, recomputed=True)
def binary_cross_entropy(
    probs: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    label_smoothing: Scalar = 0.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy of predicted probabilities with targets between 0 (no) and 1 (yes).

        -y log p - (1 - y) log(1 - p)

    For models that end in a sigmoid. If you have logits, `binary_cross_entropy_with_logits` is the safer choice. As in
    PyTorch, each log is at least -100. A log at this bound has gradient 0, where PyTorch has gradients of up to 1e12.

    Args:
        probs: Probabilities of yes, in [0, 1], any shape.
        targets: Probabilities of yes, or 0 and 1, of the shape of `probs`.
        label_smoothing: Share, in [0, 1], by which targets move towards 1/2.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `probs`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.binary_cross_entropy(jnp.array([0.5, 0.75]), jnp.array([1, 0]))
        Array(1.0397, dtype=float32)

    References:
        Good, Rational decisions, 1952.
    """
    probs, targets = elementwise_inputs(where, probs=probs, targets=targets)
    targets = _smoothed(targets, label_smoothing)
    values = times(-targets, _bounded_log(probs)) + times(targets - 1, _bounded_log_complement(probs))
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _bounded_log(probs: Array) -> Array:
    """The log of probabilities, at least -100; NaN for a negative number."""
    # Hardware may round numbers below the least normal one to 0, where the gradient of the log is infinite.
    vanishing = (probs >= 0) & ((probs <= math.exp(-100)) | (probs < jnp.finfo(probs.dtype).tiny))
    return jnp.where(vanishing, -100, log(jnp.where(vanishing, 1, probs)))


def _bounded_log_complement(probs: Array) -> Array:
    """The log of 1 - probabilities, at least -100 and exact for small probabilities; NaN for a number above 1."""
    is_one = probs == 1
    return jnp.where(is_one, -100, jnp.log1p(-jnp.where(is_one, 0, probs)))


@loss_function(domains={"targets": SIGN}, recomputed=True)
def soft_margin_loss(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Logistic loss with targets of -1 and 1.

        log(1 + exp(-y s))

    A smooth version of `hinge_loss`. It equals `binary_cross_entropy_with_logits` with targets (y + 1)/2.

    Args:
        logits: Log-odds of the target 1, any shape.
        targets: -1 or 1, of the shape of `logits`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.soft_margin_loss(jnp.array([0.0, 100.0]), jnp.array([1, -1]))
        Array(50.3466, dtype=float32)

    References:
        Cox, The regression analysis of binary sequences, 1958.
    """
    logits, targets = elementwise_inputs(where, logits=logits, targets=targets)
    values = softplus(-targets * logits)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(
    domains={
        "targets": PROBABILITY,
        "alpha": PROBABILITY,
        "gamma": NON_NEGATIVE,
        "label_smoothing": PROBABILITY,
    },
    recomputed=True,
)
def sigmoid_focal_loss(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    alpha: Scalar | None = None,
    gamma: Scalar = 2.0,
    label_smoothing: Scalar = 0.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Binary cross-entropy that gives less weight to entries that are predicted well.

        αₜ (1 - pₜ)^gamma (-y log σ(s) - (1 - y) log σ(-s))
        pₜ = y σ(s) + (1 - y) σ(-s)
        αₜ = y alpha + (1 - y) (1 - alpha), or 1 if alpha is None

    The loss of dense detectors, in which most entries are easy negatives. `gamma = 0` is
    `binary_cross_entropy_with_logits`. optax has the same defaults; torchvision and Keras have an `alpha` of 0.25.

    Args:
        logits: Log-odds of yes, any shape.
        targets: Probabilities of yes, or 0 and 1, of the shape of `logits`.
        alpha: Weight of yes, in [0, 1]; the weight of no is 1 - alpha. None gives both the weight 1.
        gamma: Exponent, not negative; a larger one gives less weight to entries that are predicted well.
        label_smoothing: Share, in [0, 1], by which targets move towards 1/2; not where a logit is infinite.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.sigmoid_focal_loss(jnp.array([0.0, 100.0]), jnp.array([1, 0]), alpha=0.25)
        Array(37.52166, dtype=float32)

    References:
        Lin et al., Focal loss for dense object detection, 2017.
    """
    logits, targets = elementwise_inputs(where, logits=logits, targets=targets)
    infinite = jnp.isinf(logits)
    targets = jnp.where(infinite, targets, _smoothed(targets, label_smoothing))
    scores, yes, no = jnp.where(infinite, 0, logits), targets, 1 - targets
    nll = yes * softplus(-scores) + no * softplus(scores)
    factor_scores = constant_where_saturated(scores)
    complements = yes * sigmoid(-factor_scores) + no * sigmoid(factor_scores)
    vanishing = complements < jnp.finfo(scores.dtype).tiny
    # 1 - pₜ vanishes only where a huge logit agrees with a target of 0 or 1. There its log is -|s|.
    logs = jnp.where(vanishing, -jnp.abs(factor_scores), log(jnp.where(vanishing, 1, complements)))
    root = power_by_log(complements, logs, gamma / 2)  # the power itself may underflow where its product does not
    values = jnp.where(infinite, 0 * targets, root * nll * root)
    impossible = infinite & (jnp.where(logits > 0, no, yes) > 0)
    target_weights = None
    if alpha is not None:
        target_weights = alpha * yes + (1 - alpha) * no
        values = target_weights * values
    values = with_impossible(values, impossible, target_weights)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(
    domains={"targets": PROBABILITY, "gamma_neg": NON_NEGATIVE, "gamma_pos": NON_NEGATIVE, "clip": PROBABILITY},
    recomputed=True,
)
def asymmetric_loss(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    gamma_neg: Scalar = 4.0,
    gamma_pos: Scalar = 1.0,
    clip: Scalar = 0.05,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Binary cross-entropy that gives less weight to well predicted entries, above all to negatives.

        -y (1 - p)^gamma_pos log p - (1 - y) m^gamma_neg log(1 - m)
        p = σ(s),  m = max(0, p - clip)

    For images that have a few of many labels, so that nearly all entries are negatives. Negatives with a probability
    of at most `clip` do not count at all. Exactly at p = clip the gradient is 0.

    The authors' code bounds the argument of each log from below by 1e-8, and returns the sum of the losses. For a
    target between 0 and 1 it uses one exponent between `gamma_neg` and `gamma_pos` for both terms.

    Args:
        logits: Log-odds of yes, any shape.
        targets: Probabilities of yes, or 0 and 1, of the shape of `logits`.
        gamma_neg: Exponent, not negative; a larger one gives less weight to well predicted negatives.
        gamma_pos: Exponent, not negative; a larger one gives less weight to well predicted positives.
        clip: Probability up to which a negative costs nothing, in [0, 1].
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.asymmetric_loss(jnp.array([0.0, -3.0]), jnp.array([1, 0]))
        Array(0.1733, dtype=float32)

    References:
        Ben-Baruch et al., Asymmetric loss for multi-label classification, 2021.
    """
    logits, targets = elementwise_inputs(where, logits=logits, targets=targets)
    scores, yes, no = bounded(logits), targets, 1 - targets
    # With a clip above 0 the shifted probability m is below 1, so that no logit rules a negative out.
    yes_ruled_out, no_ruled_out = logits == -jnp.inf, (logits == jnp.inf) & jnp.equal(clip, 0)
    positive = jnp.where(yes_ruled_out, 0, focal(scores, gamma_pos))
    negative = jnp.where(no_ruled_out, 0, shifted_focal(scores, gamma_neg, clip))
    impossible = (yes_ruled_out & (yes > 0)) | (no_ruled_out & (no > 0))
    values = with_impossible(yes * positive + no * negative, impossible, None)
    return reduce(values, where=where, weights=weights, reduction=reduction)
