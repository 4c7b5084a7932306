"""The focal losses as optax and Keras have them."""

from typing import Any

import optax
import torch
from torch import Tensor

from .anchor import DRAWN, Anchor, and_mean, from_jax, keras, labelled


def rows_and_probabilities(logits: Tensor, labels: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    rows = logits.movedim(axis, -1)
    if labels.is_floating_point():
        return rows, labels.movedim(axis, -1)
    return rows, torch.nn.functional.one_hot(labels, rows.shape[-1]).double()


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, *, reduction: str, **options: Any) -> Tensor:
    return from_jax(optax.losses.sigmoid_focal_loss)(logits, targets, **options)


def softmax_focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    gamma: float = 2.0,
    class_weights: Tensor | None = None,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    rows, probs = rows_and_probabilities(logits, labels, axis)
    alpha = 1.0 if class_weights is None else class_weights
    values: Tensor = keras.losses.categorical_focal_crossentropy(probs, rows.softmax(-1), alpha=alpha, gamma=gamma)
    return values


def poly_cross_entropy(
    logits: Tensor, labels: Tensor, *, poly_weight: float = 2.0, axis: int = -1, reduction: str
) -> Tensor:
    rows, probs = rows_and_probabilities(logits, labels, axis)
    return from_jax(optax.losses.poly_loss_cross_entropy)(rows, probs, epsilon=poly_weight)


def generalized_cross_entropy(
    logits: Tensor, labels: Tensor, *, q: float = 0.7, axis: int = -1, reduction: str
) -> Tensor:
    probs = logits.movedim(axis, -1).softmax(-1)
    exponent = torch.tensor(q, dtype=torch.float64)  # a Python number would become float32
    values: Tensor = keras.losses.categorical_generalized_cross_entropy(labels, probs, exponent)
    return values


ANCHORS = [
    Anchor(
        "sigmoid_focal_loss",
        sigmoid_focal_loss,
        lambda d: {"logits": d.normal(scale=3), "targets": d.uniform(0, 1)},
        [{}, {"alpha": 0.25}, {"gamma": 0.5}, {"alpha": 0.4, "gamma": 0.0}],
    ),
    Anchor(
        "softmax_focal_loss",
        softmax_focal_loss,
        labelled,
        [{}, {"gamma": 0.0}, *and_mean(axis=1, class_weights=DRAWN, gamma=0.5)],
        own_mean=False,
    ),
    Anchor(
        "softmax_focal_loss",
        softmax_focal_loss,
        lambda d: {"logits": d.rows(), "labels": d.probabilities()},
        [{}, *and_mean(axis=0, class_weights=DRAWN, gamma=0.5)],
        own_mean=False,
        kind="soft",
    ),
    Anchor(
        "poly_cross_entropy",
        poly_cross_entropy,
        labelled,
        [{}, {"poly_weight": -1.0}, {"axis": 1}],
    ),
    Anchor(
        "poly_cross_entropy",
        poly_cross_entropy,
        lambda d: {"logits": d.rows(), "labels": d.probabilities()},
        [{}, {"axis": 0, "poly_weight": -1.0}],
        kind="soft",
    ),
    Anchor(
        "generalized_cross_entropy",
        generalized_cross_entropy,
        labelled,
        [{}, {"q": 0.05}, {"q": 1.0}, {"axis": 1}],
    ),
]
