"""Losses that ask for a margin: between scores, classes, or distances."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Real

from ._core import (
    AT_LEAST_ONE,
    SIGN,
    Mask,
    Reduction,
    Scalar,
    Weights,
    at_labels,
    check_values,
    elementwise_inputs,
    label_mask,
    labelled_inputs,
    loss_function,
    per_class,
    poison,
    reduce,
    require_shape,
    rowwise_inputs,
)
from ._softmax import count_classes, finite, with_impossible
from ._vectors import cosine, norm, power


@loss_function(domains={"targets": SIGN})
def margin_ranking_loss(
    x1: Float[ArrayLike, "*shape"],
    x2: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    margin: Scalar = 0.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Hinge on the order of two scores.

        max(0, margin - y (x₁ - x₂))

    For learning to rank from pairs of which one should score higher. At the hinge the gradient is that of the slope.

    Args:
        x1: First scores, any shape.
        x2: Second scores, of the shape of `x1`.
        targets: 1 where the first should be higher, -1 where the second; the shape of `x1`.
        margin: Difference from which a pair costs nothing.
        where, weights, reduction: As in `jaxloss.reduce`, per pair.

    Returns:
        A scalar, or with reduction "none" the shape of `x1`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.margin_ranking_loss(jnp.array([1.0, 2.0]), jnp.array([3.0, 0.0]), jnp.array([1, 1]))
        Array(1., dtype=float32)

    References:
        Herbrich, Graepel and Obermayer, Large margin rank boundaries for ordinal regression, 2000.
    """
    x1, x2, targets = elementwise_inputs(where, x1=x1, x2=x2, targets=targets)
    values = _hinge(margin - targets * (x1 - x2))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"targets": SIGN})
def hinge_embedding_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    margin: Scalar = 1.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Distance of similar pairs, and hinge on the distance of dissimilar ones.

        x                   where y = 1
        max(0, margin - x)  where y = -1

    For embeddings learnt from pairs: similar ones are pulled together, others pushed apart up to the margin. At the
    hinge the gradient is that of the slope.

    Args:
        predictions: Distances, any shape.
        targets: 1 for similar, -1 for dissimilar, of the shape of `predictions`; others make the loss NaN.
        margin: Distance from which a dissimilar pair costs nothing.
        where, weights, reduction: As in `jaxloss.reduce`, per pair.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.hinge_embedding_loss(jnp.array([0.5, 0.25]), jnp.array([1, -1]))
        Array(0.625, dtype=float32)

    References:
        Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, 2006.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    predictions = _sign_poison(targets) * predictions
    values = jnp.where(targets > 0, predictions, _hinge(margin - predictions))
    return reduce(values, where=where, weights=weights, reduction=reduction)


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
        A scalar, or with reduction "none" the shape of `logits`; float32, or float64 if an input is.

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


