"""Elementary functions whose values and derivatives are finite wherever the true ones are."""

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
    """max(0, x). Exactly at 0 the gradient is that of the sloped side, 1, so that equal scores still move apart."""
    # The condition is x < 0, not x >= 0, so that NaN stays NaN.
    return jnp.where(x < 0, 0, x)


def absolute(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|x|, with gradient 0 at 0. There the gradient of `jnp.abs` is 1."""
    return x * jnp.sign(x)


def at_least(x: Float[Array, "*shape"], least: Scalar) -> Float[Array, "*shape"]:
    """The larger of x and a lower limit, with gradient 0 where x is not above the limit.

    There the gradient of `jnp.maximum` is NaN if the gradient with respect to the result is infinite.
    """
    return jnp.where(x <= least, least, x)


def smooth_absolute(x: Float[Array, "*shape"], beta: Scalar) -> Float[Array, "*shape"]:
    """x² / (2 beta) where |x| < beta, and |x| - beta/2 elsewhere; beta may be 0."""
    # A beta whose square underflows counts as 0: the derivative of a division by it would not be finite.
    sharp = jnp.less(beta, math.sqrt(jnp.finfo(x.dtype).tiny))
    divisor = jnp.where(sharp, 1, beta)
    distances = absolute(x)
    near = (x == 0) | (~sharp & (distances < beta))
    small = jnp.where(near, x, 0)
    return jnp.where(near, small * (small / divisor) / 2, distances - beta / 2)


def left_out(option: Scalar) -> bool:
    """Whether an option is the Python number 0, as by default. Then its term can be left out of the program."""
    return isinstance(option, (int, float)) and option == 0


def half_difference(x: Float[Array, "*#shape"], y: Float[Array, "*#shape"]) -> Float[Array, "*#shape"]:
    """(x - y) / 2, for a loss that divides the difference of two numbers, which itself may overflow."""
    return x / 2 - y / 2


# --- masks and infinities ---------------------------------------------------------------------------------------------


def masked(values: Float[Array, "..."], mask: Bool[ArrayLike, "..."] | None) -> Float[Array, "..."]:
    """Values with 0 where the mask is False. A mask of None changes nothing."""
    return values if mask is None else jnp.where(mask, values, 0)


def poison(valid: Bool[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 where an entry is valid, else NaN, to multiply values by.

    Selecting NaN with `jnp.where` would give a gradient of 0, which looks right. The factor makes the gradient NaN too.
    """
    return jnp.where(valid, 1, jnp.nan)


def finite(scores: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Scores with -inf replaced by 0, and a mask of where it was replaced: at the classes that are ruled out."""
    ruled_out = scores == -jnp.inf
    return jnp.where(ruled_out, 0, scores), ruled_out


def bounded(scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scores with ±inf replaced by the largest finite numbers, where the gradient is 0."""
    largest = jnp.finfo(scores.dtype).max
    return jnp.clip(scores, -largest, largest)


def with_impossible(
    values: Float[Array, "*shape"], impossible: Bool[Array, "*shape"], weights: Float[Array, "*#shape"] | None = None
) -> Float[Array, "*shape"]:
    """Losses with inf added to those that are impossible, such as that of a label whose class is ruled out.

    A loss of weight 0 is left as it is. The values are multiplied by their weights already, because 0 times inf is NaN.
    The inf is added as a constant, because otherwise the gradient would be NaN too.
    """
    return values + jnp.where(impossible if weights is None else impossible & (weights > 0), jnp.inf, 0)


# --- quotients --------------------------------------------------------------------------------------------------------


@jax.custom_jvp
def quotient(x: Float[Array, "*#shape"], y: Float[Array, "*#shape"]) -> Float[Array, "*#shape"]:
    """The ratio x / y. Its derivative is computed without y², which may overflow or underflow."""
    return x / y


@quotient.defjvp
def _quotient_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    result = quotient(*primals)
    # Where the ratio overflows, a tangent of 0 is to stay 0.
    return result, over(tangents[0] - bounded(result) * tangents[1], primals[1])


def over(tangent: Float[Array, "*#shape"], x: Float[Array, "*#shape"]) -> Float[Array, "*#shape"]:
    """A tangent divided by x, in a rule. The next derivative too is computed without x²."""
    # JAX transposes a division by its own rule, and that has x² in it. So x is scaled to about 1 by a power of 2 first:
    # by a product, as XLA makes one division of two.
    info = jnp.finfo(x.dtype)
    size = jnp.clip(jnp.abs(jax.lax.stop_gradient(x)), info.tiny, info.max / 4)
    scale = jax.lax.reduce_precision(1 / size, info.nexp, 0)
    return tangent / (x * scale) * scale


@jax.custom_jvp
def standardized(
    x: Float[Array, "*#shape"], center: Float[Array, "*#shape"], scale: Float[Array, "*#shape"]
) -> Float[Array, "*#shape"]:
    """(x - center) / scale, also where the difference overflows."""
    return 2 * (half_difference(x, center) / scale)


@standardized.defjvp
def _standardized_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    result = standardized(*primals)
    return result, over(tangents[0] - tangents[1] - bounded(result) * tangents[2], primals[2])


@jax.custom_jvp
def log(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The logarithm. None of its derivatives is computed from x², which may underflow."""
    return jnp.log(x)


@log.defjvp
def _log_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return log(*primals), over(tangents[0], primals[0])


@jax.custom_jvp
def times(weight: Float[Array, "*#shape"], term: Float[Array, "*#shape"]) -> Float[Array, "*#shape"]:
    """A weight times a term that may be infinite, or have an infinite derivative; 0 where the weight is 0.

    So a weight of 0 is the same as none. But the derivative with respect to the weight is the term there too.
    """
    return weight * jnp.where(weight == 0, bounded(term), term)


@times.defjvp
def _times_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    weight, term = primals
    by_term = jnp.where(weight == 0, 0, weight * tangents[1])
    return times(weight, term), by_term + tangents[0] * bounded(term)


def ratio(part: Float[Array, "*#shape"], whole: Float[Array, "*#shape"]) -> Float[Array, "*#shape"]:
    """The ratio of a part to the whole. Where the whole is 0, so are the ratio and its derivatives."""
    nothing = jnp.abs(whole) < jnp.finfo(whole.dtype).tiny
    return jnp.where(nothing, 0, quotient(part, jnp.where(nothing, 1, whole)))


@jax.custom_jvp
def hypotenuse(x: Float[Array, "*shape"], y: Scalar) -> Float[Array, "*shape"]:
    """√(x² + y²), with gradient 0 where both are 0. It is finite even if x² and y² overflow."""
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.abs(x), jnp.abs(y)))
    zero = scale < jnp.finfo(x.dtype).tiny
    divisor = jnp.where(zero, 1, scale)
    squares = jnp.square(x / divisor) + jnp.square(y / divisor)
    return scale * jnp.sqrt(jnp.where(zero, 1, squares))


# By autodiff the slopes would be multiplied by the scale and then divided by it.
@hypotenuse.defjvp
def _hypotenuse_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    result = hypotenuse(*primals)
    (x_share, y_share), (x_tangent, y_tangent) = (ratio(part, result) for part in primals), tangents
    return result, x_share * x_tangent + y_share * y_tangent


# --- powers -----------------------------------------------------------------------------------------------------------


def polynomial(coefficients: Sequence[float], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Σₖ cₖ xᵏ, by Horner's rule."""
    return functools.reduce(
        lambda total, coefficient: total * x + coefficient, reversed(coefficients), jnp.zeros_like(x)
    )


def power(x: Float[Array, "*shape"], exponent: Scalar) -> Float[Array, "*shape"]:
    """A number x ≥ 0 to a power. At x = 0 the value is 0, and the derivatives are 0 unless the exponent is 1.

    For an exponent below 1 the true first derivative there is infinite, and for one below 2 the second. If the exponent
    is the Python number 2, all derivatives are those of the square.
    """
    if isinstance(exponent, (int, float)) and exponent in (1, 2):
        return x if exponent == 1 else jnp.square(x)
    zero = x == 0
    return jnp.where(zero, jnp.where(jnp.equal(exponent, 1), x, 0), jnp.where(zero, 1, x) ** exponent)


def power_by_log(base: Float[Array, "*shape"], log: Float[Array, "*shape"], exponent: Scalar) -> Float[Array, "*shape"]:
    """A base in [0, 1] to a power, given the logarithm of the base as well. Derivatives go through the logarithm."""
    return _power_by_log(base, log, jnp.asarray(exponent, base.dtype))


@jax.custom_jvp
def _power_by_log(base: Array, log: Array, exponent: Array) -> Array:
    vanishing = base < jnp.finfo(base.dtype).tiny
    return jnp.where(vanishing, jnp.exp(exponent * log), jnp.where(vanishing, 1, base) ** exponent)


# As a value, the power is more accurate than the exponential of a product. As derivatives, those of the logarithm are
# used: at a base close to 0 only they are finite.
@_power_by_log.defjvp
def _power_by_log_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    _, log, exponent = primals
    _, log_tangent, exponent_tangent = tangents
    result = _power_by_log(*primals)
    return result, result * (exponent * log_tangent + log * exponent_tangent)
