"""The losses of forecasts as scoringrules has them; quantiles, which no library of tensors has, by their definition."""

from typing import Any

import numpy as np
import scoringrules
import torch
from torch import Tensor

from .anchor import Anchor, Arguments, Draw, from_jax

QUANTILES, SAMPLES, MEMBERS = 3, 4, 5
REDUCTIONS = frozenset({"mean", "sum"})
"""Those that are taken of an oracle's values, as it has none."""


def quantile_loss(predictions: Tensor, targets: Tensor, *, quantiles: Any, axis: int = -1, reduction: str) -> Tensor:
    several = np.ndim(quantiles) > 0
    errors = targets[..., None] - predictions.movedim(axis, -1) if several else targets - predictions
    values = torch.maximum(quantiles * errors, (quantiles - 1) * errors)
    return values.mean(-1) if several else values


def expectile_loss(predictions: Tensor, targets: Tensor, *, expectile: Any = 0.5, reduction: str) -> Tensor:
    values: Tensor = abs(expectile - (targets < predictions).double()) * (targets - predictions) ** 2
    return values


def quantile_huber_loss(
    predictions: Tensor,
    targets: Tensor,
    *,
    delta: float = 1.0,
    quantiles: Tensor | None = None,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    errors = targets.movedim(axis, -1)[..., None, :] - predictions.movedim(axis, -1)[..., :, None]
    if quantiles is None:
        quantiles = torch.arange(1, 2 * QUANTILES, 2, dtype=torch.float64) / (2 * QUANTILES)
    # Torch's smooth L1 is its Huber loss over delta, and at 0 the L1 loss.
    distances = torch.nn.functional.smooth_l1_loss(errors, torch.zeros_like(errors), beta=delta, reduction="none")
    prices: Tensor = (quantiles[:, None] - (errors < 0).double()).abs() * distances
    return prices.mean(-1).sum(-1)


def crps_gaussian(means: Tensor, targets: Tensor, scales: Tensor, *, eps: float = 1e-6, reduction: str) -> Tensor:
    # Beside torch scoringrules has π in single precision.
    return from_jax(scoringrules.crps_normal)(targets, means, scales.clamp(min=eps), backend="jax")


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
        composed=REDUCTIONS,
    ),
    Anchor(
        "quantile_loss",
        quantile_loss,
        lambda d: {"predictions": d.rows(QUANTILES), "targets": d.normal()},
        [{"quantiles": LEVELS}, {"quantiles": LEVELS, "axis": 0}],
        composed=REDUCTIONS,
        kind="several",
    ),
    Anchor("expectile_loss", expectile_loss, regression, [{}, {"expectile": np.array(0.9)}], composed=REDUCTIONS),
    Anchor(
        "quantile_huber_loss",
        quantile_huber_loss,
        lambda d: {"predictions": d.rows(QUANTILES), "targets": d.rows(SAMPLES)},
        [{}, {"delta": 0.4}, {"delta": 0.0}, {"quantiles": LEVELS}, {"quantiles": LEVELS, "delta": 2.0, "axis": 0}],
        composed=REDUCTIONS,
    ),
    Anchor(
        "crps_gaussian",
        crps_gaussian,
        lambda d: {"means": d.normal(), "targets": d.normal(), "scales": d.uniform(0.1, 3)},
        [{}, {"eps": 0.7}],
        composed=REDUCTIONS,
    ),
    Anchor(
        "crps_ensemble",
        crps_ensemble,
        lambda d: {"predictions": d.rows(MEMBERS), "targets": d.normal()},
        [{}, {"fair": True}, {"axis": 0}, {"axis": 1, "fair": True}],
        composed=REDUCTIONS,
    ),
]
