"""The sequence losses as torch has them."""

from typing import Any

import torch
from torch import Tensor

from .anchor import CLASSES, Anchor, Arguments, Draw

FRAMES, SYMBOLS = 6, 3


def ctc_loss(
    logits: Tensor, labels: Tensor, logit_lengths: Tensor, label_lengths: Tensor, *, reduction: str, **options: Any
) -> Tensor:
    log_probs = logits.log_softmax(-1).reshape(-1, FRAMES, CLASSES).movedim(0, 1)
    lengths = (logit_lengths.reshape(-1), label_lengths.reshape(-1))
    values = torch.nn.functional.ctc_loss(
        log_probs, labels.reshape(-1, SYMBOLS), *lengths, reduction=reduction, **options
    )
    return values.reshape(logit_lengths.shape)


def ctc(d: Draw) -> Arguments:
    symbols = d.integers(0, CLASSES - 2, (*d.batch, SYMBOLS))
    # Without zero_infinity only alignments that are possible whatever repeats: torch's gradient is NaN elsewhere.
    fewest_frames = 1 if "zero_infinity" in d.options else 2 * SYMBOLS - 1
    return {
        "logits": d.normal((*d.batch, FRAMES, CLASSES)),
        "labels": symbols + (symbols >= d.options.get("blank", 0)),
        "logit_lengths": d.integers(fewest_frames, FRAMES),
        "label_lengths": d.integers(0, SYMBOLS),
    }


ANCHORS = [
    Anchor(
        "ctc_loss",
        ctc_loss,
        ctc,
        [{}, {"blank": 3}, {"blank": 1}, {"zero_infinity": True}, {"zero_infinity": True, "blank": 2}],
    ),
]
