"""The losses of forecasts as scoringrules has them."""

import functools
from typing import Any

import numpy as np
import scoringrules
import torch
from torch import Tensor

from .anchor import Anchor, Arguments, Draw, from_jax

QUANTILES, MEMBERS = 3, 5

quantile_score = from_jax(functools.partial(scoringrules.quantile_score, backend="jax"))
# Beside torch scoringrules has π in single precision.
crps_normal = from_jax(functools.partial(scoringrules.crps_normal, backend="jax"))


def quantile_loss(predictions: Tensor, targets: Tensor, *, quantiles: Any, axis: int = -1, reduction: str) -> Tensor:
    levels = torch.as_tensor(quantiles, dtype=torch.float64)
    if levels.ndim:
        return quantile_score(targets[..., None], predictions.movedim(axis, -1), levels).mean(-1)
    return quantile_score(targets, predictions, levels)


def crps_gaussian(means: Tensor, targets: Tensor, scales: Tensor, *, reduction: str) -> Tensor:
    return crps_normal(targets, means, scales)


def crps_ensemble(
    predictions: Tensor, targets: Tensor, *, fair: bool = False, axis: int = -1, reduction: str
) -> Tensor:
    values: Tensor = scoringrules.crps_ensemble(
        targets, predictions.movedim(axis, -1), estimator="fair" if fair else "nrg", backend="torch"
    )
    return values


def regression(d: Draw) -> Arguments:
    return {"predictions": d.normal(), "targets": d.normal()}


LEVELS = np.array([0.1, 0.5, 0.75])

ANCHORS = [
    Anchor(
        "quantile_loss",
        quantile_loss,
        regression,
        [{"quantiles": 0.3}, {"quantiles": np.array(0.9)}],
    ),
    Anchor(
        "quantile_loss",
        quantile_loss,
        lambda d: {"predictions": d.rows(QUANTILES), "targets": d.normal()},
        [{"quantiles": LEVELS}, {"quantiles": LEVELS, "axis": 0}],
        kind="several",
    ),
    Anchor(
        "crps_gaussian",
        crps_gaussian,
        lambda d: {"means": d.normal(), "targets": d.normal(), "scales": d.uniform(0.1, 3)},
    ),
    Anchor(
        "crps_ensemble",
        crps_ensemble,
        lambda d: {"predictions": d.rows(MEMBERS), "targets": d.normal()},
        [{}, {"fair": True}, {"axis": 0}, {"axis": 1, "fair": True}],
    ),
]
