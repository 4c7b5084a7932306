"""The divergences as torch, optax and SciPy have them."""

from typing import Any

import numpy as np
import optax
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from .anchor import DRAWN, Anchor, Arguments, Draw, from_jax


def kl_div(
    log_predictions: Tensor, targets: Tensor, *, log_target: bool = False, axis: int = -1, reduction: str
) -> Tensor:
    terms = torch.nn.functional.kl_div(log_predictions, targets, log_target=log_target, reduction=reduction)
    return terms.sum(axis)


def generalized_kl_div(log_predictions: Tensor, targets: Tensor, *, axis: int = -1, reduction: str) -> Tensor:
    return from_jax(optax.losses.generalized_kl_divergence)(log_predictions, targets, axis=axis)


def js_div(
    log_predictions: Tensor, targets: Tensor, *, log_target: bool = False, axis: int = -1, reduction: str
) -> Tensor:
    probs = targets.exp() if log_target else targets
    distances = jensenshannon(log_predictions.exp().numpy(), probs.numpy(), axis=axis)  # the roots of the divergences
    return torch.tensor(distances) ** 2


def gaussian_kl(
    means: Tensor,
    log_variances: Tensor,
    *,
    prior_means: Any = 0.0,
    prior_log_variances: Any = 0.0,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    own, prior = (
        torch.distributions.Normal(mean, (torch.as_tensor(log_variance, dtype=torch.float64) / 2).exp())
        for mean, log_variance in ((means, log_variances), (prior_means, prior_log_variances))
    )
    return torch.distributions.kl_divergence(own, prior).sum(axis)


def compared(d: Draw) -> Arguments:
    log_target = "log_target" in d.options
    return {
        "log_predictions": d.log_probabilities(),
        "targets": d.log_probabilities() if log_target else d.probabilities(),
    }


def compared_exactly(d: Draw) -> Arguments:
    """Probabilities whose sum is 1 in all digits: SciPy divides by it."""
    axis = d.options.get("axis", -1)
    predictions, targets = (x / x.sum(axis, keepdims=True) for x in (np.exp(d.rows()), np.exp(d.rows())))
    return {
        "log_predictions": np.log(predictions),
        "targets": np.log(targets) if "log_target" in d.options else targets,
    }


ANCHORS = [
    Anchor("kl_div", kl_div, compared, [{}, {"log_target": True}, {"axis": 0}, {"axis": 1, "log_target": True}]),
    Anchor(
        "generalized_kl_div",
        generalized_kl_div,
        lambda d: {"log_predictions": d.rows(), "targets": np.exp(d.rows())},
        [{}, {"axis": 0}],
    ),
    Anchor(
        "js_div",
        js_div,
        compared_exactly,
        [{}, {"log_target": True}, {"axis": 0}],
        constant=frozenset({"log_predictions", "targets"}),
    ),
    Anchor(
        "gaussian_kl",
        gaussian_kl,
        lambda d: {"means": d.rows(), "log_variances": d.rows()},
        [
            {},
            {"prior_means": DRAWN},
            {"prior_log_variances": DRAWN, "axis": 0},
            {"prior_means": DRAWN, "prior_log_variances": DRAWN},
        ],
    ),
]
