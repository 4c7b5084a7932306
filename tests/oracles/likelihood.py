"""The likelihoods as torch has them; Tweedie's deviance as scikit-learn has it."""

from typing import Any

import numpy as np
import torch
from sklearn.metrics import mean_tweedie_deviance
from torch import Tensor

from .anchor import Anchor, Arguments, Draw


def gaussian_nll_loss(
    means: Tensor,
    targets: Tensor,
    variances: Tensor,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str,
) -> Tensor:
    # Torch clamps too, but hides that from autograd: the gradient of the definition is 0 below eps.
    variances = variances.clamp(min=eps)
    return torch.nn.functional.gaussian_nll_loss(means, targets, variances, full=full, eps=eps, reduction=reduction)


def nll(density: Any, targets: Tensor) -> Tensor:
    values: Tensor = -density.log_prob(targets)
    return values


def negative_binomial_nll_loss(means: Tensor, targets: Tensor, dispersions: Tensor, *, reduction: str) -> Tensor:
    targets = targets.where(targets > 0, targets.detach())  # at the end of the domain the gradient is taken as 0
    # Torch counts successes before so many failures, with the log-odds of a success.
    density = torch.distributions.NegativeBinomial(
        1 / dispersions, logits=means.log() + dispersions.log(), validate_args=False
    )
    return nll(density, targets)


def laplace_nll_loss(locations: Tensor, targets: Tensor, scales: Tensor, *, reduction: str) -> Tensor:
    return nll(torch.distributions.Laplace(locations, scales), targets)


def student_t_nll_loss(locations: Tensor, targets: Tensor, scales: Tensor, dfs: Tensor, *, reduction: str) -> Tensor:
    return nll(torch.distributions.StudentT(dfs, locations, scales), targets)


def gaussian_mixture_nll_loss(
    means: Tensor, targets: Tensor, scales: Tensor, logits: Tensor, *, axis: int = -1, reduction: str
) -> Tensor:
    means, scales, logits = (rows.movedim(axis, -1) for rows in (means, scales, logits))
    density = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits), torch.distributions.Normal(means, scales)
    )
    return nll(density, targets)


def tweedie_loss(means: Tensor, targets: Tensor, *, power: float = 1.5, reduction: str) -> Tensor:
    pairs = zip(targets.flatten().tolist(), means.flatten().tolist(), strict=True)
    deviances = [mean_tweedie_deviance([target], [mean], power=power) for target, mean in pairs]
    return torch.tensor(deviances, dtype=torch.float64).reshape(means.shape)


def located(d: Draw) -> Arguments:
    return {"locations": d.normal(), "targets": d.normal(), "scales": d.uniform(0.1, 3)}


ANCHORS = [
    Anchor(
        "gaussian_nll_loss",
        gaussian_nll_loss,
        lambda d: {"means": d.normal(), "targets": d.normal(), "variances": d.uniform(0.1, 3)},
        [{}, {"full": True}, {"eps": 0.7}],
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
    ),
    Anchor("laplace_nll_loss", laplace_nll_loss, located),
    Anchor("student_t_nll_loss", student_t_nll_loss, lambda d: {**located(d), "dfs": d.uniform(0.3, 9)}),
    Anchor(
        "gaussian_mixture_nll_loss",
        gaussian_mixture_nll_loss,
        lambda d: {
            "means": d.rows(),
            "targets": d.normal(),
            "scales": np.abs(d.rows()) + 0.1,
            "logits": d.rows(),
        },
        [{}, {"axis": 0}],
    ),
    Anchor(
        "tweedie_loss",
        tweedie_loss,
        lambda d: {"means": d.uniform(0.1, 9), "targets": d.uniform(0.1, 9)},
        [{}, {"power": 0.0}, {"power": 1.0}, {"power": 1.9}, {"power": 2.0}, {"power": 3.0}],
        constant=frozenset({"means", "targets"}),
    ),
]
