"""Losses that ask for a margin between scores or distances: what compares pairs and triplets."""

from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from ._core import (
    AT_LEAST_ONE,
    SIGN,
    Mask,
    Reduction,
    Scalar,
    Weights,
    elementwise_inputs,
    loss_function,
    poison,
    reduce,
    require_shape,
    rowwise_inputs,
)
from ._hinge import hinge
from ._vectors import cosine, norm


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
    values = hinge(margin - targets * (x1 - x2))
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
    values = jnp.where(targets > 0, predictions, hinge(margin - predictions))
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
    values = jnp.where(targets > 0, 1 - similarity, hinge(similarity - margin))
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
    return hinge(margin + (near - far))
