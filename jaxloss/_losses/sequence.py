"""Sequence: losses between sequences of different lengths."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from .._kit import (
    Mask,
    Reduction,
    Weights,
    check_values,
    loss_function,
    reduce,
    require_option,
    require_shape,
    shielded,
)
from .._math.alignments import log_alignments, positions
from .._math.arithmetic import poison
from .._math.softmax import log_softmax


@loss_function()
def ctc_loss(
    logits: Float[ArrayLike, "*batch frames classes"],
    labels: Integer[ArrayLike, "*batch symbols"],
    logit_lengths: Integer[ArrayLike, "*batch"],
    label_lengths: Integer[ArrayLike, "*batch"],
    *,
    blank: int = 0,
    zero_infinity: bool = False,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Connectionist temporal classification: negative log-likelihood of a label sequence under all its alignments.

        -log Σ_π Π_t p_t(π_t)

    The sum is over the frame sequences π that become the labels when repeats are merged and then blanks are dropped.
    For speech and handwriting, where which frame shows which symbol is unknown. An impossible alignment (too few
    frames) makes the loss inf, with gradient 0.

    The mean is over sequences, as in optax; PyTorch first divides each loss by its label length, and has time before
    batch.

    Args:
        logits: Logits or log-probabilities, shape (..., frames, classes).
        labels: Integer classes other than `blank`, shape (..., symbols); what lies beyond a length has no meaning. A
            label that is no class, or the blank, makes the loss and its gradient NaN.
        logit_lengths: Number of frames of each sequence, in [0, frames], shape (...).
        label_lengths: Number of labels of each sequence, in [0, symbols], shape (...).
        blank: The class that means "no symbol".
        zero_infinity: Whether an impossible alignment counts as loss 0 instead of inf.
        where, weights, reduction: As in `jaxloss.reduce`, per sequence.

    Returns:
        A scalar, or with reduction "none" the shape of `logit_lengths`.

    Raises:
        ValueError: Shapes do not fit, or `blank` is no class.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> logits = jnp.zeros((1, 4, 3))
        >>> jaxloss.ctc_loss(logits, jnp.array([[1, 2]]), jnp.array([4]), jnp.array([2]))
        Array(1.6864, dtype=float32)

    References:
        Graves et al., Connectionist temporal classification, 2006.
    """
    batch = _batch_shape(logits, labels, logit_lengths, label_lengths, blank)
    logits, labels, logit_lengths, label_lengths = shielded(
        where, batch, logits=logits, labels=labels, logit_lengths=logit_lengths, label_lengths=label_lengths
    )
    labels, logit_lengths, label_lengths, factors = _checked(labels, logit_lengths, label_lengths, logits.shape, blank)
    # The logits are poisoned first: a wrong label may leave no alignment, and then no gradient to poison.
    logits = factors[..., None, None] * logits
    logits = _blank_beyond(logits, logit_lengths, blank)
    values = -log_alignments(log_softmax(logits), labels, label_lengths, blank)
    # Without an alignment the loss is a constant, whose gradient is 0.
    values = jnp.where(values == jnp.inf, 0 if zero_infinity else jnp.inf, values)
    return reduce(factors * values, where=where, weights=weights, reduction=reduction)


def _batch_shape(
    logits: ArrayLike, labels: ArrayLike, logit_lengths: ArrayLike, label_lengths: ArrayLike, blank: int
) -> tuple[int, ...]:
    shape, symbols = jnp.shape(logits), jnp.shape(labels)[-1:]
    batch, classes = shape[:-2], shape[-1]
    require_shape("labels", labels, (*batch, *symbols), f"for logits {shape}")
    require_shape("logit_lengths", logit_lengths, batch, f"for logits {shape}")
    require_shape("label_lengths", label_lengths, batch, f"for logits {shape}")
    require_option("blank", blank, range(classes))
    return batch


def _checked(
    labels: Array, logit_lengths: Array, label_lengths: Array, shape: tuple[int, ...], blank: int
) -> tuple[Array, Array, Array, Array]:
    """Labels with 0 beyond their length and where they are no symbol; the lengths; and 1, or NaN if one was not."""
    frames, classes = shape[-2:]
    listed = positions(labels, -1) < label_lengths[..., None]
    symbols = (labels >= 0) & (labels < classes) & (labels != blank)
    fitting = (logit_lengths >= 0) & (logit_lengths <= frames)
    fitting_labels = (label_lengths >= 0) & (label_lengths <= labels.shape[-1])
    labels = check_values("labels", labels, symbols | ~listed, f"in [0, {classes}) and not the blank, {blank}")
    logit_lengths = check_values("logit_lengths", logit_lengths, fitting, f"in [0, {frames}]")
    label_lengths = check_values("label_lengths", label_lengths, fitting_labels, f"in [0, {labels.shape[-1]}]")
    valid = jnp.all(symbols | ~listed, axis=-1) & fitting & fitting_labels
    return jnp.where(symbols & listed, labels, 0), logit_lengths, label_lengths, poison(valid)


def _blank_beyond(logits: Array, logit_lengths: Array, blank: int) -> Array:
    """Logits with a certain blank in the frames beyond the lengths: it changes no probability, so all may run on."""
    certain = jnp.where(positions(logits, -1) == blank, jnp.zeros_like(logits), -jnp.inf)
    return jnp.where(positions(logits, -2) < logit_lengths[..., None, None], logits, certain)
