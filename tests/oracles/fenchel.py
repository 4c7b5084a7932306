"""The Fenchel-Young losses as entmax has them; with probabilities for labels, from the definition."""

import entmax
import numpy as np
import torch
from torch import Tensor

from .anchor import Anchor, Arguments, Draw, labelled, matrix


def projected(rows: Tensor, alpha: float) -> Tensor:
    exact = {1: torch.softmax, 1.5: entmax.entmax15, 2: entmax.sparsemax}
    probs: Tensor = exact[alpha](rows, dim=-1) if alpha in exact else entmax.entmax_bisect(rows, alpha, n_iter=100)
    return probs


def entropy(probs: Tensor, alpha: float) -> Tensor:
    terms = -torch.xlogy(probs, probs) if alpha == 1 else (probs - probs**alpha) / (alpha * (alpha - 1))
    return terms.sum(-1)


def conjugate_sum(rows: Tensor, targets: Tensor, alpha: float) -> Tensor:
    with torch.no_grad():  # at the maximum it does not matter how the maximiser moves
        probs = projected(rows, alpha)
        entropies = entropy(probs, alpha) - entropy(targets, alpha)
    return ((probs - targets) * rows).sum(-1) + entropies


def entmax_loss(
    logits: Tensor, labels: Tensor, *, alpha: float = 1.5, axis: int = -1, reduction: str = "none"
) -> Tensor:
    if labels.is_floating_point():
        return conjugate_sum(logits.movedim(axis, -1), labels.movedim(axis, -1), alpha)
    rows, classes = matrix(logits, axis), labels.reshape(-1)
    values: Tensor
    if alpha == 1:
        values = torch.nn.functional.cross_entropy(rows, classes, reduction="none")
    elif alpha == 1.5:
        values = entmax.entmax15_loss(rows, classes)
    else:
        values = entmax.entmax_bisect_loss(rows, classes, alpha, 100)
    return values.reshape(labels.shape)


def sparsemax_loss(logits: Tensor, labels: Tensor, *, axis: int = -1, reduction: str = "none") -> Tensor:
    if labels.is_floating_point():
        return conjugate_sum(logits.movedim(axis, -1), labels.movedim(axis, -1), 2)
    values: Tensor = entmax.sparsemax_loss(matrix(logits, axis), labels.reshape(-1))
    return values.reshape(labels.shape)


def soft(d: Draw) -> Arguments:
    """Probabilities whose sum is 1 in all digits, some of them 0."""
    axis = d.options.get("axis", -1)
    labels = np.moveaxis(d.probabilities(), axis, -1)
    labels[..., 0] *= labels[..., 0] > 0.3
    labels[..., -1] = 1 - labels[..., :-1].sum(-1)
    return {"logits": d.rows(), "labels": np.moveaxis(labels, -1, axis)}


REDUCTIONS = frozenset({"mean", "sum", "ignore_index"})
IGNORING: list[Arguments] = [{"ignore_index": -100}, {"ignore_index": 1, "axis": 0}, {"ignore_index": None}]

ANCHORS = [
    Anchor("sparsemax_loss", sparsemax_loss, labelled, [{}, *IGNORING, {"axis": 1}], REDUCTIONS, empty=False),
    Anchor(
        "sparsemax_loss",
        sparsemax_loss,
        soft,
        [{}, {"axis": 0}],
        REDUCTIONS,
        constant=frozenset({"labels"}),
        empty=False,
        kind="soft",
    ),
    Anchor(
        "entmax_loss",
        entmax_loss,
        labelled,
        [{}, {"alpha": 1.0}, {"alpha": 1.1}, {"alpha": 2.0}, {"alpha": 4.0}, {"alpha": 1.3, "axis": 0}, *IGNORING],
        REDUCTIONS,
        empty=False,
    ),
    Anchor(
        "entmax_loss",
        entmax_loss,
        soft,
        [{}, {"alpha": 1.0}, {"alpha": 1.1}, {"alpha": 2.0}, {"alpha": 3.0, "axis": 1}],
        REDUCTIONS,
        constant=frozenset({"labels"}),
        empty=False,
        kind="soft",
    ),
]
