"""Metric learning: losses on the distances and angles between embeddings."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import (
    AT_LEAST_ONE,
    NON_NEGATIVE,
    SIGN,
    Mask,
    Reduction,
    Static,
    Weights,
    array_function,
    elementwise_inputs,
    loss_function,
    reduce,
    require_shape,
    rowwise_inputs,
)
from .._math.arithmetic import hinge, poison
from .._math.dtypes import Scalar
from .._math.vectors import cosine, norms, one_minus_cosine


@loss_function(domains={"eps": NON_NEGATIVE})
def cosine_distance(
    predictions: Float[ArrayLike, "*batch features"],
    targets: Real[ArrayLike, "*batch features"],
    *,
    eps: Scalar = 0.0,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """One minus the cosine of the angle between vectors.

        1 - x·y / (max(‖x‖, eps) max(‖y‖, eps))

    For vectors whose length means nothing, such as embeddings. The distance lies in [0, 2], and keeps its digits where
    the cosine rounds to 1. A zero vector is at distance 1 from every vector; with `eps = 0` its gradient is 0.
    Vectors of a length up to `eps` are divided by `eps`, and the gradient is that of this division, also at a length
    of exactly `eps`.

    optax's `epsilon` is a lower limit of the squared length.

    Args:
        predictions: Vectors, shape (..., features).
        targets: Vectors, of the shape of `predictions`.
        eps: Least number that a vector is divided by, not negative.
        axis: The feature axis.
        where, weights, reduction: As in `jaxloss.reduce`, per pair.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.cosine_distance(jnp.array([[1.0, 0.0], [2.0, 0.0]]), jnp.array([[0.0, 1.0], [3.0, 0.0]]))
        Array(0.5, dtype=float32)

    References:
        Salton, Wong and Yang, A vector space model for automatic indexing, 1975.
    """
    predictions, targets = rowwise_inputs(where, axis, predictions=predictions, targets=targets)
    values = one_minus_cosine(predictions, targets, eps)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@array_function(domains={"eps": NON_NEGATIVE})
def cosine_similarity(
    predictions: Float[ArrayLike, "*batch features"],
    targets: Real[ArrayLike, "*batch features"],
    *,
    eps: Scalar = 0.0,
    axis: int = -1,
) -> Float[Array, "*batch"]:
    """Cosine of the angle between vectors.

        x·y / (max(‖x‖, eps) max(‖y‖, eps))

    This is no loss and takes no reduction; one minus it is `cosine_distance`. A zero vector has cosine 0 with every
    vector; with `eps = 0` its gradient is 0. Vectors of a length up to `eps` are divided by `eps`, and the gradient is
    that of this division, also at a length of exactly `eps`.

    optax's `epsilon` is a lower limit of the squared length.

    Args:
        predictions: Vectors, shape (..., features).
        targets: Vectors, of the shape of `predictions`.
        eps: Least number that a vector is divided by, not negative.
        axis: The feature axis.

    Returns:
        The shape of `predictions` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.cosine_similarity(jnp.array([[1.0, 0.0], [2.0, 0.0]]), jnp.array([[0.0, 1.0], [3.0, 0.0]]))
        Array([0., 1.], dtype=float32)

    References:
        Salton, Wong and Yang, A vector space model for automatic indexing, 1975.
    """
    predictions, targets = rowwise_inputs(None, axis, predictions=predictions, targets=targets)
    return cosine(predictions, targets, eps)


@loss_function(domains={"targets": SIGN})
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
    """One minus the cosine of similar vectors, and hinge on the cosine of dissimilar vectors.

        1 - cos(x₁, x₂)               where y = 1
        max(0, cos(x₁, x₂) - margin)  where y = -1

    For embeddings whose length means nothing. A zero vector has cosine 0 with every vector, and gradient 0. Exactly at
    the hinge, where the cosine equals the margin, the gradient is that of the sloped side.

    PyTorch adds 1e-12 to squared lengths, which changes the loss of vectors shorter than about 1e-4.

    Args:
        x1: Vectors, shape (..., features).
        x2: Vectors, of the shape of `x1`.
        targets: 1 for similar, -1 for dissimilar vectors, of the shape of `x1` without `axis`. Any other value makes
            the loss and its gradient NaN.
        margin: Cosine up to which a dissimilar pair costs nothing, in [-1, 1].
        axis: The feature axis.
        where, weights, reduction: As in `jaxloss.reduce`, per pair.

    Returns:
        A scalar, or with reduction "none" the shape of `targets`.

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
    x1 = poison(jnp.abs(targets) == 1)[..., None] * x1
    values = jnp.where(targets > 0, one_minus_cosine(x1, x2, 0.0), hinge(cosine(x1, x2) - margin))
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
    """Distance of similar pairs, and hinge on the distance of dissimilar pairs.

        x                   where y = 1
        max(0, margin - x)  where y = -1

    For embeddings that are learnt from pairs: similar pairs are pulled together, and dissimilar pairs are pushed apart
    up to the margin. Exactly at the hinge the gradient is that of the sloped side.

    Args:
        predictions: Distances, any shape.
        targets: 1 for similar, -1 for dissimilar pairs, of the shape of `predictions`. Any other value makes the loss
            and its gradient NaN.
        margin: Distance from which on a dissimilar pair costs nothing.
        where, weights, reduction: As in `jaxloss.reduce`, per pair.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.hinge_embedding_loss(jnp.array([0.5, 0.25]), jnp.array([1, -1]))
        Array(0.625, dtype=float32)

    References:
        Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, 2006.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    predictions = poison(jnp.abs(targets) == 1) * predictions
    values = jnp.where(targets > 0, predictions, hinge(margin - predictions))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"p": AT_LEAST_ONE})
def triplet_margin_loss(
    anchors: Float[ArrayLike, "*batch features"],
    positives: Float[ArrayLike, "*batch features"],
    negatives: Float[ArrayLike, "*batch features"],
    *,
    margin: Scalar = 1.0,
    p: Static[float] = 2.0,
    eps: Scalar = 1e-6,
    swap: bool = False,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Hinge on how much nearer an anchor is to its positive than to its negative.

        max(0, d(a, p) - d(a, n) + margin),  d(x, y) = ‖x - y + eps‖ₚ

    For embeddings, such as those of faces, places or products. `eps` is added to every difference, as in PyTorch; with
    `eps = 0` the distance of equal points has gradient 0. Exactly at the hinge the gradient is that of the sloped side.

    Args:
        anchors: Vectors, shape (..., features).
        positives: Vectors that should be near the anchors, of the shape of `anchors`.
        negatives: Vectors that should be far from the anchors, of the shape of `anchors`.
        margin: How much nearer the positive should be than the negative.
        p: Degree of the norm, from 1 to infinity.
        eps: Number that is added to each difference of coordinates.
        swap: Whether the distance from positive to negative replaces that from anchor to negative where it is smaller.
        axis: The feature axis.
        where, weights, reduction: As in `jaxloss.reduce`, per triplet.

    Returns:
        A scalar, or with reduction "none" the shape of `anchors` without `axis`.

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
    # Distances in units in which none of them overflows, so that also the difference of two huge ones is right.
    unit = 2.0 ** (3 + math.ceil(math.log2(anchors.shape[-1]) / p))

    def distances(*pairs: tuple[Array, Array]) -> list[Array]:
        return norms(p, *(x / unit - y / unit + eps / unit for x, y in pairs))

    values = _triplet(anchors, positives, negatives, distances, margin, swap=swap, unit=unit)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _triplet(
    anchors: Array,
    positives: Array,
    negatives: Array,
    distances: Callable[..., list[Array]],
    margin: Scalar,
    *,
    swap: bool,
    unit: float = 1.0,
) -> Array:
    near, *far = distances((anchors, positives), (anchors, negatives), *[(positives, negatives)] * swap)
    return hinge(margin + unit * (near - functools.reduce(jnp.minimum, far)))


@loss_function()
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
    """Hinge on how much nearer an anchor is to its positive than to its negative, by any distance function.

        max(0, d(a, p) - d(a, n) + margin)

    This is `triplet_margin_loss` with another distance. `distance_function` runs in the caller's trace, so it may close
    over parameters, and gradients flow to them. Exactly at the hinge the gradient is that of the sloped side.

    Args:
        anchors: Vectors, shape (..., features).
        positives: Vectors that should be near the anchors, of the shape of `anchors`.
        negatives: Vectors that should be far from the anchors, of the shape of `anchors`.
        distance_function: A function that takes two arrays of shape (..., features) and returns distances, shape (...).
        margin: How much nearer the positive should be than the negative.
        swap: Whether the distance from positive to negative replaces that from anchor to negative where it is smaller.
        axis: The feature axis. The distance function gets it as the last axis.
        where, weights, reduction: As in `jaxloss.reduce`, per triplet.

    Returns:
        A scalar, or with reduction "none" the shape of `anchors` without `axis`.

    Raises:
        ValueError: The distances do not have the shape of the batch.

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

    def distances(*pairs: tuple[Array, Array]) -> list[Array]:
        each = [distance_function(x, y) for x, y in pairs]
        for distance in each:
            require_shape("the distance", distance, anchors.shape[:-1], "one per triplet")
        return each

    values = _triplet(anchors, positives, negatives, distances, margin, swap=swap)
    return reduce(values, where=where, weights=weights, reduction=reduction)
