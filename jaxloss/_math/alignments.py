"""Sums over the alignments of a sequence of labels with a longer sequence of frames."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .indexing import taken
from .passes import at_labels


def log_alignments(log_probs: Array, labels: Array, label_lengths: Array, blank: int) -> Array:
    """The log of the total probability of all alignments, log Σ_π Π_t p_t(π_t), by the forward algorithm.

    An alignment π is a path through states: the blank before the first label, and each label with the blank after it.
    From frame to frame a path may stay in its state, go on to the next state, or go from a label straight to the next
    label if the two differ.

    In reverse mode this is the backward algorithm: the cotangent of a state is its probability given the labels, and
    `_log_add` divides it among the previous states. Of each frame only these shares are stored.

    Args:
        log_probs: Log-probabilities of the classes, shape (..., frames, classes).
        labels: Integer classes, shape (..., symbols).
        label_lengths: Number of labels of each sequence, shape (...).
        blank: The class of the blank.

    Returns:
        Shape (...); -inf where there is no alignment.
    """
    emitted = _prepended(blank, labels)  # the blank stands only once: its log-probability is that of all blank states
    repeated = labels == emitted[..., :-1]

    def step(forward: tuple[Array, Array], frame: Array) -> tuple[tuple[Array, Array], None]:
        # Emissions are selected frame by frame: selected before the loop, those of all frames would be in memory.
        emissions = taken(frame, emitted)
        blanks, symbols = forward
        at_blanks = _log_add(blanks, _prepended(-jnp.inf, symbols))
        entering = jnp.where(repeated, blanks[..., :-1], at_blanks[..., :-1])
        return (at_blanks + emissions[..., :1], _log_add(symbols, entering) + emissions[..., 1:]), None

    # The log-probabilities of the states, blanks and labels apart. Before the first frame all probability is on the
    # first blank: to stay there and to go on to the first label are the two ways to begin.
    # The zeros depend on all arguments, so that the start is sharded, and varies over mesh axes, as the results do.
    zeros = jnp.zeros_like(emitted, log_probs.dtype) + jnp.sum(jnp.zeros_like(log_probs), axis=-2)[..., :1]
    start = jnp.where(positions(emitted, -1) == 0, zeros, -jnp.inf), zeros[..., 1:] - jnp.inf
    (blanks, symbols), _ = jax.lax.scan(step, start, jnp.moveaxis(log_probs, -2, 0))
    return at_labels(_log_add(blanks, _prepended(-jnp.inf, symbols)), label_lengths)


def positions(array: Array, axis: int) -> Array:
    """The index of each entry along a negative axis, in the shape of the array."""
    return jax.lax.broadcasted_iota(jnp.int32, array.shape, array.ndim + axis)


def _prepended(first: float, entries: Array) -> Array:
    padding = [(0, 0)] * (entries.ndim - 1) + [(1, 0)]
    return jnp.pad(entries, padding, constant_values=first)


@jax.custom_jvp
def _log_add(a: Array, b: Array) -> Array:
    """The log of exp(a) + exp(b)."""
    return _log_sum_and_share(a, b)[0]


# The derivative stores only the share, which is finite also where a or b is -inf. Plain autodiff would store more.
@_log_add.defjvp
def _log_add_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    a_tangent, b_tangent = tangents
    log_sum, share = _log_sum_and_share(*primals)
    return log_sum, b_tangent + share * (a_tangent - b_tangent)


def _log_sum_and_share(a: Array, b: Array) -> tuple[Array, Array]:
    """The log of exp(a) + exp(b), which is -inf where both are, and the share of exp(a) in the sum.

    The larger term is selected by `where`, because second derivatives go through these operations: a maximum or an
    absolute value would have a kink where a and b are equal.
    """
    a_is_larger = a >= b
    larger, smaller = jnp.where(a_is_larger, a, b), jnp.where(a_is_larger, b, a)
    ratio = jnp.exp(smaller - jnp.where(larger == -jnp.inf, 0, larger))
    return larger + jnp.log(1 + ratio), jnp.where(a_is_larger, 1, ratio) / (1 + ratio)
