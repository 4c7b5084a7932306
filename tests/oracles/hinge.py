"""The hinges as torch has them."""

import numpy as np
import torch
from torch import Tensor

from .anchor import CLASSES, DRAWN, Anchor, Draw, labelled, matrix, unflattened


def multi_margin_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    p: float = 1,
    margin: float = 1.0,
    class_weights: Tensor | None = None,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    rows, column = matrix(logits, axis), labels.reshape(-1, 1)
    if p in (1, 2):
        values = torch.nn.functional.multi_margin_loss(
            rows, column[:, 0], p=int(p), margin=margin, weight=class_weights, reduction=reduction
        )
        return unflattened(values, labels, reduction)
    violations = (margin - rows.gather(1, column) + rows).clamp(min=0) ** p
    return violations.scatter(1, column, 0).mean(1).reshape(labels.shape)


def multilabel_margin_loss(logits: Tensor, labels: Tensor, *, axis: int = -1, reduction: str) -> Tensor:
    values = torch.nn.functional.multilabel_margin_loss(matrix(logits, axis), matrix(labels, axis), reduction=reduction)
    return unflattened(values, logits.select(axis, 0), reduction)


def label_lists(d: Draw) -> np.ndarray:
    """Rows of different labels, ended by a -1 that may be anywhere, also first."""
    ends = d.integers(0, CLASSES)[..., None]
    lists = np.argsort(d.uniform(0, 1, (*d.batch, CLASSES)), axis=-1)
    lists = np.where(np.arange(CLASSES) == ends, -1, lists)
    return np.moveaxis(lists, -1, d.options.get("axis", -1))


ANCHORS = [
    Anchor(
        "soft_margin_loss",
        torch.nn.functional.soft_margin_loss,
        lambda d: {"logits": d.normal(scale=3), "targets": d.signs()},
        constant=frozenset({"targets"}),
    ),
    Anchor(
        "multi_margin_loss",
        multi_margin_loss,
        labelled,
        [
            {},
            {"p": 2},
            {"p": 1.5},
            {"p": 3.0, "margin": 0.5},
            {"margin": 2.0},
            {"class_weights": DRAWN},
            {"class_weights": DRAWN, "p": 2, "margin": 0.3, "axis": 0},
            {"ignore_index": -100, "axis": 1},
            {"ignore_index": 3, "class_weights": DRAWN},
            {"ignore_index": None},
        ],
        frozenset({"p", "class_weights", "ignore_index"}),
        empty=False,
    ),
    Anchor(
        "multilabel_margin_loss",
        multilabel_margin_loss,
        lambda d: {"logits": d.rows(), "labels": label_lists(d)},
        [{}, {"axis": 0}, {"axis": -2}],
        empty=False,
    ),
]
