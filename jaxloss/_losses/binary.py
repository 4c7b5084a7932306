"""Binary and multi-label classification: losses of independent yes-or-no questions."""

from __future__ import annotations

import math

import jax
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
from .._math.arithmetic import bounded, left_out, power_by_log, with_impossible
from .._math.dtypes import Scalar
from .._math.odds import focal, held_constant
from .._math.softmax import count_classes


@loss_function(domains={"targets": PROBABILITY, "label_smoothing": PROBABILITY})
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
    """Cross-entropy of sigmoid probabilities of yes with targets between 0 (no) and 1 (yes).

        -w y log σ(s) - (1 - y) log σ(-s)

    For independent yes-or-no questions: detection, several labels at once. Accurate for any logit, as logs of a
    sigmoid are not. optax calls it `sigmoid_binary_cross_entropy`.

    Args:
        logits: Log-odds of yes, any shape.
        targets: Probabilities, or 0 and 1, of the shape of `logits`.
        pos_weight: Multiplier of the yes term, against rare positives: a scalar, or one per class, shape (classes,),
            classes being the last axis.
        label_smoothing: Share, in [0, 1], of the targets that moves to 1/2.
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
    if not left_out(label_smoothing):
        smoothed = (1 - label_smoothing) * targets + label_smoothing / 2
        targets = jnp.where(jnp.isinf(logits), targets, smoothed)
    values, impossible = _binary_nll(logits, targets, pos_weight)
    values = with_impossible(values, impossible)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _binary_nll(logits: Array, targets: Array, pos_weight: Array | None = None) -> tuple[Array, Array]:
    """-w t log σ(s) - (1 - t) log σ(-s) without the inf of targets that an infinite logit rules out, and which.

    Neither term is negative, so that nothing cancels.
    """
    certain = jnp.isinf(logits)
    scores = jnp.where(certain, 0, logits)
    yes, no = targets if pos_weight is None else pos_weight * targets, 1 - targets
    terms = yes * jax.nn.softplus(-scores) + no * jax.nn.softplus(scores)
    return jnp.where(certain, 0, terms), certain & (jnp.where(logits > 0, no, yes) > 0)


@loss_function(domains={"targets": PROBABILITY})
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

    Unlike the mean over entries it lets `where` and `weights` speak of whole rows. A class ruled out by a logit of
    -inf takes no part. As in PyTorch, a row counts once in the mean, whatever the class weights.

    Args:
        logits: Log-odds of each label, shape (..., classes).
        targets: Probabilities, or 0 and 1, of the shape of `logits`.
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
    if class_weights is not None:
        terms, impossible = class_weights * terms, impossible & (class_weights > 0)
    values = jnp.sum(terms, axis=-1) / count_classes(logits)
    values = with_impossible(values, jnp.any(impossible, axis=-1))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"probs": PROBABILITY, "targets": PROBABILITY})
def binary_cross_entropy(
    probs: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy of predicted probabilities of yes with targets between 0 (no) and 1 (yes).

        -y log p - (1 - y) log(1 - p)

    For models that end in a sigmoid; `binary_cross_entropy_with_logits` is the safer choice. As in PyTorch each log is
    at least -100; where that bound acts its gradient is 0, where PyTorch takes one of up to 1e12.

    Args:
        probs: Probabilities in [0, 1], any shape.
        targets: Probabilities, or 0 and 1, of the shape of `probs`.
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
    values = -targets * _bounded_log(probs) - (1 - targets) * _bounded_log_complement(probs)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _bounded_log(probs: Array) -> Array:
    """The log of probabilities, at least -100; a number that is no probability stays NaN."""
    # Below the least normal number hardware may round to 0, where the gradient of the log would be infinite.
    vanishing = (probs >= 0) & (probs <= max(math.exp(-100), float(jnp.finfo(probs.dtype).tiny)))
    return jnp.where(vanishing, -100, jnp.log(jnp.where(vanishing, 1, probs)))


def _bounded_log_complement(probs: Array) -> Array:
    """The log of 1 - probabilities, likewise, exact for small ones."""
    certain = probs == 1
    return jnp.where(certain, -100, jnp.log1p(-jnp.where(certain, 0, probs)))


@loss_function(domains={"targets": SIGN})
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

    A smooth hinge; equal to `binary_cross_entropy_with_logits` with targets (y + 1)/2.

    Args:
        logits: Log-odds of 1, any shape.
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
    values = jax.nn.softplus(-targets * logits)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"targets": PROBABILITY, "alpha": PROBABILITY, "gamma": NON_NEGATIVE})
def sigmoid_focal_loss(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    alpha: Scalar | None = None,
    gamma: Scalar = 2.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Binary cross-entropy that fades for entries which are predicted well.

        αₜ (1 - pₜ)^gamma (-y log σ(s) - (1 - y) log σ(-s))
        pₜ = y σ(s) + (1 - y) σ(-s)
        αₜ = y alpha + (1 - y) (1 - alpha), or 1

    The loss of dense detectors, where easy negatives outnumber all else. `gamma = 0` is
    `binary_cross_entropy_with_logits`. optax has the same defaults; torchvision and Keras have an `alpha` of 0.25.

    Args:
        logits: Log-odds of yes, any shape.
        targets: Probabilities, or 0 and 1, of the shape of `logits`.
        alpha: Weight of yes, in [0, 1], that of no being 1 - alpha; None to weigh both by 1.
        gamma: How fast well predicted entries fade; not negative.
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
    certain = jnp.isinf(logits)
    scores, yes, no = jnp.where(certain, 0, logits), targets, 1 - targets
    nll = yes * jax.nn.softplus(-scores) + no * jax.nn.softplus(scores)
    held = held_constant(scores)
    complements = yes * jax.nn.sigmoid(-held) + no * jax.nn.sigmoid(held)
    vanishing = complements < jnp.finfo(scores.dtype).tiny
    # Only where a huge logit agrees with a target of 0 or 1.
    logs = jnp.where(vanishing, -jnp.abs(held), jnp.log(jnp.where(vanishing, 1, complements)))
    values = jnp.where(certain, 0, power_by_log(complements, logs, gamma) * nll)
    impossible = certain & (jnp.where(logits > 0, no, yes) > 0)
    target_weights = None
    if alpha is not None:
        target_weights = alpha * yes + (1 - alpha) * no
        values = target_weights * values
    values = with_impossible(values, impossible, target_weights)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(
    domains={"targets": PROBABILITY, "gamma_neg": NON_NEGATIVE, "gamma_pos": NON_NEGATIVE, "clip": PROBABILITY}
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
    """Binary cross-entropy that fades for well predicted entries, for negatives sooner than for positives.

        -y (1 - p)^gamma_pos log p - (1 - y) m^gamma_neg log(1 - m)
        p = σ(s),  m = max(0, p - clip)

    For images with a few of many labels, where nearly all entries are negatives: those below `clip` do not count at
    all. At p = clip the gradient is 0. The authors' code bounds the argument of each log from below by 1e-8, takes the
    sum, and gives a target between 0 and 1 one exponent between the two.

    Args:
        logits: Log-odds of yes, any shape.
        targets: Probabilities, or 0 and 1, of the shape of `logits`.
        gamma_neg: How fast well predicted negatives fade; not negative.
        gamma_pos: How fast well predicted positives fade; not negative.
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
    # Shifted, a negative is never predicted to be impossible.
    never_yes, never_no = logits == -jnp.inf, (logits == jnp.inf) & jnp.equal(clip, 0)
    positive = jnp.where(never_yes, 0, focal(scores, gamma_pos))
    negative = jnp.where(never_no, 0, _shifted_focal(scores, gamma_neg, clip))
    impossible = (never_yes & (yes > 0)) | (never_no & (no > 0))
    values = with_impossible(yes * positive + no * negative, impossible, None)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _shifted_focal(scores: Array, gamma: Scalar, clip: Scalar) -> Array:
    """m^gamma (-log(1 - m)) of m = max(0, p - clip), of log-odds."""
    held = held_constant(scores)
    complements = jax.nn.sigmoid(-held)
    # Of a sigmoid near 1 the derivative is inexact: there it is that of the other.
    shifted = jnp.where(held > 0, (1 - clip) - complements, jax.nn.sigmoid(held) - clip)
    idle = shifted <= 0
    shifted = jnp.where(idle, 0.5, shifted)
    near = shifted < 0.5
    remaining = complements + clip
    # Without a shift 1 - m may vanish: then its log is that of exp(-s).
    vanishing = remaining < jnp.finfo(scores.dtype).tiny
    far = jnp.where(vanishing, scores, -jnp.log(jnp.where(vanishing, 1, remaining)))
    nll = jnp.where(near, -jnp.log1p(-jnp.where(near, shifted, 0)), far)
    return jnp.where(idle, 0, power_by_log(shifted, jnp.log(shifted), gamma) * nll)
