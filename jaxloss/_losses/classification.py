"""Classification: losses for rows that belong to one class out of many."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from .._kit import (
    LOG_PROBABILITIES,
    NON_NEGATIVE,
    PROBABILITY,
    Label,
    Mask,
    Reduction,
    Weights,
    class_inputs,
    labelled_inputs,
    loss_function,
    per_class,
    reduce,
    require_shape,
    rows_with_labels,
)
from .._math.arithmetic import finite, left_out, with_impossible
from .._math.cross_entropy import cross_entropy_of_rows, shielded_rows
from .._math.dtypes import Scalar
from .._math.odds import focal, log_odds, log_odds_of_labels
from .._math.passes import at_labels
from .._math.softmax import count_classes, weights_of_labels
from .._math.special import exponential_growth, sigmoid, softplus


@loss_function(half=("logits", "labels"), domains={"labels": PROBABILITY, "label_smoothing": PROBABILITY})
def cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    ignore_index: Label | None = -100,
    label_smoothing: Scalar = 0.0,
    z_loss_weight: Scalar = 0.0,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy of softmax probabilities with integer labels or class probabilities.

        -Σₖ wₖ yₖ log softmax(s)ₖ + z_loss_weight log²Z,  Z = Σₖ exp(sₖ)

    The loss of classifiers and language models. Integer labels are never expanded to one-hot arrays. A logit of -inf
    rules its class out: the class is left out of the softmax and of label smoothing, and a label on it makes the loss
    inf with a finite gradient. A label that is neither a class nor `ignore_index` makes the loss and its gradient NaN.

    For class probabilities with class weights, PyTorch divides the mean by the number of rows. Its class axis is 1.
    optax and Keras have a separate function for each kind of label.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`; or floating class probabilities, of
            the shape of `logits`.
        class_weights: Multiplier of each class, shape (classes,). In the mean, each row counts with the weight of its
            label, or with Σₖ wₖ yₖ for class probabilities.
        ignore_index: Rows with this integer label do not count; None for no such label.
        label_smoothing: Share, in [0, 1], of the label that is spread evenly over all classes.
        z_loss_weight: Coefficient of log²Z, which keeps the logits from drifting; PaLM uses 1e-4.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> logits = jnp.array([[2.0, 0.0], [0.0, 2.0]])
        >>> jaxloss.cross_entropy(logits, jnp.array([0, -100]))
        Array(0.1269, dtype=float32)
        >>> jaxloss.cross_entropy(logits, jnp.array([[1.0, 0.0], [0.5, 0.5]]))
        Array(0.6269, dtype=float32)

    References:
        Szegedy et al., Rethinking the Inception architecture for computer vision, 2016 (label smoothing).
        Chowdhery et al., PaLM: scaling language modeling with pathways, 2022 (z-loss).
    """
    rows, where = rows_with_labels(where, axis, ignore_index, logits=logits, labels=labels)
    class_weights = per_class(rows.logits, class_weights=class_weights)
    values, label_weights = cross_entropy_of_rows(
        rows, class_weights=class_weights, label_smoothing=label_smoothing, z_loss_weight=z_loss_weight
    )
    return reduce(values, where=where, weights=weights, normalizer=label_weights, reduction=reduction)


@loss_function(domains={"log_probs": LOG_PROBABILITIES})
def nll_loss(
    log_probs: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of integer labels under predicted log-probabilities.

        -w_y log pᵧ

    For models that end in a log-softmax. If you have logits, `cross_entropy` is the safer choice: here logits or
    probabilities give a number that means nothing, which only `checkify` finds. A label that is
    neither a class nor `ignore_index` makes the loss and its gradient NaN. In PyTorch the class axis is 1.

    Args:
        log_probs: Log-probabilities, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `log_probs` without `axis`.
        class_weights: Multiplier of each class, shape (classes,). In the mean, each row counts with the weight of its
            label.
        ignore_index: Rows with this label do not count; None for no such label.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.nll_loss(jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]])), jnp.array([1, 0]))
        Array(1.0397, dtype=float32)

    References:
        Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    log_probs, labels, where = labelled_inputs(where, axis, ignore_index, log_probs=log_probs, labels=labels)
    class_weights = per_class(log_probs, class_weights=class_weights)
    scores, impossible = finite(at_labels(log_probs, labels))
    label_weights = weights_of_labels(labels, class_weights)
    values = -scores if label_weights is None else -label_weights * scores
    values = with_impossible(values, impossible, label_weights)
    return reduce(values, where=where, weights=weights, normalizer=label_weights, reduction=reduction)


