"""The losses within a batch as pytorch-metric-learning has them."""

from typing import Any

import torch
from pytorch_metric_learning import losses, reducers
from torch import Tensor

from .anchor import FEATURES, Anchor, Arguments, Draw, and_mean


def in_batch(loss: Any, embeddings: Tensor, labels: Tensor, reduction: str, **options: Any) -> Tensor:
    if reduction == "mean":
        mean: Tensor = loss(**options)(embeddings, labels)
        return mean
    unreduced = loss(**options, reducer=reducers.DoNothingReducer())(embeddings, labels)["loss"]
    terms, indices = unreduced["losses"].reshape(-1), unreduced["indices"]
    anchors = indices[0] if isinstance(indices, tuple) else indices
    return torch.zeros(len(labels)).to(terms).index_add(0, anchors, terms)


def nt_xent_loss(embeddings: Tensor, labels: Tensor, *, temperature: float = 0.07, reduction: str) -> Tensor:
    return in_batch(losses.NTXentLoss, embeddings, labels, reduction, temperature=temperature)


def circle_loss(
    embeddings: Tensor, labels: Tensor, *, gamma: float = 80.0, margin: float = 0.4, reduction: str
) -> Tensor:
    return in_batch(losses.CircleLoss, embeddings, labels, reduction, m=margin, gamma=gamma)


def identified(d: Draw) -> Arguments:
    return {"embeddings": d.normal((*d.batch, FEATURES)), "labels": 7 - 9 * d.integers(0, 1)}


ANCHORS = [
    Anchor("nt_xent_loss", nt_xent_loss, identified, [*and_mean(), {"temperature": 0.5}], (7,)),
    Anchor(
        "circle_loss",
        circle_loss,
        identified,
        [*and_mean(), {"gamma": 3.0}, {"margin": 0.1, "gamma": 2.0}],
        (7,),
    ),
]
