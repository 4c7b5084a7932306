"""Segmentation: losses on the overlap of regions."""

from __future__ import annotations

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
    tracing,
)
from .._math.arithmetic import power, ratio
from .._math.dtypes import Scalar
from .._math.labels import label_mask
from .._math.overlap import (
    Overlap,
    dice_dissimilarity,
    inverse_squares,
    overlap_of_memberships,
    overlap_of_regions,
    tversky_dissimilarity,
)

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
    """One minus the Dice coefficient, which measures how predicted and true regions overlap.

        Σₖ wₖ (1 - (2 Σ p t + smooth_nr) / (Σ p + Σ t + smooth_dr)) / Σₖ wₖ

    The inner sums are over the pixels of an image, so that small regions count as much as large ones. Takes
    probabilities: apply `jax.nn.softmax` to logits, or `jax.nn.sigmoid` if the regions may overlap. A class that is
    neither true nor predicted at any pixel costs 0 if both smoothings are equal, and has gradient 0 if both are 0.

    optax takes logits, and adds 1 to Σ p t, which is a smoothing of 2 here. Keras adds 1e-7 to the denominator only.
    By default it also sums over the batch and the classes. MONAI smooths as here, and has the class axis second.

    Args:
        probs: Probabilities, shape (..., classes). For a single region the class axis has size 1.
        labels: Integers in [0, classes), of the shape of `probs` without `axis`; for a single region, 1 inside and 0
            outside. Or floating memberships in [0, 1], of the shape of `probs`: one-hot, or several classes at once. An
            integer that is no class makes the loss of the image and its gradient NaN.
        class_weights: Multiplier of each class, shape (classes,).
        smooth_nr: Number that is added to the numerator, not negative.
        smooth_dr: Number that is added to the denominator, not negative.
        ignore_index: Integer label of pixels that take no part; None if there is no such label.
        valid: Boolean mask of the pixels that take part, of the shape of `probs` without `axis`. An image without such
            pixels does not count.
        space: The axes of `probs` that are summed over, such as (-3, -2) for pictures; by default the one before the
            classes. If that of the batch is among them, all images of the batch are compared as one.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per image.

    Returns:
        A scalar, or with reduction "none" the shape of `probs` without `space` and `axis`.

    Raises:
        ValueError: `space` names the class axis or an axis that `probs` does not have, or is left out where labels have
            more than two axes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> probs = jax.nn.softmax(jnp.array([[[[2.0, 0.0], [0.0, 2.0]], [[0.0, 2.0], [0.0, 0.0]]]]))
        >>> jaxloss.dice_loss(probs, jnp.array([[[0, 1], [1, 1]]]), space=(-3, -2))
        Array(0.2434, dtype=float32)
        >>> jaxloss.dice_loss(jax.nn.sigmoid(jnp.array([[2.0], [-2.0]])), jnp.array([1, 0]))
        Array(0.1192, dtype=float32)

    References:
        Milletari, Navab and Ahmadi, V-Net: fully convolutional neural networks for volumetric medical image
        segmentation, 2016.
    """
    overlap, where = _overlaps(where, axis, space, valid, ignore_index, probs, labels)
    class_weights = per_class(overlap.both, class_weights=class_weights)
    losses = dice_dissimilarity(overlap, smooth_nr, smooth_dr)
    return reduce(_class_mean(losses, class_weights), where=where, weights=weights, reduction=reduction)


