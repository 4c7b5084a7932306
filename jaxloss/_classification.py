"""Losses between predicted classes and labels or probabilities."""

import math
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Real

from ._core import (
    PROBABILITY,
    Domain,
    Mask,
    Reduction,
    Scalar,
    Weights,
    are_probabilities,
    at_labels,
    elementwise_inputs,
    labelled_inputs,
    loss_function,
    per_class,
    reduce,
    require_option,
    require_shape,
    rowwise_inputs,
    widened,
)
from ._softmax import (
    Given,
    class_inputs,
    count_classes,
    cross_entropy_of_rows,
    finite,
    label_shares,
    nll_of_labels,
    unshielded,
    used,
    with_impossible,
)

_CUTOFFS = Domain(
    "rising numbers of classes",
    lambda cutoffs: len(cutoffs) > 0 and all(low < high for low, high in pairwise((0, *cutoffs))),
)


@loss_function(
    static=("axis",), half=("logits", "labels"), domains={"labels": PROBABILITY, "label_smoothing": PROBABILITY}
)
def cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    ignore_index: int | Array | None = -100,
    label_smoothing: Scalar = 0.0,
    z_loss_weight: Scalar = 0.0,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy of softmax probabilities with integer labels or with class probabilities.

        -Σₖ wₖ yₖ log softmax(s)ₖ + z_loss_weight log²Z,  Z = Σₖ exp(sₖ)

    The loss of classifiers and language models. Integer labels never become one-hot. A logit of -inf rules its class
    out: it takes no part, also in label smoothing; a label on it makes the loss inf and leaves its gradient finite. A
    label that is neither a class nor `ignore_index` makes the loss and its gradient NaN.

    PyTorch divides the mean for class probabilities by the number of rows even if there are class weights, and takes
    classes from axis 1. optax and Keras have a separate function for each kind of label.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes) of the shape of `logits` without `axis`; or floating class probabilities of
            the shape of `logits`.
        class_weights: Multiplier of each class, shape (classes,). A row counts in the mean with the weight of its
            label, or Σₖ wₖ yₖ.
        ignore_index: Integer label of rows that do not count; None if no label means that.
        label_smoothing: Share, in [0, 1], of the label that is spread evenly over all classes.
        z_loss_weight: Coefficient of log²Z, which keeps logits from drifting; PaLM takes 1e-4.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`; float32, or float64 if an input is.

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
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if are_probabilities(labels, logits):
        rows, probs = rowwise_inputs(where, axis, logits=logits, labels=labels)
        targets = widened(probs)
        validity: Array | int = 1
        given = Given(where, jnp.moveaxis(logits, axis, -1), unshielded(jnp.moveaxis(labels, axis, -1), probs))
    else:
        rows, targets, where, validity = labelled_inputs(where, axis, ignore_index, logits=logits, labels=labels)
        given = Given(where, jnp.moveaxis(logits, axis, -1))
    class_weights = per_class(rows, class_weights=class_weights)
    values, shares = cross_entropy_of_rows(
        widened(rows),
        targets,
        given,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        z_loss_weight=z_loss_weight,
    )
    return reduce(validity * values, where=where, weights=weights, normalizer=shares, reduction=reduction)


@loss_function(static=("axis",), domains={"labels": PROBABILITY})
def logit_adjusted_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    log_prior: Float[ArrayLike, " classes"],
    tau: Scalar = 1.0,
    ignore_index: int | Array | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """`cross_entropy` in which each class has a head start, by how frequent it is.

        -Σₖ yₖ log softmax(s + tau log π)ₖ

    Against unequal class frequencies: trained so, the logits themselves, without the head start, are right for classes
    that are equally frequent. With `tau = 1` it is the balanced softmax. A prior of 0 rules its class out, whatever
    `tau`, and so does a logit of -inf; a label on such a class makes the loss inf, with finite gradient. A label that
    is neither a class nor `ignore_index` makes the loss and its gradient NaN.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes) of the shape of `logits` without `axis`; or floating class probabilities of
            the shape of `logits`.
        log_prior: Log of the frequency of each class, up to a constant, shape (classes,).
        tau: Strength of the head start; 0 for none.
        ignore_index: Label of rows that do not count; None if no label means that.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`; float32, or float64 if an input is.

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
    logits, labels, where, validity = class_inputs(where, axis, ignore_index, logits, labels)
    require_shape("log_prior", log_prior, logits.shape[-1:], "one entry per class")
    head_start, ruled_out = finite(jnp.expand_dims(jnp.asarray(log_prior), tuple(range(logits.ndim - 1))))
    logits = jnp.where(ruled_out, -jnp.inf, logits + tau * head_start)
    given = Given(None, logits, labels if are_probabilities(labels, logits) else None)
    values, _ = cross_entropy_of_rows(logits, labels, given)
    return reduce(validity * values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("axis",))
