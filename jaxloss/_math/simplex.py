"""The equation that `entmax` solves, in forms in which its digits are not lost: rows of logits in, probabilities out.

The score of a class is its logit minus a threshold, the same for all classes of a row, for which the probabilities sum
to 1. With a = alpha - 1, a probability p that is not 0 has the score (pᵃ - 1) / a, or log p if a = 0.

A sort would find the threshold, but needs the whole class axis on one device. A loop that ends where its numbers say so
would be simpler than `_repeated`, but `checkify` cannot map it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .special import exponential_growth

State = TypeVar("State")


class Projection(NamedTuple):
    """The probabilities of rows of logits, and the scores of the classes."""

    probs: Array
    scores: Array


def solved(
    rows: Float[Array, "*batch classes"], top: Float[Array, "*batch 1"], a: float | Float[Array, ""]
) -> Projection:
    """The solution for rows of which some logit is finite, given the largest.

    An a of 1/2 or 1 that is a Python number needs no logarithms.
    """
    if isinstance(a, float):
        return _by_threshold(rows, top, a)
    projection: Projection = jax.lax.cond(a > 1, _by_smallest, _by_largest, rows, top, nonzero(a))
    return projection


def nonzero(a: Float[Array, ""]) -> Float[Array, ""]:
    """The number, or if that is about 0 one so small that formulas have the limit for 0 in all digits."""
    least = float(jnp.finfo(a.dtype).eps) ** 2
    return jnp.where(jnp.abs(a) < least, least, a)


def _by_threshold(rows: Array, top: Array, a: float) -> Projection:
    """For a = 1/2 and 1, from the gap at which probabilities become 0.

    A gap is how far a logit lies below the largest one of its row. Wanted is the number t for which
    Σ max(0, a (t - gap))^(1/a) is 1.
    """
    gaps = top - rows

    def parts(threshold: Array) -> tuple[Array, Array]:
        inside = ~(gaps >= threshold)  # written so that NaN stays NaN
        return inside, jnp.where(inside, 1 - jnp.where(inside, gaps, 0) / threshold, 0)

    # Newton's method, on the norm of the margins with exponent 1/a, which is convex. At a = 1 it is linear in pieces,
    # so that the steps end at the solution exactly.
    def newton(threshold: Array) -> Array:
        inside, fractions = parts(threshold)
        slopes = inside.astype(rows.dtype) if a == 1 else fractions
        total = jnp.sum(slopes * fractions, axis=-1, keepdims=True)
        spread = jnp.sum(slopes * jnp.where(inside, gaps, 0), axis=-1, keepdims=True)
        return (total ** (1 - a) / a + spread) / jnp.sum(slopes, axis=-1, keepdims=True)

    # The solution for a single class, which has gap 0 and probability 1. (The minimum is 0, or NaN.)
    widest = jnp.min(gaps, axis=-1, keepdims=True) + 1 / a
    threshold = _descended(newton, widest, _steps(rows, a))
    inside, fractions = parts(threshold)
    if a == 1:
        probs = jnp.where(inside, threshold - gaps, 0)
    else:  # The power magnifies the error of the threshold. Dividing by the sum makes up for it.
        weights = jnp.square(fractions)
        probs = weights / jnp.sum(weights, axis=-1, keepdims=True)
    return Projection(probs, threshold - gaps - 1 / a)


def _by_largest(rows: Array, top: Array, a: Array) -> Projection:
    """For an a up to 1, from the log of the largest probability u: the others are u (1 - a gap / uᵃ)^(1/a)."""
    gaps = top - rows

    def sums(log: Array) -> tuple[Array, Array, Array]:
        losses = a * gaps * jnp.exp(-a * log)
        inside = ~(losses >= 1)
        losses = jnp.where(inside, losses, 0)
        weights = jnp.where(inside, jnp.exp(jnp.log1p(-losses) / a), 0)
        return (
            weights,
            jnp.sum(weights, axis=-1, keepdims=True),
            jnp.sum(weights / (1 - losses), axis=-1, keepdims=True),
        )

    # As above, in logs.
    def newton(log: Array) -> Array:
        _, total, slope = sums(log)
        return log + jnp.log1p(total / slope * jnp.expm1(-a * (log + jnp.log(total)))) / a

    weights, total, _ = sums(_descended(newton, jnp.zeros_like(top), _steps(rows, 1)))
    return Projection(weights / total, exponential_growth(-jnp.log(total), a) - gaps)


def _by_smallest(rows: Array, top: Array, a: Array) -> Projection:
    """For an a above 1, from the smallest probability v that is not 0: the others are (vᵃ + a lead)^(1/a).

    A lead is how far a logit lies above that of the smallest probability. None of the others moves more than v does. If
    the largest were given instead, a small one would move so much more that it had no digits.
    """
    last = _last(rows, top, a)
    inside = rows >= last
    leads = jnp.where(inside, rows - last, 0)
    tiny = jnp.finfo(rows.dtype).tiny

    def sums(least: Array) -> tuple[Array, Array, Array]:
        powers = jnp.maximum(least**a + a * leads, tiny)
        probs = jnp.where(leads > 0, jnp.exp(jnp.log(powers) / a), jnp.where(inside, least, 0))
        slopes = jnp.where(leads > 0, least ** (a - 1) * probs / powers, jnp.where(inside, 1, 0))
        return probs, jnp.sum(probs, axis=-1, keepdims=True), jnp.sum(slopes, axis=-1, keepdims=True)

    # The sum is convex.
    def newton(least: Array) -> Array:
        _, total, slope = sums(least)
        return jnp.maximum(least - (total - 1) / slope, tiny)

    equal = 1 / jnp.sum(inside, axis=-1, keepdims=True, dtype=rows.dtype)
    least = _descended(newton, equal, _steps(rows, 1))
    return Projection(sums(least)[0], exponential_growth(jnp.log(least), a) + (rows - last))


def _last(rows: Array, top: Array, a: Array) -> Array:
    """The lowest logit whose probability is not 0: with it as the threshold, the probabilities sum to less than 1.

    Bisection, over all numbers of the dtype: between two logits that nearly tie the sum may leap.
    """

    def bisect(bounds: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        low, high = bounds
        middle = (low & high) + ((low ^ high) >> 1)  # the mean, where the sum would overflow
        margins = a * (rows - _in_order(middle, rows.dtype))
        inside = margins > 0
        probs = jnp.where(inside, jnp.exp(jnp.log(jnp.where(inside, margins, 1)) / a), 0)
        outside = jnp.sum(probs, axis=-1, keepdims=True) >= 1
        return (jnp.where(outside, middle, low), jnp.where(outside, high, middle)), jnp.any(low < middle)

    bits = jnp.finfo(rows.dtype).bits
    integer = jnp.dtype(f"int{bits}")
    _, least = _repeated(bisect, (_in_order(top - 1 / a, integer), _in_order(top, integer)), bits)
    return jnp.min(jnp.where(rows < _in_order(least, rows.dtype), jnp.inf, rows), axis=-1, keepdims=True)


def _in_order(x: Array, dtype: Any) -> Array:
    """Floating numbers as integers that are in the same order, or such integers as floating numbers again."""
    integer = f"int{jnp.finfo(dtype).bits}" if jnp.issubdtype(dtype, jnp.floating) else dtype
    bits = jax.lax.bitcast_convert_type(x, integer)
    bits = jnp.where(bits < 0, bits ^ jnp.iinfo(integer).max, bits)
    return jax.lax.bitcast_convert_type(bits, dtype)


def _descended(newton: Callable[[Array], Array], start: Array, steps: int) -> Array:
    """The solution that Newton's steps come down to. The minimum keeps rounding errors from making them circle."""

    def step(x: Array) -> tuple[Array, Array]:
        lower = jnp.minimum(x, newton(x))
        return lower, jnp.any(lower < x)

    return _repeated(step, start, steps)


def _steps(rows: Array, a: float) -> int:
    """How many of Newton's steps are enough: one more than the most found over a million rows, bred to need many.

    Each step halves the excess of the sum or the slope. Once both are small, the number of digits doubles.
    """
    return math.ceil(a * math.log2(max(rows.shape[-1], 1))) + 5


def _repeated(step: Callable[[State], tuple[State, Array]], start: State, most: int) -> State:
    """The state after as many steps, or fewer: a step returns the next state, and whether another one is needed."""

    def unless_done(_: int | Array, state: tuple[State, Array]) -> tuple[State, Array]:
        after: tuple[State, Array] = jax.lax.cond(state[1], lambda x, _: step(x), lambda x, going: (x, going), *state)
        return after

    last: tuple[State, Array] = jax.lax.fori_loop(1, most, unless_done, step(start))
    return last[0]