def _overlaps(
    where: Mask | None,
    axis: int,
    space: int | tuple[int, ...] | None,
    valid: Mask | None,
    ignore_index: Label | None,
    probs: ArrayLike,
    labels: ArrayLike,
) -> tuple[Overlap, Mask | None]:
    """Checks the inputs, and returns the overlap in each image and class, and a mask of the images that count."""
    probs, labels = jnp.asarray(probs), jnp.asarray(labels)
    pixel_axes, summed = _pixel_axes(probs.ndim, axis, space)
    counted = _counted_pixels(where, valid, tuple(probs.shape[i] for i in pixel_axes), summed)
    if are_probabilities(labels, probs):
        probs, labels = rowwise_inputs(counted, axis, probs=probs, labels=labels)
        terms = overlap_of_memberships(probs, labels)
    else:
        # The labels of a single region are 0 and 1, though its class axis has size 1. If there is no such axis, the
        # slices raise no error, but `labelled_inputs` does.
        is_single = probs.shape[axis:][:1] == (1,)
        probs, labels, counted = labelled_inputs(
            counted, axis, ignore_index, probs=probs, labels=labels, classes=2 if is_single else None
        )
        inside = labels[..., None] == 1 if is_single else label_mask(labels, probs.shape[-1])
        terms = overlap_of_regions(probs, inside)
    if counted is not None:
        terms = Overlap(*(jnp.where(jnp.expand_dims(counted, -1), term, 0) for term in terms))
    overlap = Overlap(*(jnp.sum(term, axis=summed).astype(probs.dtype) for term in terms))
    return overlap, None if counted is None else jnp.any(counted, axis=summed)


def _pixel_axes(rank: int, axis: int, space: int | tuple[int, ...] | None) -> tuple[list[int], tuple[int, ...]]:
    """All axes but the class axis, and the positions in this list of the axes that are summed over."""
    pixel_axes = [i for i in range(rank) if axis not in (i, i - rank)]
    if space is None:
        if len(pixel_axes) > 2:
            names = "(-3, -2)" if axis in (-1, rank - 1) else "two of its axes"
            message = f"labels have {len(pixel_axes)} axes: say which are pixels, as by space={names}"
            raise ValueError(f"{tracing().name}: {message}")
        return pixel_axes, (len(pixel_axes) - 1,)
    chosen = (space,) if isinstance(space, int) else space
    for i in chosen:
        require_option("space", i, [*pixel_axes, *(j - rank for j in pixel_axes)])
    return pixel_axes, tuple(position for position, i in enumerate(pixel_axes) if i in chosen or i - rank in chosen)


def _counted_pixels(
    where: Mask | None, valid: Mask | None, shape: tuple[int, ...], summed: tuple[int, ...]
) -> Mask | None:
    """A mask of the valid pixels in the images that count, or None for all pixels."""
    counted: Mask | None = None
    if where is not None:
        images = broadcastable("where", where, tuple(size for i, size in enumerate(shape) if i not in summed))
        counted = jnp.broadcast_to(jnp.expand_dims(images, summed) if images.ndim else images, shape)
    if valid is not None:
        pixels = jnp.broadcast_to(broadcastable("valid", valid, shape, of="the pixels"), shape)
        counted = pixels if counted is None else counted & pixels
    return counted


