"""The regression losses as torch, optax and Keras have them, and by their definition where none has."""

import math
from typing import Any

import keras
import numpy as np
import optax
import torch
from torch import Tensor

from .anchor import FEATURES, Anchor, Arguments, Draw, from_jax

REDUCTIONS = frozenset({"mean", "sum"})
"""Those that are taken of an oracle's values, if it has none."""


def log_cosh_loss(predictions: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
    return from_jax(optax.losses.log_cosh)(predictions, targets)


def as_in_keras(values: Tensor, theirs: Tensor) -> Tensor:
    """Values by their definition, once they agree with those of Keras, which takes its means in single precision."""
    torch.testing.assert_close(values.float(), theirs.float(), rtol=1e-6, atol=1e-6)
    return values


def mape_loss(predictions: Tensor, targets: Tensor, *, eps: float = 1e-7, reduction: str) -> Tensor:
    values = 100 * (predictions - targets).abs() / targets.abs().clamp(min=eps)
    keras.config.set_epsilon(eps)
    theirs = keras.losses.mean_absolute_percentage_error(targets[..., None], predictions[..., None])
    keras.config.set_epsilon(1e-7)
    return as_in_keras(values, theirs)


def msle_loss(predictions: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
    values = (torch.log(1 + predictions) - torch.log(1 + targets)) ** 2
    return as_in_keras(values, keras.losses.mean_squared_logarithmic_error(targets[..., None], predictions[..., None]))


def charbonnier_loss(predictions: Tensor, targets: Tensor, *, eps: float = 1e-3, reduction: str) -> Tensor:
    return torch.sqrt((predictions - targets) ** 2 + eps**2)


def general_robust_loss(
    predictions: Tensor, targets: Tensor, *, alpha: Any = 1.0, scale: Any = 1.0, reduction: str
) -> Tensor:
    squares: Tensor = ((predictions - targets) / scale) ** 2
    if alpha == 2:
        return squares / 2
    if alpha == 0:
        return torch.log(squares / 2 + 1)
    if alpha == -math.inf:
        return 1 - torch.exp(-squares / 2)
    b = abs(alpha - 2)
    values: Tensor = b / alpha * ((squares / b + 1) ** (alpha / 2) - 1)
    return values


def cosine_distance(
    predictions: Tensor, targets: Tensor, *, eps: float = 0.0, axis: int = -1, reduction: str
) -> Tensor:
    cosine: Tensor
    if eps == 0:
        cosine = torch.nn.functional.cosine_similarity(predictions, targets, dim=axis, eps=0)
    else:  # torch's gradient is not that of its value for vectors shorter than eps
        x, y = (x / x.norm(dim=axis, keepdim=True).clamp(min=eps) for x in (predictions, targets))
        cosine = (x * y).sum(axis)
    return 1 - cosine


def regression(d: Draw) -> Arguments:
    return {"predictions": d.normal(), "targets": d.normal()}


ANCHORS = [
    Anchor("l1_loss", torch.nn.functional.l1_loss, regression),
    Anchor("mse_loss", torch.nn.functional.mse_loss, regression),
    Anchor("huber_loss", torch.nn.functional.huber_loss, regression, [{}, {"delta": 0.3}, {"delta": 2.5}]),
    Anchor("smooth_l1_loss", torch.nn.functional.smooth_l1_loss, regression, [{}, {"beta": 0.3}, {"beta": 0.0}]),
    Anchor("log_cosh_loss", log_cosh_loss, regression, composed=REDUCTIONS),
    Anchor(
        "charbonnier_loss",
        charbonnier_loss,
        regression,
        [{}, {"eps": np.array(0.5)}, {"eps": 0.0}],
        composed=REDUCTIONS,
    ),
    Anchor(
        "general_robust_loss",
        general_robust_loss,
        regression,
        [
            {},
            {"alpha": 2.0, "scale": np.array(0.3)},
            {"alpha": 0.0},
            {"alpha": -math.inf},
            {"alpha": np.array(-1.5)},
            {"alpha": np.array(0.3), "scale": np.array(2.5)},
            {"alpha": np.array(1.7), "scale": np.array(0.1)},
            {"alpha": np.array(3.2)},
        ],
        composed=REDUCTIONS,
    ),
    Anchor("mape_loss", mape_loss, regression, [{}, {"eps": 0.5}], composed=REDUCTIONS),
    Anchor(
        "msle_loss",
        msle_loss,
        lambda d: {"predictions": d.uniform(0.1, 9), "targets": d.uniform(0.1, 9)},
        composed=REDUCTIONS,
    ),
    Anchor(
        "cosine_distance",
        cosine_distance,
        lambda d: {"predictions": d.rows(FEATURES), "targets": d.rows(FEATURES)},
        [{}, {"axis": 0}, {"eps": 3.5}, {"axis": 1, "eps": 0.1}],
        composed=REDUCTIONS,
    ),
]