def nll_loss(
    log_probs: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    ignore_index: int | Array | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of integer labels under predicted log-probabilities.

        -w_y log pᵧ

    For models that end in a log-softmax; `cross_entropy` takes logits and is the safer choice. A label that is
    neither a class nor `ignore_index` makes the loss and its gradient NaN. PyTorch takes classes from axis 1.

    Args:
        log_probs: Log-probabilities, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `log_probs` without `axis`.
        class_weights: Multiplier of each class, shape (classes,). A row counts in the mean with the weight of its
            label.
        ignore_index: Label of rows that do not count; None if no label means that.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.nll_loss(jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]])), jnp.array([1, 0]))
        Array(1.0397, dtype=float32)

    References:
        Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    log_probs, labels, where, validity = labelled_inputs(where, axis, ignore_index, log_probs=log_probs, labels=labels)
    class_weights = per_class(log_probs, class_weights=class_weights)
    scores, impossible = finite(at_labels(log_probs, labels))
    shares = label_shares(labels, class_weights)
    values = with_impossible(-scores if shares is None else -shares * scores, impossible, shares)
    return reduce(validity * values, where=where, weights=weights, normalizer=shares, reduction=reduction)


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
        A scalar, or with reduction "none" the shape of `probs`; float32, or float64 if an input is.

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
        A scalar, or with reduction "none" the shape of `logits`; float32, or float64 if an input is.

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
    if used(label_smoothing):
        smoothed = (1 - label_smoothing) * targets + label_smoothing / 2
        targets = jnp.where(jnp.isinf(logits), targets, smoothed)
    values, impossible = _binary_nll(logits, targets, pos_weight)
    values = with_impossible(values, impossible, None)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("axis",), domains={"targets": PROBABILITY})
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
        A scalar, or with reduction "none" the shape of `logits` without `axis`; float32, or float64 if an input is.

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
    values = with_impossible(values, jnp.any(impossible, axis=-1), None)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("cutoffs",), domains={"cutoffs": _CUTOFFS})
