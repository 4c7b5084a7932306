"""Contrastive learning: losses on all pairs of the rows of a batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._kit import (
    NON_NEGATIVE,
    POSITIVE,
    Ids,
    Mask,
    Reduction,
    Weights,
    broadcastable,
    loss_function,
    reduce,
    require_option,
    rowwise_inputs,
)
from .._math.dtypes import Scalar
from .._math.pairs import Pairs, log_sum_exp, pairs_of
from .._math.vectors import cosines


@loss_function(domains={"temperature": POSITIVE})
def nt_xent_loss(
    embeddings: Float[ArrayLike, "n features"],
    labels: Ids,
    *,
    temperature: Scalar = 0.07,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Normalised temperature-scaled cross-entropy: picks each positive of an anchor out from all its negatives.

        Σⱼ -log (exp(cᵢⱼ / τ) / (exp(cᵢⱼ / τ) + Σₖ exp(cᵢₖ / τ)))

    Of anchor i; c are cosines, j runs over the other rows with its label, its positives, k over those with another. The
    loss of SimCLR, with views of one image under one label; other positives are not among the negatives, as in optax
    and pytorch-metric-learning. The mean is over pairs of anchor and positive. A zero vector has cosine 0 with all,
    and gradient 0. Memory grows as n².

    Args:
        embeddings: Vectors, shape (n, features).
        labels: Ids, any integers, shape (n,).
        temperature: Divisor of the cosines, above 0.
        where, weights, reduction: As in `jaxloss.reduce`, per anchor. A row that is excluded is nobody's positive or
            negative either; one of weight 0 still is.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Raises:
        ValueError: `embeddings` has more or fewer than two axes.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> embeddings = jnp.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 4.0]])
        >>> jaxloss.nt_xent_loss(embeddings, jnp.array([7, 7, 8, 8]), temperature=0.5)
        Array(0.2395, dtype=float32)

    References:
        Chen et al., A simple framework for contrastive learning of visual representations, 2020.
    """
    embeddings, pairs = _embeddings_and_pairs(where, embeddings, labels)
    similarities = cosines(embeddings)
    top, rest = log_sum_exp(similarities, pairs.negative, temperature)
    # Differences first: over a small temperature two large numbers would be left to cancel.
    terms = jax.nn.softplus((top[:, None] - similarities) / temperature + rest[:, None])
    values = jnp.sum(jnp.where(pairs.positive & pairs.has_negative[:, None], terms, 0), axis=-1)
    counts = jnp.sum(pairs.positive, axis=-1).astype(values.dtype)
    return reduce(values, where=where, weights=weights, normalizer=counts, reduction=reduction)


@loss_function(domains={"gamma": POSITIVE, "margin": NON_NEGATIVE})
def circle_loss(
    embeddings: Float[ArrayLike, "n features"],
    labels: Ids,
    *,
    gamma: Scalar = 80.0,
    margin: Scalar = 0.4,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Pulls all positives of an anchor together and all its negatives away, the more the farther they are off.

        log(1 + Σⱼ exp(-γ αⱼ (cⱼ - 1 + m)) Σₖ exp(γ αₖ (cₖ - m))),  αⱼ = max(0, 1 + m - cⱼ),  αₖ = max(0, cₖ + m)

    c are the cosines of an anchor, j runs over the other rows with its label, its positives, k over those with another;
    m is the margin. The weights α are constants when differentiating with respect to the embeddings. An anchor without
    a positive or without a negative costs 0 and does not count in the mean. Memory grows as n².

    pytorch-metric-learning's mean leaves out every loss that is 0. Keras's class does likewise; its embeddings have to
    be normalised already, and its gradient goes through the weights too.

    Args:
        embeddings: Vectors, shape (n, features).
        labels: Ids, any integers, shape (n,).
        gamma: Scale of the exponents: 80 for retrieval of images, 256 for faces.
        margin: How far positives may be from cosine 1, and negatives from 0.
        where, weights, reduction: As in `jaxloss.reduce`, per anchor. A row that is excluded is nobody's positive or
            negative either; one of weight 0 still is.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Raises:
        ValueError: `embeddings` has more or fewer than two axes.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> embeddings = jnp.array([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
        >>> jaxloss.circle_loss(embeddings, jnp.array([7, 7, 8]), gamma=2.0)  # the last row counts as a negative only
        Array(0.915, dtype=float32)

    References:
        Sun et al., Circle loss: a unified perspective of pair similarity optimization, 2020.
    """
    embeddings, pairs = _embeddings_and_pairs(where, embeddings, labels)
    similarities = cosines(embeddings)
    held = jax.lax.stop_gradient(similarities)
    near = gamma * jnp.maximum(1 + margin - held, 0) * (1 - margin - similarities)
    far = gamma * jnp.maximum(held + margin, 0) * (similarities - margin)
    near_top, near_rest = log_sum_exp(near, pairs.positive)
    far_top, far_rest = log_sum_exp(far, pairs.negative)
    counted = pairs.has_positive & pairs.has_negative
    values = jnp.where(counted, jax.nn.softplus((near_top + far_top) + (near_rest + far_rest)), 0)
    return reduce(values, where=where, weights=weights, normalizer=counted.astype(values.dtype), reduction=reduction)


def _embeddings_and_pairs(
    where: Mask | None, embeddings: ArrayLike, labels: ArrayLike
) -> tuple[Float[Array, "n features"], Pairs]:
    """Checked embeddings with those of excluded rows made harmless, and the pairs of the others."""
    require_option("the number of axes of embeddings", jnp.ndim(embeddings), (2,))
    embeddings, labels = rowwise_inputs(where, -1, embeddings=embeddings, per_row={"labels": labels})
    counted = jnp.ones(labels.shape, bool) if where is None else broadcastable("where", where, labels.shape)
    return embeddings, pairs_of(labels, jnp.broadcast_to(counted, labels.shape))