@loss_function(static=("axis",), domains={"targets": SIGN})
def cosine_embedding_loss(
    x1: Float[ArrayLike, "*batch features"],
    x2: Float[ArrayLike, "*batch features"],
    targets: Real[ArrayLike, "*batch"],
    *,
    margin: Scalar = 0.0,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Angle of similar vectors, and hinge on the cosine of dissimilar ones.

        1 - cos(x₁, x₂)               where y = 1
        max(0, cos(x₁, x₂) - margin)  where y = -1

    For embeddings whose length means nothing. A zero vector has cosine 0 with all, and gradient 0; PyTorch adds
    1e-12 to squared lengths, which shows for vectors shorter than about 1e-4. At the hinge the gradient is that of
    the slope.

    Args:
        x1: Vectors, shape (..., features).
        x2: Vectors, of the shape of `x1`.
        targets: 1 for similar, -1 for dissimilar, of the shape of `x1` without `axis`; others make the loss NaN.
        margin: Cosine up to which a dissimilar pair costs nothing, in [-1, 1].
        axis: The feature axis.
        where, weights, reduction: As in `jaxloss.reduce`, per pair.

    Returns:
        A scalar, or with reduction "none" the shape of `targets`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> x1, x2 = jnp.array([[1.0, 0.0], [2.0, 0.0]]), jnp.array([[0.0, 1.0], [3.0, 0.0]])
        >>> jaxloss.cosine_embedding_loss(x1, x2, jnp.array([1, -1]))
        Array(1., dtype=float32)

    References:
        PyTorch, torch.nn.CosineEmbeddingLoss, 2016.
    """
    x1, x2, targets = rowwise_inputs(where, axis, x1=x1, x2=x2, per_row={"targets": targets})
    similarity = cosine(_sign_poison(targets)[..., None] * x1, x2)
    values = jnp.where(targets > 0, 1 - similarity, _hinge(similarity - margin))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("p", "swap", "axis"), domains={"p": AT_LEAST_ONE})
def triplet_margin_loss(
    anchors: Float[ArrayLike, "*batch features"],
    positives: Float[ArrayLike, "*batch features"],
    negatives: Float[ArrayLike, "*batch features"],
    *,
    margin: Scalar = 1.0,
    p: float = 2.0,
    eps: Scalar = 1e-6,
    swap: bool = False,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Hinge on how much nearer an anchor is to a positive than to a negative.

        max(0, d(a, p) - d(a, n) + margin),  d(x, y) = ‖x - y + eps‖ₚ

    For embeddings of faces, places, products. `eps` is added to every difference as in PyTorch; even without it the
    gradient at coincident points is finite, 0. At the hinge the gradient is that of the slope.

    Args:
        anchors: Vectors, shape (..., features).
        positives: Vectors that belong with the anchors, of their shape.
        negatives: Vectors that do not, of the shape of `anchors`.
        margin: How much nearer the positive should be.
        p: Degree of the norm, from 1 to infinity.
        eps: Added to each difference of coordinates.
        swap: Whether to use the distance from negative to positive where it is less than from negative to anchor.
        axis: The feature axis.
        where, weights, reduction: As in `jaxloss.reduce`, per triplet.

    Returns:
        A scalar, or with reduction "none" the shape of `anchors` without `axis`; float32, or float64 if an input is.

    Raises:
        ValueError: `p` is less than 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> anchors, positives, negatives = jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 5.5]])
        >>> jaxloss.triplet_margin_loss(anchors, positives, negatives)
        Array(0.5, dtype=float32)

    References:
        Schroff, Kalenichenko and Philbin, FaceNet, 2015.
        Balntas et al., Learning local feature descriptors with triplets and shallow convolutional neural networks,
        2016 (`swap`).
    """
    anchors, positives, negatives = rowwise_inputs(
        where, axis, anchors=anchors, positives=positives, negatives=negatives
    )
    values = _triplet(anchors, positives, negatives, lambda x, y: norm(x - y + eps, p), margin, swap=swap)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("swap", "axis"), compiled=False)
def triplet_margin_with_distance_loss(
    anchors: Float[ArrayLike, "*batch features"],
    positives: Float[ArrayLike, "*batch features"],
    negatives: Float[ArrayLike, "*batch features"],
    *,
    distance_function: Callable[[Array, Array], Array],
    margin: Scalar = 1.0,
    swap: bool = False,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """`triplet_margin_loss` with a distance of the caller's.

        max(0, d(a, p) - d(a, n) + margin)

    `distance_function` may close over parameters, which are differentiated as usual: it runs in the caller's trace.

    Args:
        anchors: Vectors, shape (..., features).
        positives: Vectors that belong with the anchors, of their shape.
        negatives: Vectors that do not, of the shape of `anchors`.
        distance_function: Takes two arrays of shape (..., features), returns their distances, shape (...).
        margin: How much nearer the positive should be.
        swap: Whether to use the distance from negative to positive where it is less than from negative to anchor.
        axis: The feature axis; the distance function finds it last.
        where, weights, reduction: As in `jaxloss.reduce`, per triplet.

    Returns:
        A scalar, or with reduction "none" the shape of `anchors` without `axis`; float32, or float64 if an input is.

    Raises:
        ValueError: The distances are not of the shape of the batch.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> manhattan = lambda x, y: jnp.sum(jnp.abs(x - y), axis=-1)
        >>> anchors, positives, negatives = jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 5.5]])
        >>> jaxloss.triplet_margin_with_distance_loss(anchors, positives, negatives, distance_function=manhattan)
        Array(2.5, dtype=float32)

    References:
        Schroff, Kalenichenko and Philbin, FaceNet, 2015.
    """
    anchors, positives, negatives = rowwise_inputs(
        where, axis, anchors=anchors, positives=positives, negatives=negatives
    )

    def distance(x: Array, y: Array) -> Array:
        distances = distance_function(x, y)
        require_shape("the distance", distances, anchors.shape[:-1], "one per triplet")
        return distances

    values = _triplet(anchors, positives, negatives, distance, margin, swap=swap)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("p", "axis"), domains={"p": AT_LEAST_ONE})
