"""Ranking: losses on the order of two items, or of those of a list."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Real

from .._kit import (
    NON_NEGATIVE,
    SIGN,
    Mask,
    Reduction,
    Weights,
    broadcastable,
    elementwise_inputs,
    loss_function,
    reduce,
    rowwise_inputs,
)
from .._math.arithmetic import hinge
from .._math.cross_entropy import cross_entropy_of_rows, shielded_rows
from .._math.dtypes import Scalar


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
        A scalar, or with reduction "none" the shape of `x1`.

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


@loss_function(domains={"relevance": NON_NEGATIVE})
def ranking_softmax_loss(
    scores: Float[ArrayLike, "*batch items"],
    relevance: Real[ArrayLike, "*batch items"],
    *,
    valid: Bool[ArrayLike, "*batch items"] | None = None,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy of the softmax over a list's scores with the relevance of its items: ListNet, top one.

        -Σᵢ rᵢ log softmax(s)ᵢ

    For learning to rank from graded or clicked lists. Relevance is taken as it is, so that a list with more of it
    weighs more, as in optax and Rax; the paper has a softmax of it: pass that for its loss. A score of -inf rules its
    item out; relevance on one makes the loss inf and leaves its gradient finite. Without relevance the loss is 0.

    Args:
        scores: Scores, shape (..., items).
        relevance: Non-negative numbers of the shape of `scores`; higher is more relevant.
        valid: Boolean mask of the items that are there, of the shape of `scores`: lists differ in length. A list
            without any does not count.
        axis: The axis of the items.
        where, weights, reduction: As in `jaxloss.reduce`, per list.

    Returns:
        A scalar, or with reduction "none" the shape of `scores` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> scores, relevance = jnp.array([[2.0, 1.0, 9.0], [0.0, 0.0, 0.0]]), jnp.array([[1, 0, 5], [0, 2, 0]])
        >>> valid = jnp.array([[True, True, False], [True, True, True]])
        >>> jaxloss.ranking_softmax_loss(scores, relevance, valid=valid)
        Array(1.2552, dtype=float32)

    References:
        Cao et al., Learning to rank: from pairwise approach to listwise approach, 2007.
    """
    if valid is not None:
        shape = jnp.shape(scores)
        valid = jnp.moveaxis(jnp.broadcast_to(broadcastable("valid", valid, shape, of="the scores"), shape), axis, -1)
    scores, relevance = rowwise_inputs(where, axis, scores=scores, relevance=relevance)
    if valid is not None:
        scores, relevance = jnp.where(valid, scores, -jnp.inf), jnp.where(valid, relevance, 0)
        listed = jnp.any(valid, axis=-1)
        where = listed if where is None else listed & broadcastable("where", where, listed.shape)
    values, _ = cross_entropy_of_rows(shielded_rows(scores, relevance))
    return reduce(values, where=where, weights=weights, reduction=reduction)
