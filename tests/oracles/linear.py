"""The linear losses as torch has them."""

from typing import Any

import torch
from torch import Tensor

from .anchor import CLASSES, DRAWN, FEATURES, Anchor, Arguments, Draw
from .classification import cross_entropy


def linear_cross_entropy(
    hidden: Tensor,
    kernel: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    softcap: float | None = None,
    precision: str | None = None,
    chunk_size: int | None = None,
    **options: Any,
) -> Tensor:
    logits = hidden @ kernel if bias is None else hidden @ kernel + bias
    return cross_entropy(logits if softcap is None else softcap * torch.tanh(logits / softcap), labels, **options)


def linear(d: Draw, *, soft: bool) -> Arguments:
    inputs = {"hidden": d.normal((*d.batch, FEATURES)), "kernel": d.normal((FEATURES, CLASSES))}
    return inputs | {"labels": d.probabilities() if soft else d.labels()}


EVERY_OPTION = {"bias": DRAWN, "class_weights": DRAWN, "label_smoothing": 0.2, "z_loss_weight": 0.1, "softcap": 2.5}


ANCHORS = [
    Anchor(
        "linear_cross_entropy",
        linear_cross_entropy,
        lambda d: linear(d, soft=False),
        [
            {},
            {"bias": DRAWN},
            {"softcap": 1.5},
            {"ignore_index": 1, "chunk_size": 2},
            {"ignore_index": None, "chunk_size": 1, "precision": "highest"},
            EVERY_OPTION | {"chunk_size": 4, "ignore_index": 255},
        ],
        frozenset({"z_loss_weight"}),
    ),
    Anchor(
        "linear_cross_entropy",
        linear_cross_entropy,
        lambda d: linear(d, soft=True),
        [{}, {"class_weights": DRAWN, "chunk_size": 3}, EVERY_OPTION],
        frozenset({"class_weights", "z_loss_weight"}),
        kind="soft",
    ),
]
