"""The regression losses as torch, optax and Keras have them."""

import optax
import torch
from torch import Tensor

from .anchor import FEATURES, Anchor, Arguments, Draw, from_jax, keras


def log_cosh_loss(predictions: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
    return from_jax(optax.losses.log_cosh)(predictions, targets)


def mape_loss(predictions: Tensor, targets: Tensor, *, eps: float = 1e-7, reduction: str) -> Tensor:
    keras.config.set_epsilon(eps)
    values: Tensor = keras.losses.mean_absolute_percentage_error(targets[..., None], predictions[..., None])
    keras.config.set_epsilon(1e-7)
    return values


def msle_loss(predictions: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
    values: Tensor = keras.losses.mean_squared_logarithmic_error(targets[..., None], predictions[..., None])
    return values


def cosine_distance(
    predictions: Tensor, targets: Tensor, *, eps: float = 0.0, axis: int = -1, reduction: str
) -> Tensor:
    # Its epsilon is the least square of a length. Torch's gradient is not that of its value for short vectors.
    return from_jax(optax.losses.cosine_distance)(predictions, targets, epsilon=eps**2, axis=axis)


def regression(d: Draw) -> Arguments:
    return {"predictions": d.normal(), "targets": d.normal()}


ANCHORS = [
    Anchor("l1_loss", torch.nn.functional.l1_loss, regression),
    Anchor("mse_loss", torch.nn.functional.mse_loss, regression),
    Anchor("huber_loss", torch.nn.functional.huber_loss, regression, [{}, {"delta": 0.3}, {"delta": 2.5}]),
    Anchor("smooth_l1_loss", torch.nn.functional.smooth_l1_loss, regression, [{}, {"beta": 0.3}, {"beta": 0.0}]),
    Anchor("log_cosh_loss", log_cosh_loss, regression),
    Anchor("mape_loss", mape_loss, regression, [{}, {"eps": 0.5}]),
    Anchor("msle_loss", msle_loss, lambda d: {"predictions": d.uniform(0.1, 9), "targets": d.uniform(0.1, 9)}),
    Anchor(
        "cosine_distance",
        cosine_distance,
        lambda d: {"predictions": d.rows(FEATURES), "targets": d.rows(FEATURES)},
        [{}, {"axis": 0}, {"eps": 3.5}, {"axis": 1, "eps": 0.1}],
    ),
]
