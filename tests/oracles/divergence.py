"""The divergences as torch and optax have them."""

import numpy as np
import optax
import torch
from torch import Tensor

from .anchor import CLASSES, DRAWN, Anchor, from_jax


def kl_div(
    log_predictions: Tensor, targets: Tensor, *, log_target: bool = False, axis: int = -1, reduction: str
) -> Tensor:
    rows, targets = log_predictions.movedim(axis, -1), targets.movedim(axis, -1)
    if reduction == "mean":
        rows, targets = rows.reshape(-1, CLASSES), targets.reshape(-1, CLASSES)
        return torch.nn.functional.kl_div(rows, targets, log_target=log_target, reduction="batchmean")
    values = torch.nn.functional.kl_div(rows, targets, log_target=log_target, reduction=reduction)
    return values.sum(-1) if reduction == "none" else values


optax_generalized_kl = from_jax(optax.losses.generalized_kl_divergence)


def reduced(values: Tensor, reduction: str) -> Tensor:
    return values if reduction == "none" else getattr(values, reduction)()


def generalized_kl_div(log_predictions: Tensor, targets: Tensor, *, axis: int = -1, reduction: str) -> Tensor:
    return reduced(optax_generalized_kl(log_predictions, targets, axis=axis), reduction)


def js_div(
    log_predictions: Tensor,
    targets: Tensor,
    *,
    beta: float = 0.5,
    log_target: bool = False,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    """The formula of Agarwal et al.; torch's `kl_div` has its arguments in the reverse order."""
    log_targets = targets if log_target else targets.log()
    if beta in (0, 1):
        pair = (log_predictions, log_targets) if beta == 0 else (log_targets, log_predictions)
        return reduced(torch.nn.functional.kl_div(*pair, log_target=True, reduction="none").sum(axis), reduction)
    mixture = (beta * log_targets.exp() + (1 - beta) * log_predictions.exp()).log()
    forward, reverse = (
        torch.nn.functional.kl_div(mixture, logs, log_target=True, reduction="none").sum(axis)
        for logs in (log_targets, log_predictions)
    )
    return reduced(beta * forward + (1 - beta) * reverse, reduction)


def gaussian_kl(
    means: Tensor,
    log_variances: Tensor,
    *,
    prior_means: Tensor | None = None,
    prior_log_variances: Tensor | None = None,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    prior_means = torch.zeros_like(means) if prior_means is None else prior_means
    prior_log_variances = torch.zeros_like(means) if prior_log_variances is None else prior_log_variances
    values = torch.distributions.kl_divergence(
        torch.distributions.Normal(means, (log_variances / 2).exp()),
        torch.distributions.Normal(prior_means, (prior_log_variances / 2).exp()),
    )
    return reduced(values.sum(axis), reduction)


ANCHORS = [
    Anchor(
        "kl_div",
        kl_div,
        lambda d: {
            "log_predictions": d.log_probabilities(),
            "targets": d.log_probabilities() if "log_target" in d.options else d.probabilities(),
        },
        [{}, {"log_target": True}, {"axis": 0}, {"axis": 1, "log_target": True}],
    ),
    Anchor(
        "generalized_kl_div",
        generalized_kl_div,
        lambda d: {"log_predictions": d.rows(), "targets": np.exp(d.rows())},
        [{}, {"axis": 0}],
    ),
    Anchor(
        "js_div",
        js_div,
        lambda d: {
            "log_predictions": d.log_probabilities(),
            "targets": d.log_probabilities() if "log_target" in d.options else d.probabilities(),
        },
        [{}, {"beta": 0.0}, {"beta": 1.0}, {"beta": 0.9}, {"beta": 0.1, "log_target": True, "axis": 0}],
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
