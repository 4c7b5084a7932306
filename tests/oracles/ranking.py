"""The losses of lists as optax has them."""

import optax
from torch import Tensor

from .anchor import DRAWN, Anchor, from_jax

softmax = from_jax(optax.losses.ranking_softmax_loss)


def ranking_softmax_loss(
    scores: Tensor, relevance: Tensor, *, valid: Tensor | None = None, axis: int = -1, reduction: str
) -> Tensor:
    scores, relevance = scores.movedim(axis, -1), relevance.movedim(axis, -1)
    return softmax(scores, relevance, where=valid, reduce_fn=None)


ANCHORS = [
    Anchor(
        "ranking_softmax_loss",
        ranking_softmax_loss,
        lambda d: {"scores": d.rows(), "relevance": abs(d.rows())},
        [{}, {"valid": DRAWN}, {"axis": 0}],
    ),
]
