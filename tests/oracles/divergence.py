"""The divergences as torch has them."""

import torch
from torch import Tensor

from .anchor import CLASSES, Anchor


def kl_div(
    log_predictions: Tensor, targets: Tensor, *, log_target: bool = False, axis: int = -1, reduction: str
) -> Tensor:
    rows, targets = log_predictions.movedim(axis, -1), targets.movedim(axis, -1)
    if reduction == "mean":
        rows, targets = rows.reshape(-1, CLASSES), targets.reshape(-1, CLASSES)
        return torch.nn.functional.kl_div(rows, targets, log_target=log_target, reduction="batchmean")
    values = torch.nn.functional.kl_div(rows, targets, log_target=log_target, reduction=reduction)
    return values.sum(-1) if reduction == "none" else values


ANCHORS = [
    Anchor(
        "kl_div",
        kl_div,
        lambda d: {
            "log_predictions": d.log_probabilities(),
            "targets": d.log_probabilities() if "log_target" in d.options else d.probabilities(),
        },
        [{}, {"log_target": True}, {"axis": 0}, {"axis": 1, "log_target": True}],
    ),
]
