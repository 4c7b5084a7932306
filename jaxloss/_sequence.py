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
    labels, logit_lengths, label_lengths, validity = _checked(labels, logit_lengths, label_lengths, logits.shape, blank)
    # The logits are poisoned first: a wrong label may leave no alignment, and then no gradient to poison.
    logits = validity[..., None, None] * logits
    logits = _blank_beyond(logits, logit_lengths, blank)
    values = -_log_alignments(log_softmax(logits), labels, label_lengths, blank)
    # Without an alignment the loss is a constant, whose gradient is 0.
    values = jnp.where(values == jnp.inf, 0 if zero_infinity else jnp.inf, values)
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


def _checked(
    labels: Array, logit_lengths: Array, label_lengths: Array, shape: tuple[int, ...], blank: int
) -> tuple[Array, Array, Array, Array]:
    """Labels with 0 beyond their length and where they are no symbol; the lengths; and 1, or NaN if one was not."""
    frames, classes = shape[-2:]
    listed = _positions(labels, -1) < label_lengths[..., None]
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
    certain = jnp.where(_positions(logits, -1) == blank, jnp.zeros_like(logits), -jnp.inf)
    return jnp.where(_positions(logits, -2) < logit_lengths[..., None, None], logits, certain)


def _log_alignments(log_probs: Array, labels: Array, label_lengths: Array, blank: int) -> Array:
    """The forward algorithm: log Σ_π Π_t p_t(π_t) over the alignments π, -inf where there is none.

    The states of a path are the labels, the blank before the first and those after each: `symbols` and `blanks` hold
    the log-probabilities of having come to them. A path may stay, advance to the next state, or go from a label
    straight to the next if that is a different one.

    Differentiated in reverse, this is the backward algorithm: what flows back is the probability of each state given
    the labels, and `_log_add` divides it among the states before. Its shares are all that is kept of a frame.
    """
    emitted = _after(blank, labels)  # one blank stands for all
    repeated = labels == emitted[..., :-1]

    def step(forward: tuple[Array, Array], frame: Array) -> tuple[tuple[Array, Array], None]:
        # Picked out here and not before the loop, emissions are never held for all frames at once.
        emissions = jnp.take_along_axis(frame, emitted, axis=-1, mode="promise_in_bounds")
        blanks, symbols = forward
        arrived = _log_add(blanks, _after(-jnp.inf, symbols))
        entering = jnp.where(repeated, blanks[..., :-1], arrived[..., :-1])
        return (arrived + emissions[..., :1], _log_add(symbols, entering) + emissions[..., 1:]), None

    # Before the first frame all mass is on the first blank: staying there and advancing are the two ways to begin.
    # Made of all the arguments, so that it is sharded as the loop's results are, and varies over what they vary over.
    zeros = jnp.zeros_like(emitted, log_probs.dtype) + jnp.sum(jnp.zeros_like(log_probs), axis=-2)[..., :1]
    start = jnp.where(_positions(emitted, -1) == 0, zeros, -jnp.inf), zeros[..., 1:] - jnp.inf
    (blanks, symbols), _ = jax.lax.scan(step, start, jnp.moveaxis(log_probs, -2, 0))
    return at_labels(_log_add(blanks, _after(-jnp.inf, symbols)), label_lengths)


@jax.custom_jvp
def _log_add(a: Array, b: Array) -> Array:
    """The log of exp(a) + exp(b)."""
    return _sum_and_share(a, b)[0]


# The share is all that the way back takes: no exponential, and no care for -inf. Plain autodiff keeps more than that.
@_log_add.defjvp
def _log_add_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    a_tangent, b_tangent = tangents
    total, share = _sum_and_share(*primals)
    return total, b_tangent + share * (a_tangent - b_tangent)


def _sum_and_share(a: Array, b: Array) -> tuple[Array, Array]:
    """The log of exp(a) + exp(b), -inf where both are, and the share of exp(a) in it.

    Second derivatives are those of these operations, which therefore select the larger term: a maximum or an absolute
    value has a kink where both are equal.
    """
    first = a >= b
    larger, smaller = jnp.where(first, a, b), jnp.where(first, b, a)
    ratio = jnp.exp(smaller - jnp.where(larger == -jnp.inf, 0, larger))
    return larger + jnp.log(1 + ratio), jnp.where(first, 1, ratio) / (1 + ratio)


def _after(first: float, entries: Array) -> Array:
    padding = [(0, 0)] * (entries.ndim - 1) + [(1, 0)]
    return jnp.pad(entries, padding, constant_values=first)


def _positions(array: Array, axis: int) -> Array:
    return jax.lax.broadcasted_iota(jnp.int32, array.shape, array.ndim + axis)
