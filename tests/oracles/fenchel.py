"""The Fenchel-Young losses as entmax has them."""

from typing import Any

import entmax
import torch
from torch import Tensor

from .anchor import Anchor, and_mean, labelled, matrix


def of_entmax(
    module: Any, logits: Tensor, labels: Tensor, axis: int, ignore_index: int | None, reduction: str, **options: Any
) -> Tensor:
    loss = module(
        **options,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction={"none": "none", "mean": "elementwise_mean"}[reduction],
    )
    values: Tensor = loss(matrix(logits, axis), labels.reshape(-1))
    return values.reshape(labels.shape) if reduction == "none" else values


def entmax_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    alpha: float = 1.5,
    ignore_index: int | None = None,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    if alpha == 1:  # entmax has that as the softmax of torch, whose loss is the cross-entropy
        values = torch.nn.functional.cross_entropy(matrix(logits, axis), labels.reshape(-1), reduction=reduction)
        return values.reshape(labels.shape)
    if alpha == 1.5:
        return of_entmax(entmax.Entmax15Loss, logits, labels, axis, ignore_index, reduction)
    return of_entmax(entmax.EntmaxBisectLoss, logits, labels, axis, ignore_index, reduction, alpha=alpha, n_iter=100)


def sparsemax_loss(
    logits: Tensor, labels: Tensor, *, ignore_index: int | None = None, axis: int = -1, reduction: str
) -> Tensor:
    return of_entmax(entmax.SparsemaxLoss, logits, labels, axis, ignore_index, reduction)


ANCHORS = [
    Anchor("sparsemax_loss", sparsemax_loss, labelled, [{}, *and_mean(ignore_index=1, axis=0), {"axis": 1}]),
    Anchor(
        "entmax_loss",
        entmax_loss,
        labelled,
        [
            {},
            {"alpha": 1.0},
            {"alpha": 1.1},
            {"alpha": 2.0},
            {"alpha": 4.0},
            {"alpha": 1.3, "axis": 0},
            *and_mean(ignore_index=1, axis=0),
        ],
    ),
]
