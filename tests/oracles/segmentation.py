"""The losses of regions as Keras and optax have them."""

from typing import Any

import numpy as np
import optax
import torch
from torch import Tensor

from .anchor import CLASSES, DRAWN, Anchor, Arguments, Draw, from_jax, keras

KERAS: Arguments = {"smooth_nr": 0.0, "smooth_dr": keras.config.epsilon()}
"""The smoothing that Keras has."""

optax_dice = from_jax(optax.losses.dice_loss)


def summed_axes(probs: Tensor, axis: int, space: int | tuple[int, ...]) -> tuple[int, ...]:
    """The axes to sum over, once the classes are last."""
    pixels = [i for i in range(probs.ndim) if i != axis % probs.ndim]
    chosen = {i % probs.ndim for i in np.atleast_1d(space)}
    return tuple(position for position, i in enumerate(pixels) if i in chosen)


def of_keras(
    loss: Any, probs: Tensor, labels: Tensor, *, space: int, smooth_nr: float, smooth_dr: float, **options: Any
) -> Tensor:
    assert {"smooth_nr": smooth_nr, "smooth_dr": smooth_dr} == KERAS
    by_class: Tensor = loss(labels, probs, axis=summed_axes(probs, -1, space), **options)
    return by_class.mean(-1)


def keras_dice(probs: Tensor, labels: Tensor, *, reduction: str, **options: Any) -> Tensor:
    return of_keras(keras.losses.dice, probs, labels, **options)


def keras_tversky(
    probs: Tensor, labels: Tensor, *, alpha: float = 0.5, beta: float = 0.5, reduction: str, **options: Any
) -> Tensor:
    # Its alpha is the price of what is missed.
    return of_keras(keras.losses.tversky, probs, labels, alpha=beta, beta=alpha, **options)


def tversky(
    probs: Tensor,
    labels: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    class_weights: Tensor | None = None,
    smooth_nr: float = 1e-5,
    smooth_dr: float = 1e-5,
    space: int | tuple[int, ...],
    axis: int = -1,
    reduction: str,
) -> Tensor:
    """Optax's Dice loss, which is Tversky's."""
    assert smooth_nr == smooth_dr
    summed = summed_axes(probs, axis, space)
    probs = probs.movedim(axis, -1)
    memberships = torch.nn.functional.one_hot(labels, CLASSES).to(probs)
    # It multiplies the classes' losses by their weights and does not divide by the sum of these.
    shares = torch.ones(CLASSES) / CLASSES if class_weights is None else class_weights / class_weights.sum()
    return optax_dice(
        probs,
        memberships,
        class_weights=shares,
        smooth=smooth_nr,
        alpha=alpha,
        beta=beta,
        axis=summed,
        apply_softmax=False,
        reduction="sum",
    )


def dice(probs: Tensor, labels: Tensor, *, smooth_nr: float = 1e-5, smooth_dr: float = 1e-5, **options: Any) -> Tensor:
    # Optax smooths half of numerator and denominator.
    return tversky(probs, labels, smooth_nr=smooth_nr / 2, smooth_dr=smooth_dr / 2, **options)


def memberships(d: Draw) -> Arguments:
    """Rows of pixels, as many as there are classes."""
    shape = (*d.batch, CLASSES, CLASSES)
    return {"probs": d.uniform(0.01, 0.99, shape), "labels": d.uniform(0, 1, shape)}


def classes(d: Draw) -> Arguments:
    """The same with a class of each pixel, and probabilities whose sum is 1: optax wants that."""
    axis = d.options.get("axis", -1)
    exponentials = np.moveaxis(np.exp(d.normal((*d.batch, CLASSES, CLASSES))), -1, axis)
    return {
        "probs": np.round(exponentials / exponentials.sum(axis, keepdims=True), 6),
        "labels": d.integers(0, CLASSES - 1, (*d.batch, CLASSES)),
    }


OPTIONS: list[Arguments] = [
    {"space": -2},
    {"space": (-3, -2)},
    {"space": (0, -2)},
    {"space": -1, "axis": -2, "class_weights": DRAWN},
    {"space": -2, "smooth_nr": 0.3, "smooth_dr": 0.3},
]

ANCHORS = [
    Anchor("dice_loss", dice, classes, OPTIONS),
    Anchor("dice_loss", keras_dice, memberships, [{"space": -2} | KERAS], kind="soft"),
    Anchor("tversky_loss", tversky, classes, [*OPTIONS, {"space": -2, "alpha": 0.3, "beta": 0.7}]),
    Anchor(
        "tversky_loss",
        keras_tversky,
        memberships,
        [{"space": -2} | KERAS, {"space": -2} | KERAS | {"alpha": 0.3, "beta": 0.7}],
        kind="soft",
    ),
]
