"""What other libraries make of the losses, family by family: `make_golden.py` writes it down."""

from . import (
    classification,
    divergence,
    fenchel,
    focal,
    forecast,
    hinge,
    likelihood,
    linear,
    margin,
    metric,
    ranking,
    regression,
    segmentation,
    sequence,
)
from .anchor import Anchor as Anchor

ANCHORS: dict[str, list[Anchor]] = {
    "regression": regression.ANCHORS,
    "likelihood": likelihood.ANCHORS,
    "forecast": forecast.ANCHORS,
    "classification": classification.ANCHORS,
    "focal": focal.ANCHORS,
    "linear": linear.ANCHORS,
    "margin": margin.ANCHORS,
    "hinge": hinge.ANCHORS,
    "divergence": divergence.ANCHORS,
    "metric": metric.ANCHORS,
    "ranking": ranking.ANCHORS,
    "segmentation": segmentation.ANCHORS,
    "fenchel": fenchel.ANCHORS,
    "sequence": sequence.ANCHORS,
}
