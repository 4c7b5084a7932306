"""The likelihoods as torch has them."""

import torch
from torch import Tensor

from .anchor import Anchor


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
]