def adaptive_log_softmax_with_loss(
    hidden: Float[ArrayLike, "*batch features"],
    labels: Integer[ArrayLike, "*batch"],
    head: Float[ArrayLike, "features shortlist+tails"],
    tails: tuple[tuple[Float[ArrayLike, "features width"], Float[ArrayLike, "width classes"]], ...],
    *,
    cutoffs: tuple[int, ...],
    head_bias: Float[ArrayLike, " shortlist+tails"] | None = None,
    ignore_index: int | Array | None = -100,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy over many classes of very different frequency, by a softmax in two steps.

        -log p(y | head)                          for the frequent classes y < cutoffs[0]
        -log p(tail i | head) - log p(y | tail i)  for cutoffs[i] ≤ y < cutoffs[i + 1]

    The head holds the frequent classes and one class for each tail; a tail, of its own smaller width, holds rarer
    ones. Classes are sorted by falling frequency. A pure function of its parameters, with kernels as Flax has them
    (PyTorch's transposed); it returns the loss alone.

    Args:
        hidden: Features, shape (..., features).
        labels: Integers in [0, classes), of the shape of `hidden` without its last axis.
        head: Kernel of the head, shape (features, cutoffs[0] + number of tails).
        tails: For each tail its two kernels, of shapes (features, width) and (width, classes of the tail).
        cutoffs: First class of each tail, rising.
        head_bias: Bias of the head, shape (cutoffs[0] + number of tails,).
        ignore_index: Label of rows that do not count; None if no label means that.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`; float32, or float64 if an input is.

    Raises:
        ValueError: The kernels' shapes do not fit the cutoffs or each other.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> head, tails = jnp.zeros((4, 3)), ((jnp.zeros((4, 2)), jnp.zeros((2, 8))),)
        >>> jaxloss.adaptive_log_softmax_with_loss(jnp.ones((2, 4)), jnp.array([0, 5]), head, tails, cutoffs=(2,))
        Array(2.1383, dtype=float32)

    References:
        Grave et al., Efficient softmax approximation for GPUs, 2017.
    """
    classes = _require_adaptive_shapes(hidden, head, tails, cutoffs, head_bias)
    hidden, labels, where, validity = labelled_inputs(
        where, -1, ignore_index, hidden=hidden, labels=labels, classes=classes
    )
    head_logits = hidden @ jnp.asarray(head)
    if head_bias is not None:
        head_logits = head_logits + jnp.broadcast_to(head_bias, head_logits.shape)
    head_labels, values = labels, jnp.zeros_like(validity)
    for index, (cutoff, (project, expand)) in enumerate(zip(cutoffs, tails, strict=True)):
        size = jnp.shape(expand)[-1]
        inside = (labels >= cutoff) & (labels < cutoff + size)
        head_labels = jnp.where(inside, cutoffs[0] + index, head_labels)
        tail_values = nll_of_labels(
            hidden @ jnp.asarray(project) @ jnp.asarray(expand), jnp.where(inside, labels - cutoff, 0)
        )
        values = values + jnp.where(inside, tail_values, 0)
    values = values + nll_of_labels(head_logits, head_labels)
    return reduce(validity * values, where=where, weights=weights, reduction=reduction)


def _require_adaptive_shapes(
    hidden: ArrayLike, head: ArrayLike, tails: Any, cutoffs: tuple[int, ...], head_bias: ArrayLike | None
) -> int:
    """Holds the parameters against the cutoffs, and says how many classes they make."""
    features, head_size = jnp.shape(hidden)[-1], cutoffs[0] + len(cutoffs)
    require_shape("head", head, (features, head_size), f"for the features of hidden and cutoffs {cutoffs}")
    if head_bias is not None:
        require_shape("head_bias", head_bias, (head_size,), f"for cutoffs {cutoffs}")
    require_option("the number of tails", len(tails), (len(cutoffs),))
    bounds = (*cutoffs[1:], None)
    for index, (cutoff, bound, (project, expand)) in enumerate(zip(cutoffs, bounds, tails, strict=True)):
        width = jnp.shape(project)[-1]
        size = jnp.shape(expand)[-1] if bound is None else bound - cutoff
        require_shape(f"tails[{index}][0]", project, (features, width), "for the features of hidden")
        require_shape(f"tails[{index}][1]", expand, (width, size), f"for its width and cutoffs {cutoffs}")
    return cutoffs[-1] + jnp.shape(tails[-1][1])[-1]


def _bounded_log(probs: Array) -> Array:
    """The log of probabilities, at least -100; a number that is no probability stays NaN."""
    # Below the least normal number hardware may round to 0, where the gradient of the log would be infinite.
    vanishing = (probs >= 0) & (probs <= max(math.exp(-100), float(jnp.finfo(probs.dtype).tiny)))
    return jnp.where(vanishing, -100, jnp.log(jnp.where(vanishing, 1, probs)))


def _bounded_log_complement(probs: Array) -> Array:
    """The log of 1 - probabilities, likewise, exact for small ones."""
    certain = probs == 1
    return jnp.where(certain, -100, jnp.log1p(-jnp.where(certain, 0, probs)))


def _binary_nll(logits: Array, targets: Array, pos_weight: Array | None = None) -> tuple[Array, Array]:
    """-w t log σ(s) - (1 - t) log σ(-s) without the inf of targets that an infinite logit rules out, and which.

    Neither term is negative, so that nothing cancels.
    """
    certain = jnp.isinf(logits)
    scores = jnp.where(certain, 0, logits)
    yes, no = targets if pos_weight is None else pos_weight * targets, 1 - targets
    terms = yes * jax.nn.softplus(-scores) + no * jax.nn.softplus(scores)
    return jnp.where(certain, 0, terms), certain & (jnp.where(logits > 0, no, yes) > 0)