@loss_function(domains={"labels": PROBABILITY})
def logit_adjusted_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    log_prior: Float[ArrayLike, " classes"],
    tau: Scalar = 1.0,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """`cross_entropy` of logits that are shifted by the log frequency of each class.

        -Σₖ yₖ log softmax(s + tau log π)ₖ

    For training data whose classes are not equally frequent. After training with the shift, the logits without it are
    right for equally frequent classes. With `tau = 1` it is the balanced softmax. A prior of 0 rules its class out,
    whatever `tau` is, and so does a logit of -inf. A label on such a class makes the loss inf with a finite gradient.
    A label that is neither a class nor `ignore_index` makes the loss and its gradient NaN.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`; or floating class probabilities, of
            the shape of `logits`.
        log_prior: Log of the frequency π of each class, up to a constant, shape (classes,).
        tau: Factor of the shift; 0 for no shift.
        ignore_index: Rows with this label do not count; None for no such label.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> log_prior = jnp.log(jnp.array([0.75, 0.25]))
        >>> jaxloss.logit_adjusted_cross_entropy(jnp.zeros((1, 2)), jnp.array([1]), log_prior=log_prior)
        Array(1.3863, dtype=float32)

    References:
        Ren et al., Balanced meta-softmax for long-tailed visual recognition, 2020.
        Menon et al., Long-tail learning via logit adjustment, 2021.
    """
    logits, labels, where = class_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    require_shape("log_prior", log_prior, logits.shape[-1:], "one entry per class")
    shift, ruled_out = finite(jnp.expand_dims(log_prior, tuple(range(logits.ndim - 1))))
    logits = jnp.where(ruled_out, -jnp.inf, logits + tau * shift)
    values, _ = cross_entropy_of_rows(shielded_rows(logits, labels))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"labels": PROBABILITY, "gamma": NON_NEGATIVE, "label_smoothing": PROBABILITY})
