"""Hinge: losses that ask for a margin between scores, as support vector machines do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Real

from .._kit import (
    AT_LEAST_ONE,
    SIGN,
    Label,
    Mask,
    Reduction,
    Static,
    Weights,
    check_values,
    elementwise_inputs,
    labelled_inputs,
    loss_function,
    per_class,
    reduce,
    rowwise_inputs,
)
from .._math.arithmetic import bounded, finite, half_difference, hinge, poison, power, with_impossible
from .._math.dtypes import Scalar
from .._math.found import found
from .._math.labels import label_mask
from .._math.passes import at_labels, largest, unless_found
from .._math.softmax import count_classes, weights_of_labels


@loss_function(domains={"targets": SIGN})
def hinge_loss(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """How far scores fall short of a margin of 1 on the side of their targets, which are -1 and 1.

        max(0, 1 - y s)

    The loss of support vector machines: a score beyond 1 on the right side costs nothing. Exactly at the hinge the
    gradient is that of the sloped side. Keras also takes targets y of 0 and 1; for this loss pass 2 y - 1.

    Args:
        logits: Scores, any shape.
        targets: -1 or 1, of the shape of `logits`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.hinge_loss(jnp.array([0.5, 3.0]), jnp.array([-1, 1]))
        Array(0.75, dtype=float32)

    References:
        Cortes and Vapnik, Support-vector networks, 1995.
    """
    logits, targets = elementwise_inputs(where, logits=logits, targets=targets)
    values = hinge(1 - targets * logits)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"targets": SIGN})
def squared_hinge_loss(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Square of how far scores fall short of a margin of 1 on the side of their targets, which are -1 and 1.

        max(0, 1 - y s)²

    Unlike `hinge_loss` it has no kink, and scores far on the wrong side cost more. Keras also takes targets y of 0 and
    1; for this loss pass 2 y - 1.

    Args:
        logits: Scores, any shape.
        targets: -1 or 1, of the shape of `logits`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.squared_hinge_loss(jnp.array([0.5, 3.0]), jnp.array([-1, 1]))
        Array(1.125, dtype=float32)

    References:
        Cortes and Vapnik, Support-vector networks, 1995.
    """
    logits, targets = elementwise_inputs(where, logits=logits, targets=targets)
    values = jnp.square(hinge(1 - targets * logits))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"targets": SIGN})
def perceptron_loss(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """How far scores lie on the wrong side of 0, with targets of -1 and 1.

        max(0, -y s)

    It is `hinge_loss` without the margin, and gradient descent on it is Rosenblatt's learning rule. Exactly at a score
    of 0 the gradient is that of the sloped side, so that a model whose weights are all 0 learns. optax has half of it.

    Args:
        logits: Scores, any shape.
        targets: -1 or 1, of the shape of `logits`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.perceptron_loss(jnp.array([0.5, 3.0]), jnp.array([-1, 1]))
        Array(0.25, dtype=float32)

    References:
        Rosenblatt, The perceptron: a probabilistic model for information storage and organization in the brain, 1958.
    """
    logits, targets = elementwise_inputs(where, logits=logits, targets=targets)
    values = hinge(-targets * logits)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function()
def multiclass_hinge_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """How far the label's score falls short of a margin of 1 above the highest other score.

        max(0, 1 + max_{k ≠ y} sₖ - s_y)

    The multi-class support vector machine that counts only the worst violation; `multi_margin_loss` counts all. A class
    with a logit of -inf is left out, and a label on it makes the loss inf. Exactly at the hinge the gradient is that of
    the sloped side. Classes that tie for the highest other score share its gradient.

    Keras' `categorical_hinge` takes one-hot labels, and uses 0 in place of a highest other score below 0.

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`.
        ignore_index: Rows with this label do not count; None for no such label.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.multiclass_hinge_loss(jnp.array([[1.0, 0.5, 2.0, -3.0]]), jnp.array([0]))
        Array(2., dtype=float32)

    References:
        Crammer and Singer, On the algorithmic implementation of multiclass kernel-based vector machines, 2001.
    """
    logits, labels, where = labelled_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    others = jnp.where(label_mask(labels, logits.shape[-1]), -jnp.inf, logits)
    highest, label_scores = _highest_and_labels(others, logits, labels)
    (highest_other, no_others), (label_scores, impossible) = finite(highest), finite(label_scores)
    values = hinge(1 + (highest_other - label_scores))
    values = jnp.where(no_others, 0 * label_scores, values)  # a product, so that NaN stays NaN
    values = with_impossible(values, impossible)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function()
def multiclass_perceptron_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """How far the label's score lies below the highest score.

        maxₖ sₖ - s_y

    For structured prediction, where each structure is a class. A class with a logit of -inf is left out, and a label on
    it makes the loss inf. Classes that tie for the highest score share its gradient.

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`.
        ignore_index: Rows with this label do not count; None for no such label.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.multiclass_perceptron_loss(jnp.array([[1.0, 0.5, 2.0, -3.0]]), jnp.array([0]))
        Array(1., dtype=float32)

    References:
        Collins, Discriminative training methods for hidden Markov models, 2002.
    """
    logits, labels, where = labelled_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    highest, label_scores = _highest_and_labels(logits, logits, labels)
    (highest, _), (label_scores, impossible) = finite(highest), finite(label_scores)
    values = with_impossible(highest - label_scores, impossible)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _highest_and_labels(scores: Array, logits: Array, labels: Array) -> tuple[Array, Array]:
    """The highest score of each row, whose gradient is shared by those that tie; and the logit of its label."""
    found = largest(*jax.lax.stop_gradient((scores, logits, labels)))
    return _shared(scores, found.score, found.ties), unless_found(at_labels(logits, labels), found.of_label)


@jax.custom_jvp
def _shared(scores: Array, highest: Array, ties: Array) -> Array:
    return found(highest, jnp.max(scores, axis=-1))


# By its own rule JAX would count the ties in a pass of their own.
@_shared.defjvp
def _shared_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Any, Any]) -> tuple[Array, Array]:
    scores, highest, ties = primals
    shares = jnp.where(scores == highest[..., None], 1 / ties[..., None], 0)
    return _shared(*primals), jnp.sum(shares * tangents[0], axis=-1)


