"""The likelihoods as torch has them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .anchor import Anchor, Arguments, Draw


def gaussian_nll_loss(
    means: Tensor,
    targets: Tensor,
    variances: Tensor,
    *,
    full: bool = False,
    eps: float = 1e-6,
    beta: float = 0.0,
    reduction: str,
) -> Tensor:
    # Torch clamps too, but hides that from autograd: the gradient of the definition is 0 below eps.
    variances = variances.clamp(min=eps)
    values = torch.nn.functional.gaussian_nll_loss(means, targets, variances, full=full, eps=eps, reduction=reduction)
    return variances.detach() ** beta * values if beta else values


def reduced(values: Tensor, reduction: str) -> Tensor:
    return values if reduction == "none" else getattr(values, reduction)()


def nll(density: Any, targets: Tensor, reduction: str) -> Tensor:
    return reduced(-density.log_prob(targets), reduction)


def negative_binomial_nll_loss(
    means: Tensor, targets: Tensor, dispersions: Tensor, *, eps: float = 1e-6, reduction: str
) -> Tensor:
    targets = targets.where(targets > 0, targets.detach())
    # Torch counts successes before so many failures, with the log-odds of a success.
    logits = means.where(targets == 0, means.clamp(min=eps)).log() + dispersions.log()
    density = torch.distributions.NegativeBinomial(1 / dispersions, logits=logits, validate_args=False)
    return nll(density, targets, reduction)


def laplace_nll_loss(
    locations: Tensor, targets: Tensor, scales: Tensor, *, eps: float = 1e-6, reduction: str
) -> Tensor:
    return nll(torch.distributions.Laplace(locations, scales.clamp(min=eps)), targets, reduction)


def student_t_nll_loss(
    locations: Tensor, targets: Tensor, scales: Tensor, dfs: Tensor, *, eps: float = 1e-6, reduction: str
) -> Tensor:
    density = torch.distributions.StudentT(dfs, locations, scales.clamp(min=eps))
    return nll(density, targets, reduction)


def gaussian_mixture_nll_loss(
    means: Tensor,
    targets: Tensor,
    scales: Tensor,
    logits: Tensor,
    *,
    eps: float = 1e-6,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    means, scales, logits = (rows.movedim(axis, -1) for rows in (means, scales, logits))
    density = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits), torch.distributions.Normal(means, scales.clamp(min=eps))
    )
    return nll(density, targets, reduction)


def tweedie_loss(means: Tensor, targets: Tensor, *, power: float = 1.5, reduction: str) -> Tensor:
    """The definition of Jørgensen."""
    if power == 1:
        values = targets.xlogy(targets / means) - targets + means
    elif power == 2:
        values = (means / targets).log() + targets / means - 1
    else:
        values = (
            targets ** (2 - power) / ((1 - power) * (2 - power))
            - targets * means ** (1 - power) / (1 - power)
            + means ** (2 - power) / (2 - power)
        )
    return reduced(2 * values, reduction)


def located(d: Draw) -> Arguments:
    return {"locations": d.normal(), "targets": d.normal(), "scales": d.uniform(0.1, 3)}


ANCHORS = [
    Anchor(
        "gaussian_nll_loss",
        gaussian_nll_loss,
        lambda d: {"means": d.normal(), "targets": d.normal(), "variances": d.uniform(0.1, 3)},
        [{}, {"full": True}, {"eps": 0.7}, {"beta": 0.5}, {"beta": 1.0, "full": True}],
        frozenset({"beta"}),
    ),
    Anchor(
        "poisson_nll_loss",
        torch.nn.functional.poisson_nll_loss,
        lambda d: {
            "predictions": d.normal() if d.options.get("log_input", True) else d.uniform(0.1, 5),
            "targets": d.uniform(0.1, 6),
        },
        [{}, {"full": True}, {"log_input": False}, {"log_input": False, "eps": 0.3, "full": True}],
    ),
    Anchor(
        "negative_binomial_nll_loss",
        negative_binomial_nll_loss,
        lambda d: {
            "means": d.uniform(0.1, 9),
            "targets": d.integers(0, 9).astype(float),
            "dispersions": d.uniform(0.1, 3),
        },
        [{}, {"eps": 2.0}],
    ),
    Anchor("laplace_nll_loss", laplace_nll_loss, located, [{}, {"eps": 0.7}]),
    Anchor(
        "student_t_nll_loss",
        student_t_nll_loss,
        lambda d: {**located(d), "dfs": d.uniform(0.3, 9)},
        [{}, {"eps": 0.7}],
    ),
    Anchor(
        "gaussian_mixture_nll_loss",
        gaussian_mixture_nll_loss,
        lambda d: {
            "means": d.rows(),
            "targets": d.normal(),
            "scales": np.abs(d.rows()) + 0.1,
            "logits": d.rows(),
        },
        [{}, {"eps": 0.7}, {"axis": 0}],
        empty=False,
    ),
    Anchor(
        "tweedie_loss",
        tweedie_loss,
        lambda d: {"means": d.uniform(0.1, 9), "targets": d.uniform(0.1, 9)},
        [{}, {"power": 0.0}, {"power": 1.0}, {"power": 1.9}, {"power": 2.0}, {"power": 3.0}],
    ),
]
