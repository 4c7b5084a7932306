"""Sums, quotients, powers and limits whose values and derivatives stay finite where the truth is."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from .dtypes import Scalar

# --- limits and kinks -------------------------------------------------------------------------------------------------


def hinge(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """max(0, x). Exactly at 0 the gradient is that of the sloped side, so that equal scores still part."""
    # Written so that NaN stays NaN.
    return jnp.where(x < 0, 0, x)


def absolute(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|x|, with gradient 0 at 0, where that of `jnp.abs` is 1."""
    return x * jnp.sign(x)


def at_least(x: Float[Array, "*shape"], least: Scalar) -> Float[Array, "*shape"]:
    """The larger of both, with gradient 0 for an x up to the least: that of `jnp.maximum` is NaN if it meets inf."""
    return jnp.where(x <= least, least, x)


def smooth_absolute(x: Float[Array, "*shape"], beta: Scalar) -> Float[Array, "*shape"]:
    """|x|, but a parabola within ±beta, which may be 0."""
    # A beta whose square leaves the dtype is as good as 0, and dividing by it would have no derivative.
    sharp = jnp.less(beta, math.sqrt(jnp.finfo(x.dtype).tiny))
    divisor = jnp.where(sharp, 1, beta)
    distances = absolute(x)
    near = (x == 0) | (~sharp & (distances < beta))
    small = jnp.where(near, x, 0)
    return jnp.where(near, small * (small / divisor) / 2, distances - beta / 2)


def left_out(option: Scalar) -> bool:
    """Whether an option kept its default of 0: that is a Python constant, and its term need not be in the program."""
    return isinstance(option, (int, float)) and option == 0


# --- masks and infinities ---------------------------------------------------------------------------------------------


def masked(values: Float[Array, "*shape"], mask: Bool[ArrayLike, "..."] | None) -> Float[Array, "*shape"]:
    """Values with those outside of a mask made 0; None masks nothing."""
    return values if mask is None else jnp.where(mask, values, 0)


def poison(valid: Bool[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 where an entry is valid, else NaN: a factor, since selecting NaN would leave the gradient 0 and look right."""
    return jnp.where(valid, 1, jnp.nan)


def finite(scores: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Scores with those of ruled-out classes, which are -inf, made 0; and which those are."""
    ruled_out = scores == -jnp.inf
    return jnp.where(ruled_out, 0, scores), ruled_out


def bounded(scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scores with infinite ones made the largest numbers there are, with gradient 0."""
    largest = jnp.finfo(scores.dtype).max
    return jnp.clip(scores, -largest, largest)


def with_impossible(
    values: Float[Array, "*shape"], impossible: Bool[Array, "*shape"], weights: Float[Array, "*#shape"] | None = None
) -> Float[Array, "*shape"]:
    """Losses, and inf for those that are impossible, such as a label on a class that is ruled out.

    Those of weight 0 stay as they are. The infinity is added at the end and as a constant: before, a weight of 0 would
    make it NaN, and so would its gradient.
    """
    return values + jnp.where(impossible if weights is None else impossible & (weights > 0), jnp.inf, 0)


# --- quotients --------------------------------------------------------------------------------------------------------


@jax.custom_jvp
def quotient(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The ratio x / y; its derivative does not take the square of y, which may be beyond the dtype."""
    return x / y


@quotient.defjvp
def _quotient_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    result = quotient(*primals)
    return result, quotient(tangents[0] - result * tangents[1], primals[1])


def ratio(part: Float[Array, "*shape"], whole: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A part of a whole; 0, with derivatives of 0, of a whole of 0."""
    nothing = jnp.abs(whole) < jnp.finfo(whole.dtype).tiny
    return jnp.where(nothing, 0, quotient(part, jnp.where(nothing, 1, whole)))


def hypotenuse(x: Float[Array, "*shape"], y: Scalar) -> Float[Array, "*shape"]:
    """The square root of x² + y², with gradient 0 where both are 0."""
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.abs(x), jnp.abs(y)))
    zero = scale < jnp.finfo(x.dtype).tiny
    divisor = jnp.where(zero, 1, scale)
    squares = jnp.square(x / divisor) + jnp.square(y / divisor)
    return scale * jnp.sqrt(jnp.where(zero, 1, squares))


# --- powers -----------------------------------------------------------------------------------------------------------


def polynomial(coefficients: Sequence[float], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Σₖ cₖ xᵏ, by Horner's rule."""
    return functools.reduce(
        lambda total, coefficient: total * x + coefficient, reversed(coefficients), jnp.zeros_like(x)
    )


def power(x: Float[Array, "*shape"], exponent: Scalar) -> Float[Array, "*shape"]:
    """A number that is not negative to a power: 0 at 0, and with derivatives of 0 there unless the exponent is 1.

    Below 2 the second derivative at 0 would be infinite, below 1 the first.
    """
    if isinstance(exponent, (int, float)) and exponent in (1, 2):
        return x if exponent == 1 else jnp.square(x)
    zero = x == 0
    return jnp.where(zero, jnp.where(jnp.equal(exponent, 1), x, 0), jnp.where(zero, 1, x) ** exponent)


def power_by_log(base: Float[Array, "*shape"], log: Float[Array, "*shape"], exponent: Scalar) -> Float[Array, "*shape"]:
    """A base in [0, 1], of which the log is given too, to a power."""
    return _power_by_log(base, log, jnp.asarray(exponent, base.dtype))


@jax.custom_jvp
def _power_by_log(base: Array, log: Array, exponent: Array) -> Array:
    vanishing = base < jnp.finfo(base.dtype).tiny
    return jnp.where(vanishing, jnp.exp(exponent * log), jnp.where(vanishing, 1, base) ** exponent)


# A power is more exact than the exponential of a product, but of a base near 0 only the log has finite derivatives.
@_power_by_log.defjvp
def _power_by_log_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    _, log, exponent = primals
    _, log_tangent, exponent_tangent = tangents
    result = _power_by_log(*primals)
    return result, result * (exponent * log_tangent + log * exponent_tangent)
