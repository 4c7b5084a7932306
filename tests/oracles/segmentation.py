"""The losses of regions as Keras has them, and composed in torch where it has no such option."""

from typing import Any

import keras
import numpy as np
import torch
from torch import Tensor

from .anchor import CLASSES, DRAWN, Anchor, Arguments, Draw


def regions(
    loss: Any,
    probs: Tensor,
    labels: Tensor,
    *,
    space: int | tuple[int, ...] | None = None,
    axis: int = -1,
    valid: Tensor | None = None,
    ignore_index: int | None = -100,
    class_weights: Tensor | None = None,
    reduction: str,
    **options: Any,
) -> Tensor:
    """Means over classes of losses that see probabilities and memberships, and the axes to sum over."""
    pixels = [i for i in range(probs.ndim) if i != axis % probs.ndim]
    chosen = {i for i in pixels if i} if space is None else {i % probs.ndim for i in np.atleast_1d(space)}
    summed = tuple(position for position, i in enumerate(pixels) if i in chosen)
    probs, labels = probs.movedim(axis, -1), labels.movedim(axis, -1) if labels.is_floating_point() else labels
    taking_part = torch.ones(probs.shape[:-1], dtype=torch.bool) if valid is None else valid
    if not labels.is_floating_point():
        taking_part = taking_part & (labels != ignore_index)
        labels = torch.nn.functional.one_hot(labels.where(taking_part, 0), probs.shape[-1]).to(probs)
    probs, labels = (x * taking_part[..., None] for x in (probs, labels))
    class_weights = torch.ones(probs.shape[-1]).to(probs) if class_weights is None else class_weights
    values = loss(probs, labels, summed, class_weights, **options)
    reduced: dict[str, Tensor] = {"none": values, "sum": values.sum(), "mean": values.mean()}
    return reduced[reduction]


def weighted_mean(losses: Tensor, class_weights: Tensor) -> Tensor:
    return losses @ class_weights / class_weights.sum()


def dice(
    probs: Tensor,
    labels: Tensor,
    summed: Any,
    class_weights: Tensor,
    *,
    smooth_nr: float = 1e-5,
    smooth_dr: float = 1e-5,
) -> Tensor:
    shared, total = (probs * labels).sum(summed), (probs + labels).sum(summed)
    return weighted_mean(1 - (2 * shared + smooth_nr) / (total + smooth_dr), class_weights)


def keras_dice(
    probs: Tensor, labels: Tensor, summed: Any, class_weights: Tensor, *, smooth_nr: float, smooth_dr: float
) -> Tensor:
    assert (smooth_nr, smooth_dr) == (0, keras.config.epsilon())
    return weighted_mean(keras.losses.dice(labels, probs, axis=summed), class_weights)


def generalized_dice(
    probs: Tensor,
    labels: Tensor,
    summed: Any,
    class_weights: Tensor,
    *,
    smooth_nr: float = 1e-5,
    smooth_dr: float = 1e-5,
) -> Tensor:
    sizes = labels.sum(summed)
    smallest = sizes.where(sizes > 0, torch.inf).amin(-1, keepdim=True)
    shares = class_weights * torch.where(sizes > 0, smallest**2 / sizes.where(sizes > 0, 1) ** 2, 1)
    shared, total = (probs * labels).sum(summed), (probs + labels).sum(summed)
    return 1 - (2 * (shares * shared).sum(-1) + smooth_nr) / ((shares * total).sum(-1) + smooth_dr)


def tversky(
    probs: Tensor,
    labels: Tensor,
    summed: Any,
    class_weights: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    gamma: float = 1.0,
    smooth_nr: float = 1e-5,
    smooth_dr: float = 1e-5,
) -> Tensor:
    shared = (probs * labels).sum(summed)
    invented, missed = probs.sum(summed) - shared, labels.sum(summed) - shared
    index = (shared + smooth_nr) / (shared + alpha * invented + beta * missed + smooth_dr)
    return weighted_mean((1 - index) ** gamma, class_weights)


def keras_tversky(
    probs: Tensor,
    labels: Tensor,
    summed: Any,
    class_weights: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth_nr: float,
    smooth_dr: float,
) -> Tensor:
    assert (smooth_nr, smooth_dr) == (0, keras.config.epsilon())
    # Its alpha is the price of what is missed.
    return weighted_mean(keras.losses.tversky(labels, probs, alpha=beta, beta=alpha, axis=summed), class_weights)


def images(d: Draw, *, soft: bool = False) -> Arguments:
    """Rows of pixels, as many as there are classes."""
    axis = d.options.get("axis", -1) % (len(d.batch) + 2)
    pixels = (*d.batch, CLASSES)
    shape = (*pixels[:axis], CLASSES, *pixels[axis:])
    labels = d.integers(0, CLASSES - 1, pixels)
    if d.options.get("ignore_index") is not None:
        labels[..., 1:2] = d.options["ignore_index"]
    return {"probs": d.uniform(0.01, 0.99, shape), "labels": d.uniform(0, 1, shape) if soft else labels}


def anchor(name: str, loss: Any, *more: Arguments) -> Anchor:
    """With a class of each pixel."""
    return Anchor(
        name,
        lambda *inputs, **options: regions(loss, *inputs, **options),
        images,
        [
            {"space": -2},
            {},
            {"space": (0, -2), "ignore_index": 1},
            {"space": -1, "axis": -2, "class_weights": DRAWN},
            {"space": -2, "valid": DRAWN, "smooth_nr": 0.3, "smooth_dr": 0.7},
            *more,
        ],
        empty=False,
    )


def keras_anchor(name: str, loss: Any, *more: Arguments) -> Anchor:
    """With memberships, and the smoothing that Keras has."""
    usual = {"space": -2, "smooth_nr": 0.0, "smooth_dr": keras.config.epsilon()}
    return Anchor(
        name,
        lambda *inputs, **options: regions(loss, *inputs, **options),
        lambda d: images(d, soft=True),
        [usual, *(usual | options for options in more)],
        empty=False,
        kind="soft",
    )


ANCHORS = [
    anchor("dice_loss", dice),
    keras_anchor("dice_loss", keras_dice),
    anchor("generalized_dice_loss", generalized_dice),
    anchor("tversky_loss", tversky, {"space": -2, "alpha": 0.3, "beta": 0.7, "gamma": 0.75}),
    keras_anchor("tversky_loss", keras_tversky, {"alpha": 0.3, "beta": 0.7}),
]
