"""Losses between sequences of different lengths."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from ._core import (
    Mask,
    Reduction,
    Weights,
    at_labels,
    check_values,
    loss_function,
    poison,
    reduce,
    require_option,
    require_shape,
    shielded,
)
from ._softmax import log_softmax


@loss_function(static=("blank", "zero_infinity"))
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
        A scalar, or with reduction "none" the shape of `logit_lengths`; float32, or float64 if an input is.

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
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    logit_lengths, label_lengths = jnp.asarray(logit_lengths), jnp.asarray(label_lengths)
    batch = _batch_shape(logits, labels, logit_lengths, label_lengths, blank)
    logits, labels, logit_lengths, label_lengths = shielded(
        where, batch, logits=logits, labels=labels, logit_lengths=logit_lengths, label_lengths=label_lengths
    )
    labels, validity = _valid_labels(labels, logits.shape, logit_lengths, label_lengths, blank)
    # The logits are poisoned first: a wrong label may leave no alignment, and then no gradient to poison.
    logits = validity[..., None, None] * logits
    # Padding of any kind must not reach the maths either.
    logits = jnp.where(_positions(logits, -2) < logit_lengths[..., None, None], logits, 0)
    values = -_log_alignments(log_softmax(logits), labels, logit_lengths, label_lengths, blank)
    if zero_infinity:
        values = jnp.where(values == jnp.inf, 0, values)
    return reduce(validity * values, where=where, weights=weights, reduction=reduction)


def _batch_shape(
    logits: Array, labels: Array, logit_lengths: Array, label_lengths: Array, blank: int
) -> tuple[int, ...]:
    batch, classes, symbols = logits.shape[:-2], logits.shape[-1], labels.shape[-1:]
    require_shape("labels", labels, (*batch, *symbols), f"for logits {logits.shape}")
    require_shape("logit_lengths", logit_lengths, batch, f"for logits {logits.shape}")
    require_shape("label_lengths", label_lengths, batch, f"for logits {logits.shape}")
    require_option("blank", blank, range(classes))
    return batch


def _valid_labels(
    labels: Array, shape: tuple[int, ...], logit_lengths: Array, label_lengths: Array, blank: int
) -> tuple[Array, Array]:
    """Labels with 0 beyond their length and where they are no symbol, and a factor of 1, or NaN if one was not."""
    frames, classes = shape[-2:]
    listed = _positions(labels, -1) < label_lengths[..., None]
    symbols = (labels >= 0) & (labels < classes) & (labels != blank)
    fitting = (logit_lengths >= 0) & (logit_lengths <= frames)
    fitting_labels = (label_lengths >= 0) & (label_lengths <= labels.shape[-1])
    check_values(symbols | ~listed, labels, f"labels must be in [0, {classes}) and not the blank, {blank}")
    check_values(fitting, logit_lengths, f"logit_lengths must be in [0, {frames}]")
    check_values(fitting_labels, label_lengths, f"label_lengths must be in [0, {labels.shape[-1]}]")
    valid = jnp.all(symbols | ~listed, axis=-1) & fitting & fitting_labels
    return jnp.where(symbols & listed, labels, 0), poison(valid)


def _log_alignments(log_probs: Array, labels: Array, logit_lengths: Array, label_lengths: Array, blank: int) -> Array:
    """The forward algorithm, in logs: -inf where there is no alignment."""
    # States: a blank before, between and after the labels. A path may stay, advance, or jump over a blank that
    # stands between different labels.
    between = jnp.stack([jnp.full_like(labels, blank), labels], axis=-1)
    states = between.reshape(*labels.shape[:-1], 2 * labels.shape[-1])
    states = jnp.pad(states, [(0, 0)] * (states.ndim - 1) + [(0, 1)], constant_values=blank)
    jumps = (states != blank) & (states != _delayed(states, 2, blank))
    emissions = jnp.moveaxis(jnp.take_along_axis(log_probs, states[..., None, :], axis=-1), -2, 0)

    def step(forward: Array, frame: tuple[Array, Array]) -> tuple[Array, None]:
        emission, time = frame
        stay, advance, jump = forward, _delayed(forward, 1, -jnp.inf), _delayed(forward, 2, -jnp.inf)
        arrived = _log_sum(jnp.stack([stay, advance, jnp.where(jumps, jump, -jnp.inf)])) + emission
        return jnp.where(time < logit_lengths[..., None], arrived, forward), None

    # Before the first frame all mass is on the first blank: staying there and advancing are the two ways to begin.
    # Made of the states, which carry the sharding that the loop has to keep.
    start = jnp.where(_positions(states, -1) == 0, jnp.zeros_like(states, log_probs.dtype), -jnp.inf)
    forward, _ = jax.lax.scan(step, start, (emissions, jnp.arange(log_probs.shape[-2], dtype=jnp.int32)))
    last_blank = at_labels(forward, 2 * label_lengths)
    last_label = jnp.where(label_lengths > 0, at_labels(forward, jnp.maximum(2 * label_lengths - 1, 0)), -jnp.inf)
    return _log_sum(jnp.stack([last_blank, last_label]))


def _log_sum(terms: Array) -> Array:
    """Sums numbers given by their logs, over the first axis; an empty sum is -inf, with gradient 0."""
    top = jnp.max(jax.lax.stop_gradient(terms), axis=0, keepdims=True)
    top = jnp.where(top == -jnp.inf, 0, top)
    total = jnp.sum(jnp.exp(terms - top), axis=0)
    empty = total == 0
    return jnp.where(empty, -jnp.inf, jnp.log(jnp.where(empty, 1, total)) + top[0])


def _delayed(states: Array, steps: int, fill: float) -> Array:
    padding = [(0, 0)] * (states.ndim - 1) + [(steps, 0)]
    return jnp.pad(states, padding, constant_values=fill)[..., : states.shape[-1]]


def _positions(array: Array, axis: int) -> Array:
    return jax.lax.broadcasted_iota(jnp.int32, array.shape, array.ndim + axis)
