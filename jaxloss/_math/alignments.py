"""Sums over the alignments of a sequence of labels with a longer sequence of frames."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .passes import at_labels


def log_alignments(log_probs: Array, labels: Array, label_lengths: Array, blank: int) -> Array:
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
    start = jnp.where(positions(emitted, -1) == 0, zeros, -jnp.inf), zeros[..., 1:] - jnp.inf
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


def positions(array: Array, axis: int) -> Array:
    return jax.lax.broadcasted_iota(jnp.int32, array.shape, array.ndim + axis)