def softmax_focal_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    gamma: Scalar = 2.0,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    ignore_index: Label | None = -100,
    label_smoothing: Scalar = 0.0,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy that gives less weight to rows that are predicted well.

        -Σₖ wₖ yₖ (1 - pₖ)^gamma log pₖ,  p = softmax(s)

    The version of `sigmoid_focal_loss` for more than two classes, with class weights instead of `alpha`. `gamma = 0`
    is `cross_entropy`. A class with a logit of -inf is left out, and a label on it makes the loss inf with a finite
    gradient. A label that is neither a class nor `ignore_index` makes the loss and its gradient NaN.

    Keras' `CategoricalFocalCrossentropy` takes one-hot labels, clips probabilities at 1e-7, and multiplies by 0.25.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`; or floating class probabilities, of
            the shape of `logits`.
        gamma: Exponent, not negative; a larger one gives less weight to rows that are predicted well.
        class_weights: Multiplier of each class, shape (classes,). In the mean, each row counts with the weight of its
            label, or with Σₖ wₖ yₖ for class probabilities.
        ignore_index: Rows with this label do not count; None for no such label.
        label_smoothing: Share, in [0, 1], of the label that is spread evenly over all classes.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.softmax_focal_loss(jnp.array([[0.0, 0.0], [9.0, 0.0]]), jnp.array([1, 0]))
        Array(0.0866, dtype=float32)

    References:
        Lin et al., Focal loss for dense object detection, 2017.
    """
    logits, labels, where = class_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    class_weights = per_class(logits, class_weights=class_weights)

    def term(odds: Array) -> Array:
        return focal(odds, gamma)

    values, label_weights = _sum_over_labels(term, logits, labels, class_weights, label_smoothing)
    return reduce(values, where=where, weights=weights, normalizer=label_weights, reduction=reduction)


def _sum_over_labels(
    term: Callable[[Array], Array],
    logits: Array,
    labels: Array,
    class_weights: Array | None = None,
    label_smoothing: Scalar = 0.0,
) -> tuple[Array, Array | None]:
    """The sum over the classes of weight times label times a term of the log-odds of the class, for each row.

    The second result is the weight of each row's label, which the row adds to the divisor of the mean.
    """
    label_weights = weights_of_labels(labels, class_weights)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        odds, impossible = log_odds_of_labels(logits, labels)
        values = term(odds) if label_weights is None else label_weights * term(odds)
    else:
        targets, ruled_out = labels if class_weights is None else class_weights * labels, logits == -jnp.inf
        values = jnp.sum(jnp.where(ruled_out, 0, targets * term(log_odds(logits))), axis=-1)
        impossible = jnp.any(ruled_out & (targets > 0), axis=-1)
    if not left_out(label_smoothing):
        shares = (label_smoothing / count_classes(logits))[..., None]
        shares = shares if class_weights is None else class_weights * shares
        # Each term is multiplied before they are added: their sum may overflow.
        terms = jnp.where(logits == -jnp.inf, 0, shares * term(log_odds(logits)))
        values = (1 - label_smoothing) * values + jnp.sum(terms, axis=-1)
    return with_impossible(values, impossible, label_weights), label_weights


@loss_function(domains={"labels": PROBABILITY})
def poly_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    poly_weight: Scalar = 2.0,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy with a different weight for the first term of its series in 1 - p.

        Σₖ yₖ (-log pₖ + poly_weight (1 - pₖ)),  p = softmax(s)

    The series of -log p is (1 - p) + (1 - p)²/2 + …. A larger first term gives rows that are predicted well a larger
    gradient, a smaller term a smaller gradient. `poly_weight = 0` is `cross_entropy`. A class with a logit of -inf is
    left out, and a label on it makes the loss inf with a finite gradient. A label that is neither a class nor
    `ignore_index` makes the loss and its gradient NaN.

    optax takes labels only as probabilities, and calls the weight `epsilon`.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`; or floating class probabilities, of
            the shape of `logits`.
        poly_weight: Added to the weight 1 of the first term; at least -1, since less would reward mistakes.
        ignore_index: Rows with this label do not count; None for no such label.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.poly_cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1]))
        Array(1.6931, dtype=float32)

    References:
        Leng et al., PolyLoss: a polynomial expansion perspective of classification loss functions, 2022.
    """
    logits, labels, where = class_inputs(where, axis, ignore_index, logits=logits, labels=labels)

    def term(odds: Array) -> Array:
        return softplus(-odds) + poly_weight * sigmoid(-odds)

    values, _ = _sum_over_labels(term, logits, labels)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"q": PROBABILITY})
def generalized_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    q: Scalar = 0.7,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """A compromise between cross-entropy and the error probability 1 - p, robust to wrong labels.

        (1 - pᵧ^q) / q,  p = softmax(s)

    It is at most 1/q, so that no single label counts too much. `q = 0` is `cross_entropy`, `q = 1` is 1 - pᵧ. A class
    with a logit of -inf is left out. A label on it has the loss 1/q, or inf for `q = 0`, with a gradient of 0. A label
    that is neither a class nor `ignore_index` makes the loss and its gradient NaN.

    Keras takes probabilities instead of logits, and its default of `q` is 0.5.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`.
        q: Robustness, in [0, 1]; a larger one gives less weight to labels that the model finds improbable.
        ignore_index: Rows with this label do not count; None for no such label.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.generalized_cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1]), q=0.5)
        Array(0.5858, dtype=float32)

    References:
        Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks with noisy labels, 2018.
    """
    logits, labels, where = labelled_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    odds, impossible = log_odds_of_labels(logits, labels)
    values = exponential_growth(softplus(-odds), -jnp.asarray(q, odds.dtype))
    values = with_impossible(values, impossible & jnp.equal(q, 0))
    return reduce(values, where=where, weights=weights, reduction=reduction)
