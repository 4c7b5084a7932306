"""The classification losses as torch has them, and smoothed binary labels as Keras has them."""

import itertools
from typing import Any

import torch
from torch import Tensor

from .anchor import DRAWN, FEATURES, Anchor, Arguments, Draw, and_mean, classes_second, keras, labelled

LAST_TAIL = 3


def binary_cross_entropy_with_logits(
    logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, pos_weight: Any = None, reduction: str
) -> Tensor:
    if label_smoothing:
        smoothed: Tensor = keras.losses.binary_crossentropy(
            targets[..., None], logits[..., None], from_logits=True, label_smoothing=label_smoothing
        )
        return smoothed
    pos_weight = None if pos_weight is None else torch.as_tensor(pos_weight, dtype=torch.float64)
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=pos_weight, reduction=reduction
    )


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    return torch.nn.functional.cross_entropy(
        classes_second(logits, axis),
        classes_second(labels, axis) if labels.is_floating_point() else labels,
        weight=class_weights,
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )


def nll_loss(
    log_probs: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    ignore_index: int | None = None,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    ignore_index = -100 if ignore_index is None else ignore_index
    rows = classes_second(log_probs, axis)
    return torch.nn.functional.nll_loss(
        rows, labels, weight=class_weights, ignore_index=ignore_index, reduction=reduction
    )


def multilabel_soft_margin_loss(
    logits: Tensor, targets: Tensor, *, class_weights: Tensor | None = None, axis: int = -1, reduction: str
) -> Tensor:
    rows, targets = logits.movedim(axis, -1), targets.movedim(axis, -1)
    return torch.nn.functional.multilabel_soft_margin_loss(rows, targets, weight=class_weights, reduction=reduction)


def adaptive_log_softmax_with_loss(
    hidden: Tensor,
    labels: Tensor,
    head: Tensor,
    tails: tuple[tuple[Tensor, Tensor], ...],
    *,
    cutoffs: tuple[int, ...],
    head_bias: Tensor | None = None,
    reduction: str,
) -> Tensor:
    module = torch.nn.AdaptiveLogSoftmaxWithLoss(
        FEATURES, cutoffs[-1] + LAST_TAIL, cutoffs, div_value=1, head_bias=head_bias is not None
    )
    parameters = {"head.weight": head.T} | ({} if head_bias is None else {"head.bias": head_bias})
    for index, kernels in enumerate(tails):
        parameters |= {f"tail.{index}.{layer}.weight": kernel.T for layer, kernel in enumerate(kernels)}
    inputs = (hidden.reshape(-1, FEATURES), labels.reshape(-1))
    output: Tensor = torch.func.functional_call(module, parameters, inputs)[0]
    return -output.reshape(labels.shape)


def adaptive(d: Draw) -> Arguments:
    cutoffs = d.options["cutoffs"]
    bounds = (*cutoffs, cutoffs[-1] + LAST_TAIL)
    sizes = [end - start for start, end in itertools.pairwise(bounds)]
    return {
        "hidden": d.normal((*d.batch, FEATURES)),
        "labels": d.labels(bounds[-1]),
        "head": d.normal((FEATURES, cutoffs[0] + len(cutoffs))),
        "tails": tuple((d.normal((FEATURES, 2)), d.normal((2, size))) for size in sizes),
    }


ANCHORS = [
    Anchor(
        "cross_entropy",
        cross_entropy,
        labelled,
        [
            {},
            *and_mean(class_weights=DRAWN),
            *and_mean(ignore_index=-100),
            *and_mean(ignore_index=1),
            {"label_smoothing": 0.1},
            {"label_smoothing": 1.0},
            {"axis": 0},
            *and_mean(axis=1, class_weights=DRAWN, ignore_index=255, label_smoothing=0.2),
        ],
    ),
    Anchor(
        "cross_entropy",
        cross_entropy,
        lambda d: {"logits": d.rows(), "labels": d.probabilities()},
        [
            {},
            *and_mean(class_weights=DRAWN),
            {"label_smoothing": 0.1},
            {"axis": -2},
            *and_mean(axis=0, class_weights=DRAWN, label_smoothing=0.2),
        ],
        own_mean=False,
        kind="soft",
    ),
    Anchor(
        "nll_loss",
        nll_loss,
        lambda d: {"log_probs": d.log_probabilities(), "labels": d.labels()},
        [
            {},
            *and_mean(class_weights=DRAWN),
            *and_mean(ignore_index=-100),
            *and_mean(ignore_index=0),
            *and_mean(axis=0, class_weights=DRAWN, ignore_index=2),
            {"axis": -2},
        ],
    ),
    Anchor(
        "binary_cross_entropy",
        torch.nn.functional.binary_cross_entropy,
        lambda d: {"probs": d.uniform(0.01, 0.99), "targets": d.uniform(0, 1)},
    ),
    Anchor(
        "binary_cross_entropy_with_logits",
        binary_cross_entropy_with_logits,
        lambda d: {"logits": d.normal(scale=3), "targets": d.uniform(0, 1)},
        [
            {},
            {"pos_weight": 2.5},
            {"pos_weight": DRAWN},
            {"label_smoothing": 0.1},
        ],
    ),
    Anchor(
        "multilabel_soft_margin_loss",
        multilabel_soft_margin_loss,
        lambda d: {"logits": d.rows(), "targets": d.probabilities()},
        [{}, *and_mean(class_weights=DRAWN), {"axis": 0}, *and_mean(axis=1, class_weights=DRAWN)],
    ),
    Anchor(
        "adaptive_log_softmax_with_loss",
        adaptive_log_softmax_with_loss,
        adaptive,
        [
            {"cutoffs": (3, 5)},
            {"cutoffs": (2,)},
            {"cutoffs": (2, 3, 5), "head_bias": DRAWN},
        ],
    ),
]
