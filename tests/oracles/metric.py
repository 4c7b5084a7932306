"""The losses within a batch as pytorch-metric-learning has them."""

from typing import Any

import torch
from pytorch_metric_learning import losses, reducers
from torch import Tensor

from .anchor import FEATURES, Anchor, Arguments, Draw

UNREDUCED = reducers.DoNothingReducer()


def in_batch(
    loss: Any,
    embeddings: Tensor,
    labels: Tensor,
    *,
    where: Tensor | None = None,
    weights: Tensor | float | None = None,
    reduction: str,
) -> Tensor:
    """The weighted losses of pairs or anchors, over the rows that count alone, without anchors that have no loss."""
    rows = torch.arange(len(labels)) if where is None else where.nonzero()[:, 0]
    unreduced = loss(embeddings[rows], labels[rows])["loss"]
    indices = unreduced["indices"]
    terms: Tensor = unreduced["losses"].reshape(-1)
    anchors = rows[indices[0] if isinstance(indices, tuple) else indices]
    weights = torch.as_tensor(1.0 if weights is None else weights, dtype=terms.dtype).broadcast_to(labels.shape)[
        anchors
    ]
    if reduction == "none":
        return torch.zeros(len(labels)).to(terms).index_add(0, anchors, weights * terms)
    total = (weights * terms).sum()
    return total if reduction == "sum" else total / weights[terms > 0].sum()


def nt_xent_loss(embeddings: Tensor, labels: Tensor, *, temperature: float = 0.07, **options: Any) -> Tensor:
    return in_batch(losses.NTXentLoss(temperature, reducer=UNREDUCED), embeddings, labels, **options)


def circle_loss(
    embeddings: Tensor, labels: Tensor, *, gamma: float = 80.0, margin: float = 0.4, **options: Any
) -> Tensor:
    return in_batch(losses.CircleLoss(margin, gamma, reducer=UNREDUCED), embeddings, labels, **options)


def identified(d: Draw) -> Arguments:
    return {"embeddings": d.normal((*d.batch, FEATURES)), "labels": 7 - 9 * d.integers(0, 1)}


ANCHORS = [
    Anchor("nt_xent_loss", nt_xent_loss, identified, [{}, {"temperature": 0.5}], empty=False, in_batch=True),
    Anchor(
        "circle_loss",
        circle_loss,
        identified,
        [{}, {"gamma": 3.0}, {"margin": 0.1, "gamma": 2.0}],
        empty=False,
        in_batch=True,
    ),
]
