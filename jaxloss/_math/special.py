"""Functions that cancel when written down plainly, as integrals and sums whose terms have one sign.

What is left of x - log(1 + x) for a small x is rounding. Written as x² ∫ σ/(1 + xσ) over [0, 1] nothing is subtracted,
in the value or in any derivative.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .arithmetic import polynomial, quotient

HALF_LOG_2PI = math.log(2 * math.pi) / 2

# Stieltjes' continued fraction of Stirling's error, Σ w x / (1 + t x²): in full for x up to 1/4.
_STIELTJES_WEIGHTS = (
    *(7.83159101273132514e-2, 4.86686722487320886e-3, 1.48891704916262677e-4),
    *(1.65940545004828048e-6, 4.86918323510536482e-9, 1.59732697358925676e-12),
)
_STIELTJES_NODES = (
    *(0.0130934373540432641, 0.317923760510303217, 1.3363156610994962),
    *(3.64818323515266125, 8.30200492546369506, 17.8116885761790168),
)


def unit_integral(
    function: Callable[..., Float[Array, "*shape nodes"]], *operands: Float[Array, "*#shape"], nodes: int = 10
) -> Float[Array, "*shape"]:
    """∫ f(s, *operands) ds over [0, 1] by Gauss's rule, to all digits where f is smooth; so are its derivatives."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return _mixed(function, (points + 1) / 2, weights / 2, *operands)


@jax.custom_jvp
def exp_excess(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(x) - 1 - x, which is never negative."""
    near, small, _ = _parted(x, jnp.abs(x) < 1)
    series = small * small * polynomial([1 / math.factorial(k) for k in range(2, 20)], small)
    return jnp.where(near, series, jnp.expm1(x) - x)


@exp_excess.defjvp
def _exp_excess_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return exp_excess(*primals), jnp.expm1(primals[0]) * tangents[0]


def exponential_growth(x: Float[Array, "*shape"], rate: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
    """(exp(rate · x) - 1) / rate, which is x at rate 0."""
    near, small, _ = _parted(rate * x, jnp.abs(rate * x) < 0.5)
    series = polynomial([1 / math.factorial(n) for n in range(1, 15)], small)
    # Not expm1: its derivative is the sum of it and 1, which is 0 where it is about -1.
    far = jnp.exp(jnp.where(near, 0, rate * x)) - 1
    return jnp.where(near, x * series, far / jnp.where(near, 1, rate))


def log1p_deficit(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(x - log(1 + x)) / x², 1/2 at 0; for an x above -1/2."""
    near, small, large = _parted(x, jnp.abs(x) < 0.5)
    close = unit_integral(lambda s, x: s / (1 + s * x), small)
    return jnp.where(near, close, quotient(1 - quotient(jnp.log1p(large), large), large))


def log1p_ratio(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + x) / x, 1 at 0; for an x between -1/2 and 1/2."""
    return unit_integral(lambda s, x: 1 / (1 + s * x), x)


def log1p_over(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + x y) / x, y where x is 0; of numbers that are not negative, and whose product may be beyond the dtype."""
    near = x * y < 0.5
    product = jnp.where(near, x, 0) * jnp.where(near, y, 0)
    return jnp.where(near, y * log1p_ratio(product), log1p_product(x, y) / jnp.where(near, 1, x))


def log1p_product(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + x y) of numbers that are not negative, and whose product may be beyond the dtype."""
    near = x * y < 1
    product = jnp.where(near, x, 0) * jnp.where(near, y, 0)
    root = jnp.sqrt(jnp.where(near, 1, x)) * jnp.sqrt(jnp.where(near, 1, y))
    return jnp.where(near, jnp.log1p(product), 2 * jnp.log(root) + jnp.log1p(jnp.square(1 / root)))


@jax.custom_jvp
def log_ratio(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(x / y) of positive numbers whose ratio may be beyond the dtype."""
    return 2 * jnp.log(jnp.sqrt(x) / jnp.sqrt(y))


@log_ratio.defjvp
def _log_ratio_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return log_ratio(*primals), tangents[0] / primals[0] - tangents[1] / primals[1]


def close_log_ratio(
    x: Float[Array, "*shape"], y: Float[Array, "*shape"], difference: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log(x / y) likewise, given x - y too: where they are close it has all the digits of that."""
    near = jnp.abs(difference) < y / 2
    excess = quotient(jnp.where(near, difference, 0), jnp.where(near, y, 1))
    return jnp.where(near, jnp.log1p(excess), log_ratio(jnp.where(near, 1, x), jnp.where(near, 1, y)))


def entropy_gap(
    p: Float[Array, "*shape"], difference: Float[Array, "*shape"], log_ratio: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The term p log(p/q) - p + q of p ≥ 0, given q - p and log(q/p); q where p is 0.

    It is never negative: the linear parts, which sum to 0 in a divergence, are what the others cancel with.
    """
    near = jnp.abs(difference) < p / 2
    excess = jnp.where(near, difference, 0) / jnp.where(near, p, 1)
    return jnp.where(near, p * exp_excess(jnp.log1p(excess)), difference - p * jnp.where(near, 0, log_ratio))


def stirling_error(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """What Stirling's formula misses: log Γ(z) - (z - 1/2) log z + z - log(2π)/2 at z = 1/x; 0 at 0."""
    fraction = _mixed(
        lambda node, x: x / (1 + node * x * x),
        np.array(_STIELTJES_NODES),
        np.array(_STIELTJES_WEIGHTS),
        quotient(x, 1 + 4 * x),
    )
    return fraction + _mixed(lambda shift, x: _stirling_step(quotient(x, 1 + shift * x)), np.arange(4.0), np.ones(4), x)


def _stirling_step(x: Array) -> Array:
    """The error at z less that at z + 1, of z = 1/x: (z + 1/2) log(1 + 1/z) - 1."""
    near, small, large = _parted(x, x <= 1)
    square = jnp.square(small / (2 + small))
    close = square * unit_integral(lambda s, x: s * s / (1 - s * s * x), square)
    return jnp.where(near, close, (1 / large + 0.5) * jnp.log1p(large) - 1)


def _mixed(function: Callable[..., Array], nodes: np.ndarray, weights: np.ndarray, *operands: Array) -> Array:
    """Σ w f(node, *operands), along an axis of its own: as many terms written out would take long to compile."""
    columns = [operand[..., None] for operand in operands]
    along = (1,) * (columns[0].ndim - 1) + nodes.shape
    aligned, factors = (jnp.asarray(numbers.reshape(along), columns[0].dtype) for numbers in (nodes, weights))
    return jnp.sum(factors * function(aligned, *columns), axis=-1)


def _parted(x: Array, near: Array) -> tuple[Array, Array, Array]:
    """Which numbers are near, those with others made 0, and the others with those made 1."""
    return near, jnp.where(near, x, 0), jnp.where(near, 1, x)