def multi_margin_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    p: float = 1,
    margin: Scalar = 1.0,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    ignore_index: int | Array | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Hinge on how far the label's score lies above every other.

        w_y Σ_{k ≠ y} max(0, margin - s_y + sₖ)ᵖ / K

    The multi-class support vector machine that counts all violations; K is the number of classes. A class ruled out by
    a logit of -inf takes no part; a label on one makes the loss inf. At the hinge the gradient is 0.

    With class weights the mean is over the weights of the labels, where PyTorch divides by the number of rows.

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`.
        p: Exponent, at least 1; PyTorch allows 1 and 2.
        margin: How far the label should be ahead.
        class_weights: Multiplier of each class, shape (classes,). A row counts in the mean with the weight of its
            label.
        ignore_index: Label of rows that do not count; None if no label means that.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`; float32, or float64 if an input is.

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
    logits, labels, where, validity = labelled_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    class_weights = per_class(logits, class_weights=class_weights)
    logits = validity[..., None] * logits  # a hinge at 0 would swallow what is multiplied into its value
    own, impossible = finite(at_labels(logits, labels))
    others, ruled_out = finite(logits)
    exempt = ruled_out | label_mask(labels, logits.shape[-1])
    violations = jnp.where(exempt, 0, power(_hinge(margin - own[..., None] + others), p))
    values = validity * jnp.sum(violations, axis=-1) / count_classes(logits)
    shares = None if class_weights is None else at_labels(class_weights, labels)
    values = with_impossible(values if shares is None else shares * values, impossible, shares)
    return reduce(values, where=where, weights=weights, normalizer=shares, reduction=reduction)


@loss_function(static=("axis",))
def multilabel_margin_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch classes"],
    *,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Hinge on how far the score of every label lies above that of every other class.

        Σ_{y in labels} Σ_{k not in labels} max(0, 1 - s_y + sₖ) / K

    For rows with a list of labels each. A class ruled out by a logit of -inf takes no part; a label on one makes the
    loss inf. A label before the terminator that is no class makes the loss and its gradient NaN. At the hinge the
    gradient is that of the slope.

    Args:
        logits: Scores, shape (..., classes).
        labels: Lists of integers in [0, classes), of the shape of `logits`; a -1 ends a list, and what follows it
            has no meaning. A label that is listed twice counts twice.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.multilabel_margin_loss(jnp.array([[0.1, 0.2, 0.4, 0.8]]), jnp.array([[3, 0, -1, 1]]))
        Array(0.85, dtype=float32)

    References:
        Crammer and Singer, A family of additive online algorithms for category ranking, 2003.
    """
    logits, labels = rowwise_inputs(where, axis, logits=logits, labels=labels)
    labels, listed, validity = _label_lists(labels, logits.shape[-1])
    logits = validity[..., None] * logits
    own, impossible = finite(at_labels(logits[..., None, :], labels))
    others, ruled_out = finite(logits)
    targets = jnp.any(label_mask(labels, logits.shape[-1]) & listed[..., None], axis=-2)
    paired = listed[..., :, None] & ~(targets | ruled_out)[..., None, :]
    violations = jnp.where(paired, _hinge(1 - own[..., :, None] + others[..., None, :]), 0)
    values = validity * jnp.sum(violations, axis=(-2, -1)) / count_classes(logits)
    values = with_impossible(values, jnp.any(impossible & listed, axis=-1), None)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _hinge(x: Array) -> Array:
    # Written so that NaN stays NaN, and that a tie has the slope's gradient: with margin 0, equal scores still part.
    return jnp.where(x < 0, 0, x)


def _sign_poison(targets: Array) -> Array:
    # A target that is no sign, such as the 0 of another convention, must not pass for one.
    return poison(jnp.abs(targets) == 1)


def _triplet(
    anchors: Array,
    positives: Array,
    negatives: Array,
    distance: Callable[[Array, Array], Array],
    margin: Scalar,
    *,
    swap: bool,
) -> Array:
    near, far = distance(anchors, positives), distance(anchors, negatives)
    if swap:
        far = jnp.minimum(far, distance(positives, negatives))
    return _hinge(margin + near - far)


def _label_lists(labels: Array, classes: int) -> tuple[Array, Array, Array]:
    """Lists with 0 for what is no label, which entries stand before the terminator, and each row's 1 or NaN."""
    positions = jax.lax.broadcasted_iota(jnp.int32, labels.shape, labels.ndim - 1)
    # A minimum rather than a cumulative sum: it works with the list sharded over devices.
    ends = jnp.min(jnp.where(labels == -1, positions, classes), axis=-1, keepdims=True)
    listed = positions < ends
    valid = (labels >= 0) & (labels < classes)
    check_values(valid | ~listed, labels, f"labels must be in [0, {classes}), or -1 to end a list")
    return jnp.where(valid & listed, labels, 0), listed, poison(jnp.all(valid | ~listed, axis=-1))
