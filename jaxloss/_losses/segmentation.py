"""Segmentation: losses on the overlap of regions."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer

from .._kit import (
    NON_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    Label,
    Mask,
    Reduction,
    Weights,
    are_probabilities,
    broadcastable,
    labelled_inputs,
    loss_function,
    per_class,
    reduce,
    require_option,
    rowwise_inputs,
)
from .._math.arithmetic import power, ratio
from .._math.dtypes import Scalar
from .._math.passes import label_mask

_DOMAINS = {"probs": PROBABILITY, "labels": PROBABILITY, "smooth_nr": NON_NEGATIVE, "smooth_dr": NON_NEGATIVE}


@loss_function(domains=_DOMAINS)
def dice_loss(
    probs: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Float[ArrayLike, "*pixels classes"],
    *,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    smooth_nr: Scalar = 1e-5,
    smooth_dr: Scalar = 1e-5,
    ignore_index: Label | None = -100,
    valid: Bool[ArrayLike, "*pixels"] | None = None,
    space: int | tuple[int, ...] | None = None,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """How far predicted regions are from overlapping the true ones.

        Σₖ wₖ (1 - (2 Σ p t + smooth_nr) / (Σ p + Σ t + smooth_dr)) / Σₖ wₖ

    The inner sums are over the pixels of an image, so that a small region counts as much as a large one. Takes
    probabilities: apply `jax.nn.softmax`, or `jax.nn.sigmoid` for regions that may overlap. A class that is neither
    there nor predicted costs 0; without smoothing its gradient is 0 there.

    optax takes logits and adds 1 to Σ p t: a smoothing of 2 here. Keras adds 1e-7 below the line only, and sums over
    batch and classes too unless given an axis. MONAI smooths as here, and has classes second.

    Args:
        probs: Probabilities, shape (..., classes); a single region has a class axis of size 1.
        labels: Integers in [0, classes) of the shape of `probs` without `axis`, for a single region 1 inside and 0
            outside; or floating memberships, such as one-hot or several at once, of the shape of `probs`. An integer
            that is no class makes the loss and its gradient NaN.
        class_weights: Multiplier of each class, shape (classes,).
        smooth_nr: Added above the line.
        smooth_dr: Added below the line.
        ignore_index: Integer label of pixels that take no part; None if no label means that.
        valid: Boolean mask of the pixels that take part, of the shape of `probs` without `axis`. An image without any
            does not count.
        space: The axes of `probs` that are summed over; by default all but the first and `axis`. With the first among
            them, the regions of a batch are compared as one.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per image.

    Returns:
        A scalar, or with reduction "none" the shape of `probs` without `space` and `axis`.

    Raises:
        ValueError: `space` names the class axis, or one that `probs` does not have.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> probs = jax.nn.softmax(jnp.array([[[[2.0, 0.0], [0.0, 2.0]], [[0.0, 2.0], [0.0, 0.0]]]]))
        >>> jaxloss.dice_loss(probs, jnp.array([[[0, 1], [1, 1]]]))
        Array(0.2434, dtype=float32)
        >>> jaxloss.dice_loss(jax.nn.sigmoid(jnp.array([[[[2.0], [-2.0]]]])), jnp.array([[[1, 0]]]))
        Array(0.1192, dtype=float32)

    References:
        Milletari, Navab and Ahmadi, V-Net: fully convolutional neural networks for volumetric medical image
        segmentation, 2016.
    """
    overlap, where = _overlap(where, axis, space, valid, ignore_index, probs, labels)
    class_weights = per_class(overlap.both, class_weights=class_weights)
    losses = _dissimilarity(overlap, 0.5, 0.5, smooth_nr / 2, smooth_dr / 2)
    return reduce(_class_mean(losses, class_weights), where=where, weights=weights, reduction=reduction)


@loss_function(domains=_DOMAINS)
def generalized_dice_loss(
    probs: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Float[ArrayLike, "*pixels classes"],
    *,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    smooth_nr: Scalar = 1e-5,
    smooth_dr: Scalar = 1e-5,
    ignore_index: Label | None = -100,
    valid: Bool[ArrayLike, "*pixels"] | None = None,
    space: int | tuple[int, ...] | None = None,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """`dice_loss` of all classes at once, each weighed by the inverse square of its size.

        1 - (2 Σₖ wₖ Σ p t + smooth_nr) / (Σₖ wₖ (Σ p + Σ t) + smooth_dr),  wₖ = (minⱼ Σ tⱼ / Σ tₖ)²

    For regions of very different sizes: errors in a rare class do not drown. The weights are those of the paper,
    1 / (Σ tₖ)², relative to the rarest class that is there, so that smoothing means the same for images of all sizes;
    MONAI adds it beside sums that shrink with the image. A class that is not there has the weight of the rarest, 1, as
    in MONAI. optax weighs the classes' own losses by the sizes in the whole batch, which is another loss.

    Args:
        probs: Probabilities, shape (..., classes); a single region has a class axis of size 1.
        labels: Integers in [0, classes) of the shape of `probs` without `axis`, for a single region 1 inside and 0
            outside; or floating memberships of the shape of `probs`. An integer that is no class makes the loss and
            its gradient NaN.
        class_weights: Another multiplier of each class, shape (classes,).
        smooth_nr: Added above the line.
        smooth_dr: Added below the line.
        ignore_index: Integer label of pixels that take no part; None if no label means that.
        valid: Boolean mask of the pixels that take part, of the shape of `probs` without `axis`. An image without any
            does not count.
        space: The axes of `probs` that are summed over; by default all but the first and `axis`.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per image.

    Returns:
        A scalar, or with reduction "none" the shape of `probs` without `space` and `axis`.

    Raises:
        ValueError: `space` names the class axis, or one that `probs` does not have.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> probs = jax.nn.softmax(jnp.array([[[[2.0, 0.0], [0.0, 2.0]], [[0.0, 2.0], [0.0, 0.0]]]]))
        >>> jaxloss.generalized_dice_loss(probs, jnp.array([[[0, 1], [1, 1]]]))
        Array(0.2962, dtype=float32)

    References:
        Sudre et al., Generalised Dice overlap as a deep learning loss function for highly unbalanced segmentations,
        2017.
    """
    overlap, where = _overlap(where, axis, space, valid, ignore_index, probs, labels)
    class_weights = per_class(overlap.both, class_weights=class_weights)
    shares = _inverse_squares(overlap.sizes)
    shares = shares if class_weights is None else class_weights * shares
    total = _Overlap(*(jnp.sum(shares * part, axis=-1) for part in overlap))
    values = _dissimilarity(total, 0.5, 0.5, smooth_nr / 2, smooth_dr / 2)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _inverse_squares(sizes: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """The inverse squares of sizes, relative to that of the least one that is not 0; 1 for those that are."""
    absent = sizes == 0
    least = jnp.min(jnp.where(absent, jnp.inf, sizes), axis=-1, keepdims=True)
    least = jnp.where(least == jnp.inf, 1, least)
    return jnp.where(absent, 1, jnp.square(ratio(least, sizes)))


@loss_function(domains=_DOMAINS | {"alpha": NON_NEGATIVE, "beta": NON_NEGATIVE, "gamma": POSITIVE})
def tversky_loss(
    probs: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Float[ArrayLike, "*pixels classes"],
    *,
    alpha: Scalar = 0.5,
    beta: Scalar = 0.5,
    gamma: Scalar = 1.0,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    smooth_nr: Scalar = 1e-5,
    smooth_dr: Scalar = 1e-5,
    ignore_index: Label | None = -100,
    valid: Bool[ArrayLike, "*pixels"] | None = None,
    space: int | tuple[int, ...] | None = None,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """How far predicted regions are from the true ones, with a price each for too much and too little.

        Σₖ wₖ (1 - (TP + smooth_nr) / (TP + α FP + β FN + smooth_dr))ᵞ / Σₖ wₖ,
        TP = Σ p t,  FP = Σ p (1 - t),  FN = Σ (1 - p) t

    With β > α what is missed costs more than what is invented, as a lesion should. α = β = 1/2 is `dice_loss` with
    twice the smoothing, α = β = 1 the Jaccard loss. γ ≠ 1 makes it the focal Tversky loss; where a class is
    matched exactly its gradient is then 0, also for γ < 1. Takes probabilities, as `dice_loss` does.

    In Keras alpha is the price of FN, and beta that of FP. The exponent of Abraham and Khan is 1/γ.

    Args:
        probs: Probabilities, shape (..., classes); a single region has a class axis of size 1.
        labels: Integers in [0, classes) of the shape of `probs` without `axis`, for a single region 1 inside and 0
            outside; or floating memberships of the shape of `probs`. An integer that is no class makes the loss and
            its gradient NaN.
        alpha: Price of false positives.
        beta: Price of false negatives.
        gamma: Exponent of each class's loss; above 1 it turns to the classes that are matched worst.
        class_weights: Multiplier of each class, shape (classes,).
        smooth_nr: Added above the line.
        smooth_dr: Added below the line.
        ignore_index: Integer label of pixels that take no part; None if no label means that.
        valid: Boolean mask of the pixels that take part, of the shape of `probs` without `axis`. An image without any
            does not count.
        space: The axes of `probs` that are summed over; by default all but the first and `axis`.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per image.

    Returns:
        A scalar, or with reduction "none" the shape of `probs` without `space` and `axis`.

    Raises:
        ValueError: `space` names the class axis, or one that `probs` does not have.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> probs, labels = jnp.array([[[1.0], [0.5], [0.5]]]), jnp.array([[1, 1, 0]])
        >>> jaxloss.tversky_loss(probs, labels, alpha=0.25, beta=0.75)
        Array(0.25, dtype=float32)

    References:
        Salehi, Erdogmus and Gholipour, Tversky loss function for image segmentation using 3D fully convolutional deep
        networks, 2017.
        Abraham and Khan, A novel focal Tversky loss function with improved attention U-Net for lesion segmentation,
        2019.
    """
    overlap, where = _overlap(where, axis, space, valid, ignore_index, probs, labels)
    class_weights = per_class(overlap.both, class_weights=class_weights)
    losses = power(_dissimilarity(overlap, alpha, beta, smooth_nr, smooth_dr), gamma)
    return reduce(_class_mean(losses, class_weights), where=where, weights=weights, reduction=reduction)


def _class_mean(losses: Float[Array, "*batch classes"], class_weights: Array | None) -> Float[Array, "*batch"]:
    if class_weights is None:
        return jnp.mean(losses, axis=-1)
    return ratio(jnp.sum(class_weights * losses, axis=-1), jnp.sum(class_weights, axis=-1))


def _dissimilarity(overlap: _Overlap, alpha: Scalar, beta: Scalar, smooth_nr: Scalar, smooth_dr: Scalar) -> Array:
    return _unlike(overlap.both, alpha * overlap.predicted + beta * overlap.missed, smooth_nr, smooth_dr)


@jax.custom_jvp
def _unlike(both: Array, errors: Array, smooth_nr: Scalar, smooth_dr: Scalar) -> Array:
    """1 - (both + smooth_nr) / (both + errors + smooth_dr), as one ratio: 1 less what is nearly 1 would cancel."""
    return ratio(errors + (smooth_dr - smooth_nr), both + errors + smooth_dr)


# Errors count above the line and below: where hardly anything is shared, autodiff would let the two cancel.
@_unlike.defjvp
def _unlike_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    both, errors, smooth_nr, smooth_dr = primals
    both_tangent, errors_tangent, nr_tangent, dr_tangent = tangents
    whole = both + errors + smooth_dr
    unlike, alike = _unlike(*primals), ratio(both + smooth_nr, whole)
    change = alike * (errors_tangent + dr_tangent) - unlike * both_tangent - nr_tangent
    return unlike, ratio(change, whole)


class _Overlap(NamedTuple):
    """Sums over the pixels: of what prediction and label share, of what either has alone, and of the label."""

    both: Array
    predicted: Array
    missed: Array
    sizes: Array


def _overlap(
    where: Mask | None,
    axis: int,
    space: int | tuple[int, ...] | None,
    valid: Mask | None,
    ignore_index: Label | None,
    probs: ArrayLike,
    labels: ArrayLike,
) -> tuple[_Overlap, Mask | None]:
    """The sums of each image and class, from checked inputs; and `where` without the images that have no pixel."""
    probs, labels = jnp.asarray(probs), jnp.asarray(labels)
    pixels, summed = _axes(probs.ndim, axis, space)
    counted = _counted(where, valid, tuple(probs.shape[i] for i in pixels), summed)
    if are_probabilities(labels, probs):
        probs, labels = rowwise_inputs(counted, axis, probs=probs, labels=labels)
        terms = _Overlap(probs * labels, probs * (1 - labels), (1 - probs) * labels, labels)
    else:
        single = probs.shape[axis:][:1] == (1,)
        probs, labels, counted = labelled_inputs(
            counted, axis, ignore_index, probs=probs, labels=labels, classes=2 if single else None
        )
        own = labels[..., None] == 1 if single else label_mask(labels, probs.shape[-1])
        # The sizes are counted as integers: a float32 sum of ones stands still at 2**24.
        terms = _Overlap(
            jnp.where(own, probs, 0), jnp.where(own, 0, probs), jnp.where(own, 1 - probs, 0), own.astype(jnp.int32)
        )
    if counted is not None:
        terms = _Overlap(*(jnp.where(jnp.expand_dims(counted, -1), term, 0) for term in terms))
    both, predicted, missed, sizes = (jnp.sum(term, axis=summed) for term in terms)
    kept = None if counted is None else jnp.any(counted, axis=summed)
    return _Overlap(both, predicted, missed, sizes.astype(probs.dtype)), kept


def _axes(rank: int, axis: int, space: int | tuple[int, ...] | None) -> tuple[list[int], tuple[int, ...]]:
    """The axes of pixels, which are all but that of the classes; and which of those are summed over."""
    pixels = [i for i in range(rank) if axis not in (i, i - rank)]
    if space is None:
        return pixels, tuple(position for position, i in enumerate(pixels) if i > 0)
    chosen = (space,) if isinstance(space, int) else space
    for i in chosen:
        require_option("space", i, [*pixels, *(j - rank for j in pixels)])
    return pixels, tuple(position for position, i in enumerate(pixels) if {i, i - rank} & {*chosen})


def _counted(where: Mask | None, valid: Mask | None, shape: tuple[int, ...], summed: tuple[int, ...]) -> Mask | None:
    """The pixels that take part: those that are valid, in the images that count."""
    counted: Mask | None = None
    if where is not None:
        images = broadcastable("where", where, tuple(size for i, size in enumerate(shape) if i not in summed))
        counted = jnp.broadcast_to(jnp.expand_dims(images, summed) if images.ndim else images, shape)
    if valid is not None:
        taking_part = jnp.broadcast_to(broadcastable("valid", valid, shape, of="the pixels"), shape)
        counted = taking_part if counted is None else counted & taking_part
    return counted
