"""The hinges as torch, optax and Keras have them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optax
import torch
from torch import Tensor

from .anchor import CLASSES, DRAWN, Anchor, Arguments, Draw, and_mean, from_jax, keras, labelled, matrix


def of_optax(function: Callable[..., Any]) -> Callable[..., Tensor]:
    def call(logits: Tensor, targets: Tensor, *, axis: int = -1, reduction: str) -> Tensor:
        return from_jax(function)(logits.movedim(axis, -1), targets)

    return call


def squared_hinge_loss(logits: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
    values: Tensor = keras.losses.squared_hinge(targets[..., None], logits[..., None])
    return values


def signed(d: Draw) -> Arguments:
    return {"logits": d.normal(scale=3), "targets": d.signs()}


def multi_margin_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    p: int = 1,
    margin: float = 1.0,
    class_weights: Tensor | None = None,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    return torch.nn.functional.multi_margin_loss(
        matrix(logits, axis), labels.reshape(-1), p=p, margin=margin, weight=class_weights, reduction=reduction
    ).reshape(labels.shape)


def multilabel_margin_loss(logits: Tensor, labels: Tensor, *, axis: int = -1, reduction: str) -> Tensor:
    values = torch.nn.functional.multilabel_margin_loss(matrix(logits, axis), matrix(labels, axis), reduction=reduction)
    return values.reshape(logits.select(axis, 0).shape)


def label_lists(d: Draw) -> np.ndarray:
    """Rows of different labels, ended by a -1 that may be anywhere, also first."""
    ends = d.integers(0, CLASSES)[..., None]
    lists = np.argsort(d.uniform(0, 1, (*d.batch, CLASSES)), axis=-1)
    lists = np.where(np.arange(CLASSES) == ends, -1, lists)
    return np.moveaxis(lists, -1, d.options.get("axis", -1))


SIGNS = frozenset({"targets"})

ANCHORS = [
    Anchor("hinge_loss", of_optax(optax.losses.hinge_loss), signed, constant=SIGNS),
    Anchor("squared_hinge_loss", squared_hinge_loss, signed, constant=SIGNS),
    Anchor("perceptron_loss", of_optax(optax.losses.perceptron_loss), signed, constant=SIGNS),
    Anchor("multiclass_hinge_loss", of_optax(optax.losses.multiclass_hinge_loss), labelled, [{}, {"axis": 1}]),
    Anchor(
        "multiclass_perceptron_loss", of_optax(optax.losses.multiclass_perceptron_loss), labelled, [{}, {"axis": 1}]
    ),
    Anchor("soft_margin_loss", torch.nn.functional.soft_margin_loss, signed, constant=SIGNS),
    Anchor(
        "multi_margin_loss",
        multi_margin_loss,
        labelled,
        [
            {},
            {"p": 2},
            {"margin": 2.0},
            *and_mean(class_weights=DRAWN),
            *and_mean(class_weights=DRAWN, p=2, margin=0.3, axis=0),
        ],
        own_mean=False,
    ),
    Anchor(
        "multilabel_margin_loss",
        multilabel_margin_loss,
        lambda d: {"logits": d.rows(), "labels": label_lists(d)},
        [{}, {"axis": 0}, {"axis": -2}],
    ),
]
