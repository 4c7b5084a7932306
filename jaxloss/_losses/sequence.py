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
    """Connectionist temporal classification: negative log-likelihood of a label sequence, over all its alignments.

        -log Σ_π Π_t p_t(π_t)

    The sum is over the alignments: sequences π of one class per frame that become the labels when repeated classes are
    merged and then blanks are dropped. For speech and handwriting, where nobody knows which frame shows which symbol.
    If there is no alignment, for example with too few frames, the loss is inf and its gradient is 0.

    The mean is over sequences, as in optax. PyTorch first divides each loss by its label length, and has the axis of
    frames before that of the batch.

    Args:
        logits: Logits or log-probabilities, shape (..., frames, classes).
        labels: Integer classes other than `blank`, shape (..., symbols). Entries beyond the length of a sequence have
            no effect. Within it, a label that is no class, or is the blank, makes the loss and its gradient NaN.
        logit_lengths: Number of frames of each sequence, in [0, frames], shape (...). Any other number makes the loss
            and its gradient NaN.
        label_lengths: Number of labels of each sequence, in [0, symbols], shape (...). Any other number makes the loss
            and its gradient NaN.
        blank: The class that means "no symbol".
        zero_infinity: Whether the loss is 0 instead of inf if there is no alignment.
        where, weights, reduction: As in `jaxloss.reduce`, per sequence.

    Returns:
        A scalar, or with reduction "none" the shape of `logit_lengths`.

    Raises:
        ValueError: Shapes do not fit together, or `blank` is no class.

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
    labels, logit_lengths, label_lengths, factors = _checked_labels_and_lengths(
        labels, logit_lengths, label_lengths, logits.shape, blank
    )
    # The logits are poisoned as well as the loss: if a bad label leaves no alignment, the loss passes no gradient on.
    logits = factors[..., None, None] * logits
    logits = _blank_beyond_lengths(logits, logit_lengths, blank)
    values = -log_alignments(log_softmax(logits), labels, label_lengths, blank)
    # The loss without an alignment is selected as a constant, so that its gradient is 0.
    values = jnp.where(values == jnp.inf, 0 if zero_infinity else jnp.inf, values)
    return reduce(factors * values, where=where, weights=weights, reduction=reduction)


def _batch_shape(
    logits: ArrayLike, labels: ArrayLike, logit_lengths: ArrayLike, label_lengths: ArrayLike, blank: int
) -> tuple[int, ...]:
    """Checks the shapes, and returns the shape of the unreduced loss."""
    shape, symbols = jnp.shape(logits), jnp.shape(labels)[-1:]
    batch, classes = shape[:-2], shape[-1]
    require_shape("labels", labels, (*batch, *symbols), f"for logits {shape}")
    require_shape("logit_lengths", logit_lengths, batch, f"for logits {shape}")
    require_shape("label_lengths", label_lengths, batch, f"for logits {shape}")
    require_option("blank", blank, range(classes))
    return batch


def _checked_labels_and_lengths(
    labels: Array, logit_lengths: Array, label_lengths: Array, shape: tuple[int, ...], blank: int
) -> tuple[Array, Array, Array, Array]:
    """Attaches the value checks of labels and lengths, given the shape of the logits.

    Returns:
        The labels, with 0 beyond their length and in place of bad ones; both lengths; and a factor for each sequence,
        which is NaN if a label or a length is bad, else 1.
    """
    frames, classes = shape[-2:]
    within_length = positions(labels, -1) < label_lengths[..., None]
    is_symbol = (labels >= 0) & (labels < classes) & (labels != blank)
    valid_labels = is_symbol | ~within_length
    valid_logit_lengths = (logit_lengths >= 0) & (logit_lengths <= frames)
    valid_label_lengths = (label_lengths >= 0) & (label_lengths <= labels.shape[-1])
    labels = check_values("labels", labels, valid_labels, f"in [0, {classes}) and not the blank, {blank}")
    logit_lengths = check_values("logit_lengths", logit_lengths, valid_logit_lengths, f"in [0, {frames}]")
    label_lengths = check_values("label_lengths", label_lengths, valid_label_lengths, f"in [0, {labels.shape[-1]}]")
    valid = jnp.all(valid_labels, axis=-1) & valid_logit_lengths & valid_label_lengths
    return jnp.where(is_symbol & within_length, labels, 0), logit_lengths, label_lengths, poison(valid)


def _blank_beyond_lengths(logits: Array, logit_lengths: Array, blank: int) -> Array:
    """Logits with probability 1 of the blank in all frames beyond the lengths.

    Such frames change no alignment's probability, so that all sequences can have the same number of frames.
    """
    certain_blank = jnp.where(positions(logits, -1) == blank, jnp.zeros_like(logits), -jnp.inf)
    return jnp.where(positions(logits, -2) < logit_lengths[..., None, None], logits, certain_blank)
