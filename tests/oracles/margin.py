"""The margin losses as torch has them."""

import math
from typing import Any

import torch
from torch import Tensor

from .anchor import FEATURES, Anchor, Arguments, Draw, matrix


def cosine_embedding_loss(
    x1: Tensor, x2: Tensor, targets: Tensor, *, margin: float = 0.0, axis: int = -1, reduction: str
) -> Tensor:
    x1, x2 = matrix(x1, axis), matrix(x2, axis)
    values = torch.nn.functional.cosine_embedding_loss(x1, x2, targets.reshape(-1), margin=margin, reduction=reduction)
    return values.reshape(targets.shape)


def triplet_margin_loss(
    anchors: Tensor, positives: Tensor, negatives: Tensor, *, axis: int = -1, **options: Any
) -> Tensor:
    anchors, positives, negatives = (x.movedim(axis, -1) for x in (anchors, positives, negatives))
    return torch.nn.functional.triplet_margin_loss(anchors, positives, negatives, **options)


def triplet_margin_with_distance_loss(
    anchors: Tensor, positives: Tensor, negatives: Tensor, *, distance_function: str, axis: int = -1, **options: Any
) -> Tensor:
    anchors, positives, negatives = (x.movedim(axis, -1) for x in (anchors, positives, negatives))
    distance = {
        "manhattan": lambda x, y: (x - y).abs().sum(-1),
        "squared": lambda x, y: (x - y).square().sum(-1),
    }[distance_function]
    return torch.nn.functional.triplet_margin_with_distance_loss(
        anchors, positives, negatives, distance_function=distance, **options
    )


def pairs(d: Draw) -> Arguments:
    return {"x1": d.normal(), "x2": d.normal(), "targets": d.signs()}


def triplets(d: Draw) -> Arguments:
    return {"anchors": d.rows(FEATURES), "positives": d.rows(FEATURES), "negatives": d.rows(FEATURES)}


ANCHORS = [
    Anchor(
        "margin_ranking_loss",
        torch.nn.functional.margin_ranking_loss,
        pairs,
        [{}, {"margin": 0.7}, {"margin": -0.2}],
    ),
    Anchor(
        "hinge_embedding_loss",
        torch.nn.functional.hinge_embedding_loss,
        lambda d: {"predictions": d.normal(), "targets": d.signs()},
        [{}, {"margin": 0.4}, {"margin": 2.0}],
    ),
    Anchor(
        "cosine_embedding_loss",
        cosine_embedding_loss,
        # Long vectors, beside which the 1e-12 that torch adds to squared lengths vanishes.
        lambda d: {"x1": d.rows(FEATURES, scale=20), "x2": d.rows(FEATURES, scale=20), "targets": d.signs()},
        [{}, {"margin": 0.3}, {"margin": -0.5}, {"axis": 0}, {"axis": 1, "margin": 0.1}],
    ),
    Anchor(
        "triplet_margin_loss",
        triplet_margin_loss,
        triplets,
        [
            {},
            {"margin": 3.0},
            {"p": 1.0},
            {"p": 1.5, "margin": 2.0},
            {"p": 3.0},
            {"p": math.inf, "margin": 0.5},
            {"eps": 0.1},
            {"eps": 0.0, "margin": 2.0},
            {"swap": True, "margin": 4.0},
            {"axis": 0, "p": 4.0, "swap": True, "margin": 2.0},
        ],
    ),
    Anchor(
        "triplet_margin_with_distance_loss",
        triplet_margin_with_distance_loss,
        triplets,
        [
            {"distance_function": "manhattan"},
            {"distance_function": "squared", "margin": 3.0},
            {"distance_function": "manhattan", "swap": True, "margin": 5.0},
            {"distance_function": "squared", "axis": 1},
        ],
    ),
]
