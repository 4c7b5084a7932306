"""The linear losses as torch has them."""

import torch
from torch import Tensor

from .anchor import CLASSES, DRAWN, FEATURES, Anchor, Arguments, Draw, and_mean


def linear_cross_entropy(
    hidden: Tensor,
    kernel: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    class_weights: Tensor | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str,
) -> Tensor:
    soft = labels.is_floating_point()
    values = torch.nn.functional.linear_cross_entropy(
        hidden.reshape(-1, FEATURES),
        kernel.T,
        labels.reshape(-1, CLASSES) if soft else labels.reshape(-1),
        linear_bias=bias,
        weight=class_weights,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )
    return values.reshape(hidden.shape[:-1]) if reduction == "none" else values


def linear(d: Draw, *, soft: bool) -> Arguments:
    inputs = {"hidden": d.normal((*d.batch, FEATURES)), "kernel": d.normal((FEATURES, CLASSES))}
    return inputs | {"labels": d.probabilities() if soft else d.labels()}


ANCHORS = [
    Anchor(
        "linear_cross_entropy",
        linear_cross_entropy,
        lambda d: linear(d, soft=False),
        [
            {},
            {"bias": DRAWN},
            *and_mean(ignore_index=1),
            *and_mean(bias=DRAWN, class_weights=DRAWN, label_smoothing=0.2, ignore_index=255),
        ],
    ),
    Anchor(
        "linear_cross_entropy",
        linear_cross_entropy,
        lambda d: linear(d, soft=True),
        [{}, *and_mean(bias=DRAWN, class_weights=DRAWN, label_smoothing=0.2)],
        own_mean=False,
        kind="soft",
    ),
]
