"""entmax's losses and activations, by jaxloss."""

import entmax.activations as activations
import entmax.losses as losses
import entmax.root_finding as root_finding
import torch

from .adapting import LOSSES, ByDesign, install, not_applicable
from .bridge import array, bridged

TESTS = ["entmax/test_losses.py", "entmax/test_mask.py", "entmax/test_root_finding.py"]


def loss_class(alpha):
    class Loss:
        def __init__(self, *args, k=None, n_iter=50, alpha=alpha, ignore_index=-100, reduction="elementwise_mean"):
            self.alpha, self.ignore_index = alpha, int(ignore_index)
            self.reduction = {"elementwise_mean": "mean"}.get(reduction, reduction)

        def __call__(self, logits, target):
            labels = array(target)
            options = {"ignore_index": self.ignore_index, "reduction": self.reduction}
            if self.alpha == 2:
                return bridged(lambda x: LOSSES.sparsemax_loss(x, labels, **options), logits)
            return bridged(lambda x: LOSSES.entmax_loss(x, labels, alpha=self.alpha, **options), logits)

    return Loss


def sparsemax(x, dim=-1, k=None, n_iter=50):
    return bridged(lambda x: LOSSES.sparsemax(x, axis=dim), x)


def entmax(x, alpha=1.5, dim=-1, n_iter=50):
    if not isinstance(alpha, torch.Tensor):
        return bridged(lambda x: LOSSES.entmax(x, alpha=alpha, axis=dim), x)
    if (alpha < 1).any():
        not_applicable("alpha is at least 1")
    return bridged(lambda x, alpha: LOSSES.entmax(x, alpha=alpha, axis=dim), x, alpha)


def module(function):
    return lambda dim=-1, k=None: lambda x: function(x, dim=dim)


install(
    losses,
    {
        "SparsemaxLoss": loss_class(2),
        "SparsemaxBisectLoss": loss_class(2),
        "Entmax15Loss": loss_class(1.5),
        "EntmaxBisectLoss": loss_class(1.5),
    },
)
install(
    activations,
    {
        "sparsemax": sparsemax,
        "entmax15": lambda x, dim=-1, k=None: entmax(x, 1.5, dim),
        "Sparsemax": module(sparsemax),
        "Entmax15": module(entmax),
    },
)
install(root_finding, {"sparsemax_bisect": sparsemax, "entmax_bisect": entmax})

BY_DESIGN: list[ByDesign] = []
