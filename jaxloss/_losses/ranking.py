"""Ranking: losses on the order of two items or of the items of a list."""

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
    """Hinge on the difference of two scores of which one should be higher.

        max(0, margin - y (x₁ - x₂))

    For learning to rank from pairs of items. Exactly at the hinge the gradient is that of the sloped side.

    Args:
        x1: First scores, any shape.
        x2: Second scores, of the shape of `x1`.
        targets: 1 where the first score should be higher, -1 where the second should, of the shape of `x1`.
        margin: Difference from which on a pair in the right order costs nothing.
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
    """Cross-entropy between the relevance of the items of a list and the softmax of their scores (ListNet, top one).

        -Σᵢ rᵢ log softmax(s)ᵢ

    For learning to rank from graded or clicked lists. A list without relevant items costs 0. A score of -inf rules its
    item out. If such an item has a relevance above 0, the loss is inf, and its gradient is finite.

    Relevance is not normalised, so a list with more of it weighs more, as in optax and Rax. The paper takes the softmax
    of the relevance: pass that for its loss.

    Args:
        scores: Scores, shape (..., items).
        relevance: Non-negative numbers of the shape of `scores`; higher is more relevant.
        valid: Boolean mask of the items that exist, of the shape of `scores`, for lists of different lengths. A list
            without items does not count.
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
        has_items = jnp.any(valid, axis=-1)
        where = has_items if where is None else has_items & broadcastable("where", where, has_items.shape)
    values, _ = cross_entropy_of_rows(shielded_rows(scores, relevance))
    return reduce(values, where=where, weights=weights, reduction=reduction)
