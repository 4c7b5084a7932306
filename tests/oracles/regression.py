"""The regression losses as torch has them."""

import torch

from .anchor import Anchor, Arguments, Draw


def regression(d: Draw) -> Arguments:
    return {"predictions": d.normal(), "targets": d.normal()}


ANCHORS = [
    Anchor("l1_loss", torch.nn.functional.l1_loss, regression),
    Anchor("mse_loss", torch.nn.functional.mse_loss, regression),
    Anchor("huber_loss", torch.nn.functional.huber_loss, regression, [{}, {"delta": 0.3}, {"delta": 2.5}]),
    Anchor("smooth_l1_loss", torch.nn.functional.smooth_l1_loss, regression, [{}, {"beta": 0.3}, {"beta": 0.0}]),
]