@loss_function(domains={"p": AT_LEAST_ONE})
def multi_margin_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    p: Static[float] = 1,
    margin: Scalar = 1.0,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """How far the label's score falls short of a margin above each other score, averaged over the classes.

        w_y Σ_{k ≠ y} max(0, margin - s_y + sₖ)ᵖ / K

    The multi-class support vector machine that counts all violations; K is the number of classes. A class with a logit
    of -inf is left out and not counted in K, and a label on it makes the loss inf. Exactly at the hinge the gradient
    is 0.

    With class weights, the mean divides by the sum of the weights of the labels, and PyTorch by the number of rows.

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`.
        p: Exponent, at least 1; PyTorch allows 1 and 2.
        margin: How far the label's score should lie above the others.
        class_weights: Multiplier of each class, shape (classes,). In the mean, each row counts with the weight of its
            label.
        ignore_index: Rows with this label do not count; None for no such label.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Raises:
        ValueError: `p` is less than 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.multi_margin_loss(jnp.array([[1.0, 0.5, 2.0, -3.0]]), jnp.array([0]))
        Array(0.625, dtype=float32)

    References:
        Weston and Watkins, Support vector machines for multi-class pattern recognition, 1999.
    """
    logits, labels, where = labelled_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    class_weights = per_class(logits, class_weights=class_weights)
    label_scores, impossible = finite(at_labels(logits, labels))
    scores, ruled_out = finite(logits)
    exempt = ruled_out | label_mask(labels, logits.shape[-1])
    violations = bounded(hinge(margin + (scores - label_scores[..., None])))
    # One factor is half a violation, as all of it may overflow before it is multiplied.
    halves = hinge(margin / 2 + half_difference(scores, label_scores[..., None]))
    label_weights = weights_of_labels(labels, class_weights)
    # Multiplied before the power, which may overflow: then a weight of 0 would make NaN.
    twice_shares = (2 if label_weights is None else 2 * label_weights) / count_classes(logits)
    terms = jnp.where(exempt, 0, twice_shares[..., None] * halves * power(violations, p - 1))
    values = jnp.sum(terms, axis=-1)
    values = with_impossible(values, impossible, label_weights)
    return reduce(values, where=where, weights=weights, normalizer=label_weights, reduction=reduction)


@loss_function()
def multilabel_margin_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch classes"],
    *,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """How far the scores of a row's labels fall short of a margin of 1 above those of all other classes.

        Σ_{y in labels} Σ_{k not in labels} max(0, 1 - s_y + sₖ) / K

    For rows that have several labels each; K is the number of classes. A class with a logit of -inf is left out and not
    counted in K, and a label on it makes the loss inf. A label before the first -1 that is not a class makes the loss
    and its gradient NaN. Exactly at the hinge the gradient is that of the sloped side.

    Args:
        logits: Scores, shape (..., classes).
        labels: Lists of integers in [0, classes), of the shape of `logits`. A -1 ends a list, and entries after it
            have no meaning. A label that is listed twice counts twice.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.multilabel_margin_loss(jnp.array([[0.1, 0.2, 0.4, 0.8]]), jnp.array([[3, 0, -1, 1]]))
        Array(0.85, dtype=float32)

    References:
        Crammer and Singer, A family of additive online algorithms for category ranking, 2003.
    """
    logits, labels = rowwise_inputs(where, axis, logits=logits, labels=labels)
    labels, listed, factors = _label_lists(labels, logits.shape[-1])
    logits = factors[..., None] * logits
    label_scores, impossible = finite(at_labels(logits[..., None, :], labels))
    scores, ruled_out = finite(logits)
    is_label = jnp.any(label_mask(labels, logits.shape[-1]) & listed[..., None], axis=-2)
    paired = listed[..., :, None] & ~(is_label | ruled_out)[..., None, :]
    # Half of each violation, as all of it may overflow before it is divided.
    halves = hinge(0.5 + half_difference(scores[..., None, :], label_scores[..., :, None]))
    twice_shares = 2 / count_classes(logits)[..., None, None]
    values = factors * jnp.sum(twice_shares * jnp.where(paired, halves, 0), axis=(-2, -1))
    values = with_impossible(values, jnp.any(impossible & listed, axis=-1))
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _label_lists(labels: Array, classes: int) -> tuple[Array, Array, Array]:
    """Reads lists of labels that end at their first -1.

    Returns the lists with 0 in entries that are no label, a mask of the entries before the end of the list, and a
    factor for each row: 1, or NaN if one of these entries is not a class.
    """
    positions = jax.lax.broadcasted_iota(jnp.int32, labels.shape, labels.ndim - 1)
    # A minimum rather than a cumulative sum, because it also works on lists that are sharded over devices.
    ends = jnp.min(jnp.where(labels == -1, positions, classes), axis=-1, keepdims=True)
    listed = positions < ends
    valid = (labels >= 0) & (labels < classes)
    labels = check_values("labels", labels, valid | ~listed, f"in [0, {classes}), or -1 to end a list")
    return jnp.where(valid & listed, labels, 0), listed, poison(jnp.all(valid | ~listed, axis=-1))
