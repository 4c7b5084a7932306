"""Contrastive learning: losses that compare every row of a batch with every other row."""

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
from .._math.special import softplus
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
    """Normalised temperature-scaled cross-entropy of each positive of an anchor against all of its negatives.

        Σⱼ -log (exp(cᵢⱼ / τ) / (exp(cᵢⱼ / τ) + Σₖ exp(cᵢₖ / τ)))

    This is the loss of row i as an anchor. c are the cosines of the angles between rows. j runs over the positives of
    the anchor, which are the other rows with its label, and k over its negatives, which are the rows with another
    label. The positives other than j are not in the denominator, as in optax and pytorch-metric-learning.

    It is the loss of SimCLR if all views of an image have one label. The mean is over pairs of an anchor and a
    positive. A zero vector has cosine 0 with every vector, and gradient 0. Memory grows as n².

    Args:
        embeddings: Vectors, shape (n, features).
        labels: Ids, which may be any integers, shape (n,).
        temperature: Divisor of the cosines, above 0.
        where, weights, reduction: As in `jaxloss.reduce`, per anchor. An excluded row is also no positive or negative
            of other rows, but a row of weight 0 is.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Raises:
        ValueError: `embeddings` does not have two axes.

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
    largest, log_sum = log_sum_exp(similarities, pairs.negative, temperature)
    # Subtracted before the division: over a small temperature these would be two large numbers that cancel.
    terms = softplus((largest[:, None] - similarities) / temperature + log_sum[:, None])
    values = jnp.sum(jnp.where(pairs.positive & pairs.has_negative[:, None], terms, 0), axis=-1)
    counts = jnp.sum(pairs.positive, axis=-1).astype(values.dtype)
    return reduce(values, where=where, weights=weights, normalizer=counts, reduction=reduction)


def _embeddings_and_pairs(
    where: Mask | None, embeddings: ArrayLike, labels: ArrayLike
) -> tuple[Float[Array, "n features"], Pairs]:
    """Checked embeddings, with harmless numbers in excluded rows, and the pairs of the rows that count."""
    require_option("the number of axes of embeddings", jnp.ndim(embeddings), (2,))
    embeddings, labels = rowwise_inputs(where, -1, embeddings=embeddings, per_row={"labels": labels})
    counted = jnp.ones(labels.shape, bool) if where is None else broadcastable("where", where, labels.shape)
    return embeddings, pairs_of(labels, jnp.broadcast_to(counted, labels.shape))


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
    """How similar an anchor is to its negatives and how dissimilar to its positives; pairs that are far off weigh more.

        log(1 + Σⱼ exp(-γ αⱼ (cⱼ - 1 + m)) Σₖ exp(γ αₖ (cₖ - m))),  αⱼ = max(0, 1 + m - cⱼ),  αₖ = max(0, cₖ + m)

    This is the loss of one anchor. c are the cosines of its angles to the other rows. j runs over its positives, which
    are the other rows with its label, and k over its negatives, which are the rows with another label. m is the margin.
    For learning embeddings: cosines with positives are pulled to 1, and those with negatives to 0. The weights α are
    constants when differentiating with respect to the embeddings. An anchor without a positive or without a negative
    costs 0 and does not count in the mean. Memory grows as n².

    In pytorch-metric-learning and in Keras's class the mean leaves out every loss that is 0. Keras takes embeddings
    that are normalised already, and its gradient goes through the weights too.

    Args:
        embeddings: Vectors, shape (n, features).
        labels: Ids, which may be any integers, shape (n,).
        gamma: Scale of the exponents: 80 for retrieval of images, 256 for faces.
        margin: How far the cosines of positives may be from 1, and those of negatives from 0; not negative.
        where, weights, reduction: As in `jaxloss.reduce`, per anchor. An excluded row is also no positive or negative
            of other rows, but a row of weight 0 is.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Raises:
        ValueError: `embeddings` does not have two axes.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> embeddings = jnp.array([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
        >>> jaxloss.circle_loss(embeddings, jnp.array([7, 7, 8]), gamma=2.0)  # the last row is a negative only
        Array(0.915, dtype=float32)

    References:
        Sun et al., Circle loss: a unified perspective of pair similarity optimization, 2020.
    """
    embeddings, pairs = _embeddings_and_pairs(where, embeddings, labels)
    similarities = cosines(embeddings)
    constant = jax.lax.stop_gradient(similarities)
    positive_exponents = gamma * jnp.maximum(1 + margin - constant, 0) * (1 - margin - similarities)
    negative_exponents = gamma * jnp.maximum(constant + margin, 0) * (similarities - margin)
    positive_largest, positive_log_sum = log_sum_exp(positive_exponents, pairs.positive)
    negative_largest, negative_log_sum = log_sum_exp(negative_exponents, pairs.negative)
    counted = pairs.has_positive & pairs.has_negative
    log_sum = (positive_largest + negative_largest) + (positive_log_sum + negative_log_sum)
    values = jnp.where(counted, softplus(log_sum), 0)
    return reduce(values, where=where, weights=weights, normalizer=counted.astype(values.dtype), reduction=reduction)
