"""Maps of logits onto the simplex that give low classes a probability of exactly 0.

With a = alpha - 1, the probability p of a class is that with (pᵃ - 1)/a = s, its score, which is the logit less a
threshold that makes the sum of all 1; it is 0 where that has no solution. At a = 0 the score is log p.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .arithmetic import finite, poison, power, ratio
from .dtypes import Scalar
from .special import exponential_growth

State = TypeVar("State")


class Projection(NamedTuple):
    """A distribution made of a row of logits.

    Attributes:
        probs: The probabilities.
        scores: The logits less the threshold.
    """

    probs: Array
    scores: Array


@jax.tree_util.register_static
class Constant(float):
    """An alpha that is part of the program: 1.5 or 2, for which no logarithm is needed."""


Alpha = Constant | Float[Array, ""]


def constant_or_traced(alpha: Scalar, dtype: Any) -> Alpha:
    is_constant = isinstance(alpha, (int, float)) and alpha in (1.5, 2)
    return Constant(alpha) if is_constant else jnp.asarray(alpha, dtype)


@jax.custom_jvp
def projected(logits: Float[Array, "*batch classes"], alpha: Alpha) -> Projection:
    """The distribution of each row; zeros where all classes are ruled out."""
    top, empty = finite(jnp.max(logits, axis=-1, keepdims=True))
    rows = jnp.where(empty, 0, logits)
    if isinstance(alpha, Constant):
        projection = _by_reach(rows, top, float(alpha) - 1)
    else:
        projection = jax.lax.cond(alpha > 2, _by_smallest, _by_largest, rows, top, nonzero(alpha - 1))
    probs = jnp.where(logits == -jnp.inf, 0, projection.probs)
    return Projection(probs * poison(top < jnp.inf), projection.scores)


@projected.defjvp
def _projected_jvp(primals: tuple[Array, Alpha], tangents: tuple[Array, Any]) -> tuple[Projection, Projection]:
    projection, alpha = projected(*primals), primals[1]
    probs = projection.probs
    slopes, shares = slopes_and_shares(probs, alpha)
    forces = tangents[0] - score_drift(probs, alpha, tangents[1])
    threshold = jnp.sum(shares * forces, axis=-1, keepdims=True)
    if isinstance(alpha, Constant):
        moved = slopes * (forces - threshold)
    else:
        # The steepest class gets what the others lose: its own slope may be beyond the dtype.
        steepest = shares == jnp.max(shares, axis=-1, keepdims=True)
        count = jnp.sum(steepest, axis=-1, keepdims=True, dtype=probs.dtype)
        forces = forces - jnp.sum(jnp.where(steepest, forces, 0), axis=-1, keepdims=True) / count
        moved = jnp.where(steepest & (count == 1), 0, slopes * forces)  # not what rounding leaves of that 0
        moved = moved - shares * jnp.sum(moved, axis=-1, keepdims=True)
    return projection, Projection(moved, tangents[0] - threshold)


def slopes_and_shares(probs: Array, alpha: Alpha) -> tuple[Array, Array]:
    """What probabilities move by when their scores do, p²⁻ᵃˡᵖʰᵃ, and those slopes over their sum."""
    if isinstance(alpha, Constant):
        slopes = power(probs, 2 - float(alpha))
        return slopes, ratio(slopes, jnp.sum(slopes, axis=-1, keepdims=True))
    present = probs > 0
    logs = (2 - alpha) * jnp.log(jnp.where(present, probs, 1))
    largest = jnp.max(jnp.where(present, logs, -jnp.inf), axis=-1, keepdims=True)
    relative = jnp.where(present, jnp.exp(jnp.where(present, logs - largest, 0)), 0)
    limit = math.log(jnp.finfo(probs.dtype).max) / 2
    slopes = jnp.where(present, jnp.exp(jnp.minimum(logs, limit)), 0)
    return slopes, ratio(relative, jnp.sum(relative, axis=-1, keepdims=True))


def score_drift(probs: Array, alpha: Alpha, tangent: Any) -> Array | int:
    """What the scores of these probabilities move by with alpha."""
    if isinstance(alpha, Constant):
        return 0
    logs = jnp.log(jnp.where(probs > 0, probs, 1))
    drift: Array = jax.jvp(lambda alpha: exponential_growth(logs, alpha - 1), (alpha,), (tangent,))[1]
    return drift


def nonzero(x: Float[Array, ""]) -> Float[Array, ""]:
    """A number that may be divided by: so near to 0, formulas equal their limits in all digits."""
    least = float(jnp.finfo(x.dtype).eps) ** 2
    return jnp.where(jnp.abs(x) < least, least, x)


# --- the threshold ----------------------------------------------------------------------------------------------------
# No sort: that would need the class axis whole. And no loop whose end depends on numbers, which `checkify` cannot map.
# Newton's method on a convex function comes down to the root, and either the value or the slope halves with a step:
# after as many as would halve the number of classes to 1 it is quadratic.


def _by_reach(rows: Array, top: Array, a: float) -> Projection:
    """For a = 1/2 and 1, from the reach: how far below the top a logit has to lie for a probability of 0.

    That is where Σ max(0, a (reach - gap))^(1/a) is 1.
    """
    gaps = top - rows

    def fractions(reach: Array) -> tuple[Array, Array]:
        inside = ~(gaps >= reach)  # so that NaN is
        return inside, jnp.where(inside, 1 - jnp.where(inside, gaps, 0) / reach, 0)

    # Newton's method for the norm with exponent 1/a. It is linear in pieces at a = 1, so that it ends there.
    def newton(reach: Array) -> Array:
        inside, parts = fractions(reach)
        weights, slopes = (parts, inside.astype(parts.dtype)) if a == 1 else (jnp.square(parts), parts)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        spread = jnp.sum(slopes * jnp.where(inside, gaps, 0), axis=-1, keepdims=True)
        return (total ** (1 - a) / a + spread) / jnp.sum(slopes, axis=-1, keepdims=True)

    start = jnp.min(gaps, axis=-1, keepdims=True) + 1 / a  # a single class has gap 0 and probability 1
    reach = _descended(newton, start, _steps(rows, a))
    if a == 1:
        probs = jnp.where(gaps >= reach, 0, reach - gaps)
    else:  # a power multiplies what the threshold is off by: the sum makes up for it
        weights = jnp.square(fractions(reach)[1])
        probs = weights / jnp.sum(weights, axis=-1, keepdims=True)
    return Projection(probs, reach - gaps - 1 / a)


def _by_largest(rows: Array, top: Array, a: Array) -> Projection:
    """For a up to 1, from the log of the largest probability u: all others are u (1 - a gap/uᵃ)^(1/a)."""
    gaps = top - rows

    def sums(log: Array) -> tuple[Array, Array, Array]:
        scaled = a * gaps * jnp.exp(-a * log)
        inside = ~(scaled >= 1)
        left = jnp.where(inside, scaled, 0)
        weights = jnp.where(inside, jnp.exp(jnp.log1p(-left) / a), 0)
        return weights, jnp.sum(weights, axis=-1, keepdims=True), jnp.sum(weights / (1 - left), axis=-1, keepdims=True)

    # For the same norm, in logs.
    def newton(log: Array) -> Array:
        _, total, slope = sums(log)
        return log + jnp.log1p(total / slope * jnp.expm1(-a * (log + jnp.log(total)))) / a

    weights, total, _ = sums(_descended(newton, jnp.zeros_like(top), _steps(rows, 1)))
    return Projection(weights / total, exponential_growth(-jnp.log(total), a) - gaps)


def _by_smallest(rows: Array, top: Array, a: Array) -> Projection:
    """For a from 1 on, from the smallest probability v that is not 0: others are (vᵃ + a (logit - its logit))^(1/a).

    These move less than v does. A small probability would move more than the largest, and get no digits from it.
    """
    last = _last(rows, top, a)
    inside = rows >= last
    leads = jnp.where(inside, rows - last, 0)

    def sums(least: Array) -> tuple[Array, Array, Array]:
        powers = jnp.maximum(least**a + a * leads, jnp.finfo(rows.dtype).tiny)
        probs = jnp.where(leads > 0, jnp.exp(jnp.log(powers) / a), jnp.where(inside, least, 0))
        slopes = jnp.where(leads > 0, least ** (a - 1) * probs / powers, jnp.where(inside, 1, 0))
        return probs, jnp.sum(probs, axis=-1, keepdims=True), jnp.sum(slopes, axis=-1, keepdims=True)

    def newton(least: Array) -> Array:
        _, total, slope = sums(least)
        return jnp.maximum(least - (total - 1) / slope, jnp.finfo(rows.dtype).tiny)

    start = 1 / jnp.sum(inside, axis=-1, keepdims=True, dtype=rows.dtype)
    least = _descended(newton, start, _steps(rows, 1))
    return Projection(sums(least)[0], exponential_growth(jnp.log(least), a) + rows - last)


def _last(rows: Array, top: Array, a: Array) -> Array:
    """The lowest logit with a probability: that for which Σ (a (logit - it))^(1/a) over all higher ones is below 1.

    Bisection goes through all numbers of the dtype: between two classes that nearly tie, the sum may leap.
    """

    def halved(bounds: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        low, high = bounds
        middle = (low & high) + ((low ^ high) >> 1)
        number = _in_order(middle, rows.dtype)
        leads = jnp.where(rows > number, a * (rows - number), 0)
        total = jnp.sum(
            jnp.where(leads > 0, jnp.exp(jnp.log(jnp.where(leads > 0, leads, 1)) / a), 0), axis=-1, keepdims=True
        )
        below = total >= 1
        return (jnp.where(below, middle, low), jnp.where(below, high, middle)), jnp.any(low < middle)

    bits = jnp.finfo(rows.dtype).bits
    integer = jnp.dtype(f"int{bits}")
    _, high = _repeated(halved, (_in_order(top - 1 / a, integer), _in_order(top, integer)), bits)
    return jnp.min(jnp.where(rows < _in_order(high, rows.dtype), jnp.inf, rows), axis=-1, keepdims=True)


def _in_order(x: Array, dtype: Any) -> Array:
    """Numbers as integers in the same order, and back."""
    bits = (
        x if jnp.issubdtype(x.dtype, jnp.integer) else jax.lax.bitcast_convert_type(x, f"int{jnp.finfo(x.dtype).bits}")
    )
    bits = jnp.where(bits < 0, bits ^ jnp.iinfo(bits.dtype).max, bits)
    return bits if dtype == bits.dtype else jax.lax.bitcast_convert_type(bits, dtype)


def _descended(newton: Callable[[Array], Array], start: Array, steps: int) -> Array:
    """A root from above; the minimum keeps rounding from going in circles."""

    def step(x: Array) -> tuple[Array, Array]:
        lower = jnp.minimum(x, newton(x))
        return lower, jnp.any(lower < x)

    return _repeated(step, start, steps)


def _repeated(step: Callable[[State], tuple[State, Array]], start: State, steps: int) -> State:
    """What a step, repeated so often, leads to. It says whether another is needed: none is made that is not."""
    state: tuple[State, Array] = jax.lax.fori_loop(
        1,
        steps,
        lambda _, state: jax.lax.cond(state[1], lambda x, _: step(x), lambda x, on: (x, on), *state),
        step(start),
    )
    return state[0]


def _steps(rows: Array, a: float) -> int:
    return math.ceil(a * math.log2(max(rows.shape[-1], 1))) + 4
