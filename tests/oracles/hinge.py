"""The hinges as torch and optax have them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optax
import torch
from torch import Tensor

from .anchor import CLASSES, DRAWN, Anchor, Arguments, Draw, from_jax, labelled, matrix, unflattened


def of_optax(function: Callable[..., Any]) -> Callable[..., Tensor]:
    def call(logits: Tensor, targets: Tensor, *, axis: int = -1, reduction: str) -> Tensor:
        return from_jax(function)(logits.movedim(axis, -1), targets)

    return call


def squared_hinge_loss(logits: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
    # Keras has it, but in single precision.
    return (1 - targets * logits).clamp(min=0).square()


def signed(d: Draw) -> Arguments:
    return {"logits": d.normal(scale=3), "targets": d.signs()}


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


REDUCTIONS = frozenset({"mean", "sum"})

ANCHORS = [
    Anchor(
        "hinge_loss",
        of_optax(optax.losses.hinge_loss),
        signed,
        composed=REDUCTIONS,
        constant=frozenset({"targets"}),
    ),
    Anchor(
        "squared_hinge_loss",
        squared_hinge_loss,
        signed,
        composed=REDUCTIONS,
        constant=frozenset({"targets"}),
    ),
    Anchor(
        "perceptron_loss",
        of_optax(optax.losses.perceptron_loss),
        signed,
        composed=REDUCTIONS,
        constant=frozenset({"targets"}),
    ),
    Anchor(
        "multiclass_hinge_loss",
        of_optax(optax.losses.multiclass_hinge_loss),
        labelled,
        [{}, {"ignore_index": -100}, {"ignore_index": 1, "axis": 0}, {"ignore_index": None}, {"axis": 1}],
        REDUCTIONS | {"ignore_index"},
    ),
    Anchor(
        "multiclass_perceptron_loss",
        of_optax(optax.losses.multiclass_perceptron_loss),
        labelled,
        [{}, {"ignore_index": -100}, {"ignore_index": 1, "axis": 0}, {"ignore_index": None}, {"axis": 1}],
        REDUCTIONS | {"ignore_index"},
    ),
    Anchor(
        "soft_margin_loss",
        torch.nn.functional.soft_margin_loss,
        signed,
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