def _class_mean(losses: Float[Array, "*batch classes"], class_weights: Array | None) -> Float[Array, "*batch"]:
    if class_weights is None:
        return jnp.mean(losses, axis=-1)
    return ratio(jnp.sum(class_weights * losses, axis=-1), jnp.sum(class_weights, axis=-1))


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
    """One minus the Dice coefficient of all classes together, each with the inverse square of its size as weight.

        1 - (2 Σₖ wₖ Σ p t + smooth_nr) / (Σₖ wₖ (Σ p + Σ t) + smooth_dr),  wₖ = (minⱼ Σ tⱼ / Σ tₖ)²

    For regions of very different sizes: the errors in a rare class are not outweighed by those in a frequent one. The
    weights are those of the paper, 1 / (Σ tₖ)², divided by that of the rarest class in the image. This way smoothing
    has the same effect in images of all sizes. A class that is not in the image has the weight of the rarest class, 1.

    MONAI gives the same weight to a class that is not in the image. It does not divide the weights, so smoothing has
    more effect in larger images. optax computes another loss: it weighs the losses of the classes by the inverse
    squares of their sizes in the whole batch.

    Args:
        probs: Probabilities, shape (..., classes). For a single region the class axis has size 1.
        labels: Integers in [0, classes), of the shape of `probs` without `axis`; for a single region, 1 inside and 0
            outside. Or floating memberships in [0, 1], of the shape of `probs`: one-hot, or several classes at once. An
            integer that is no class makes the loss of the image and its gradient NaN.
        class_weights: A second multiplier of each class, shape (classes,).
        smooth_nr: Number that is added to the numerator, not negative.
        smooth_dr: Number that is added to the denominator, not negative.
        ignore_index: Integer label of pixels that take no part; None if there is no such label.
        valid: Boolean mask of the pixels that take part, of the shape of `probs` without `axis`. An image without such
            pixels does not count.
        space: The axes of `probs` that are summed over, as in `dice_loss`.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per image.

    Returns:
        A scalar, or with reduction "none" the shape of `probs` without `space` and `axis`.

    Raises:
        ValueError: `space` names the class axis or an axis that `probs` does not have, or is left out where labels have
            more than two axes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> probs = jax.nn.softmax(jnp.array([[[[2.0, 0.0], [0.0, 2.0]], [[0.0, 2.0], [0.0, 0.0]]]]))
        >>> jaxloss.generalized_dice_loss(probs, jnp.array([[[0, 1], [1, 1]]]), space=(-3, -2))
        Array(0.2962, dtype=float32)

    References:
        Sudre et al., Generalised Dice overlap as a deep learning loss function for highly unbalanced segmentations,
        2017.
    """
    overlap, where = _overlaps(where, axis, space, valid, ignore_index, probs, labels)
    class_weights = per_class(overlap.both, class_weights=class_weights)
    multipliers = inverse_squares(overlap.true_size)
    multipliers = multipliers if class_weights is None else class_weights * multipliers
    total = Overlap(*(jnp.sum(multipliers * part, axis=-1) for part in overlap))
    values = dice_dissimilarity(total, smooth_nr, smooth_dr)
    return reduce(values, where=where, weights=weights, reduction=reduction)


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
    """One minus the Tversky index: the Dice loss with separate prices of false positives and false negatives.

        Σₖ wₖ (1 - (TP + smooth_nr) / (TP + α FP + β FN + smooth_dr))ᵞ / Σₖ wₖ,
        TP = Σ p t,  FP = Σ p (1 - t),  FN = Σ (1 - p) t

    With β > α, pixels that are missed cost more than pixels that are wrongly predicted, for example of a lesion.
    α = β = 1/2 is `dice_loss` with twice the smoothing, and α = β = 1 is the Jaccard loss. γ ≠ 1 makes it the focal
    Tversky loss: its gradient is 0 for a class that is matched exactly, also with γ < 1. Takes probabilities, as
    `dice_loss` does.

    In Keras alpha is the price of false negatives, and beta that of false positives. Abraham and Khan use 1/γ for γ.

    Args:
        probs: Probabilities, shape (..., classes). For a single region the class axis has size 1.
        labels: Integers in [0, classes), of the shape of `probs` without `axis`; for a single region, 1 inside and 0
            outside. Or floating memberships in [0, 1], of the shape of `probs`: one-hot, or several classes at once. An
            integer that is no class makes the loss of the image and its gradient NaN.
        alpha: Price of false positives.
        beta: Price of false negatives.
        gamma: Exponent of the loss of each class, positive. Above 1, classes that are matched badly weigh more.
        class_weights: Multiplier of each class, shape (classes,).
        smooth_nr: Number that is added to the numerator, not negative.
        smooth_dr: Number that is added to the denominator, not negative.
        ignore_index: Integer label of pixels that take no part; None if there is no such label.
        valid: Boolean mask of the pixels that take part, of the shape of `probs` without `axis`. An image without such
            pixels does not count.
        space: The axes of `probs` that are summed over, as in `dice_loss`.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per image.

    Returns:
        A scalar, or with reduction "none" the shape of `probs` without `space` and `axis`.

    Raises:
        ValueError: `space` names the class axis or an axis that `probs` does not have, or is left out where labels have
            more than two axes.

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
    overlap, where = _overlaps(where, axis, space, valid, ignore_index, probs, labels)
    class_weights = per_class(overlap.both, class_weights=class_weights)
    losses = power(tversky_dissimilarity(overlap, alpha, beta, smooth_nr, smooth_dr), gamma)
    return reduce(_class_mean(losses, class_weights), where=where, weights=weights, reduction=reduction)
