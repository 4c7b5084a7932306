"""Functions whose plain formulas cancel, as integrals and sums of terms that have one sign.

For a small x, the formula x - log(1 + x) returns only rounding errors. In x² ∫ s / (1 + s x) ds over [0, 1], which is
the same, nothing is subtracted, and neither is in any derivative.
"""

import functools
import math
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .arithmetic import log, polynomial, quotient

HALF_LOG_2PI = math.log(2 * math.pi) / 2

# Stieltjes' continued fraction of the error of Stirling's formula, as x times a ratio of polynomials of x². In
# float64 it is exact to rounding for x up to 1/4.
_STIELTJES_NUMERATOR = (
    0.08333333333333333,
    2.616323021868823,
    24.347634152389016,
    79.05629203231467,
    81.56995211663347,
    17.995543291559315,
)
_STIELTJES_DENOMINATOR = (
    1.0,
    31.429209595759215,
    293.20972633900305,
    958.1569789838786,
    1008.1999111257045,
    242.22777738870326,
    3.0008925324904356,
)


def unit_integral(
    function: Callable[..., Float[Array, "*shape"]], *operands: Float[Array, "*shape"], nodes: int = 10
) -> Float[Array, "*shape"]:
    """∫ f(s, *operands) ds over [0, 1] by Gauss-Legendre quadrature.

    If f is smooth, the integral and its derivatives are exact to rounding. In float32 about half the nodes are enough.
    """
    # The terms are written out one after the other: along a new axis, an accelerator would write them to memory.
    points, weights = np.polynomial.legendre.leggauss(nodes if operands[0].dtype == jnp.float64 else nodes // 2 + 1)
    rule = zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True)
    terms = (weight * function(point, *operands) for point, weight in rule)
    total: Array = functools.reduce(operator.add, terms)
    return total


def _terms(ratio: float, x: Array) -> range:
    """As many terms as a power series needs whose terms fall by this ratio or faster."""
    return range(math.ceil(math.log(jnp.finfo(x.dtype).eps) / math.log(ratio)))


# --- the logistic function --------------------------------------------------------------------------------------------
#
# The derivative of a sigmoid is the product of both sides, neither of which is one minus the other: so it is exact on
# both. The derivatives read the argument only: what a value shares with its gradient would be written out between them.


@jax.custom_jvp
def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 / (1 + exp(-x)); its derivatives are exact on both sides."""
    return jax.lax.logistic(x)


@sigmoid.defjvp
def _sigmoid_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,) = primals
    return sigmoid(x), sigmoid(x) * sigmoid(-x) * tangents[0]


@jax.custom_jvp
def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + exp(x)); its derivatives are exact on both sides."""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,) = primals
    return softplus(x), sigmoid(x) * tangents[0]


# --- differences that cancel ------------------------------------------------------------------------------------------


@jax.custom_jvp
def exp_excess(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(x) - 1 - x, which is never negative."""
    near = jnp.abs(x) < 1
    small = jnp.where(near, x, 0)
    series = small * small * polynomial([1 / math.factorial(k) for k in range(2, 20)], small)
    return jnp.where(near, series, jnp.expm1(x) - x)


@exp_excess.defjvp
def _exp_excess_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return exp_excess(*primals), jnp.expm1(primals[0]) * tangents[0]


def exponential_growth(x: Float[Array, "*shape"], rate: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
    """(exp(rate · x) - 1) / rate, which is x at rate 0."""
    near = jnp.abs(rate * x) < 0.5
    series = polynomial([1 / math.factorial(n) for n in range(1, 15)], jnp.where(near, rate * x, 0))
    # Not expm1: JAX computes its derivative as expm1(z) + 1, which is 0 for a very negative z.
    far = jnp.exp(jnp.where(near, 0, rate * x)) - 1
    return jnp.where(near, x * series, far / jnp.where(near, 1, rate))


def log1p_deficit(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(x - log(1 + x)) / x² for x above -1/2, and 1/2 at 0."""
    near = jnp.abs(x) < 0.5
    small, large = jnp.where(near, x, 0), jnp.where(near, 1, x)
    r = small / (2 + small)
    close = (1 - r) / 2 * (1 - (1 - r) * r * _artanh_excess(r * r))
    return jnp.where(near, close, quotient(1 - quotient(jnp.log1p(large), large), large))


def log1p_ratio(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + x) / x for x between -1/2 and 1/2, and 1 at 0."""
    square = jnp.square(x / (2 + x))
    return 2 / (2 + x) * (1 + square * _artanh_excess(square))


def _artanh_excess(square: Array) -> Array:
    """(artanh(r)/r - 1) / r² from r² up to 1/9. For r = x / (2 + x), log(1 + x) is 2 artanh(r)."""
    return polynomial([1 / (2 * k + 3) for k in _terms(1 / 9, square)], square)


def entropy_gap(
    p: Float[Array, "*shape"], difference: Float[Array, "*shape"], log_ratio: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The term p log(p/q) - p + q for p ≥ 0, given q - p and log(q/p); it is q where p is 0.

    It is never negative, so a sum of such terms does not cancel. In a divergence of distributions the terms q - p add
    up to 0, so this sum is also that of p log(p/q).
    """
    near = jnp.abs(difference) < p / 2
    excess = jnp.where(near, difference, 0) / jnp.where(near, p, 1)
    return jnp.where(near, p * exp_excess(jnp.log1p(excess)), difference - p * jnp.where(near, 0, log_ratio))


@jax.custom_jvp
def log_gap(targets: Float[Array, "*shape"], log_predictions: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The term t (log t - s) for t > 0. In its derivatives no product of t and 1/t² occurs, which may overflow."""
    return targets * (log(targets) - log_predictions)


@log_gap.defjvp
def _log_gap_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    targets, log_predictions = primals
    in_targets = log(targets) - log_predictions + 1
    return log_gap(*primals), in_targets * tangents[0] - targets * tangents[1]


@jax.custom_jvp
def gap_of_amounts(log_predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The term t (log t - x) - t + exp x, for a target t above 0."""
    return entropy_gap(targets, jnp.exp(log_predictions) - targets, log_predictions - jnp.log(targets))


# Both slopes are simple. Autodiff would divide by the square of a tiny target.
@gap_of_amounts.defjvp
def _gap_of_amounts_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    log_predictions, targets = primals
    predictions_slope, targets_slope = jnp.exp(log_predictions) - targets, jnp.log(targets) - log_predictions
    return gap_of_amounts(*primals), predictions_slope * tangents[0] + targets_slope * tangents[1]


def stirling_error(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The error of Stirling's formula at z = 1/x, log Γ(z) - (z - 1/2) log z + z - log(2π)/2; 0 at x = 0."""
    # The error at z + 4, where the continued fraction is accurate, and four steps from there down to z: the error at
    # z + n minus that at z + n + 1 is (z + n + 1/2) log(1 + 1/(z + n)) - 1, which is artanh(r)/r - 1 for
    # r = 1/(2(z + n) + 1). Of a z below 1, the first is computed as it is written.
    near = x <= 1
    small, large = jnp.where(near, x, 0), jnp.where(near, 1, x)
    capped = jnp.minimum(x, 1e15)  # beyond it only the first step counts; with it nothing overflows
    close = functools.reduce(
        operator.add, (_stirling_step(quotient(y, 2 + (2 * n + 1) * y)) for n, y in enumerate((small, *[capped] * 3)))
    )
    last = quotient(capped, 1 + 4 * capped)
    square = jnp.square(last)
    fraction = last * quotient(polynomial(_STIELTJES_NUMERATOR, square), polynomial(_STIELTJES_DENOMINATOR, square))
    return fraction + close + jnp.where(near, 0, (1 / large + 0.5) * jnp.log1p(large) - 1)


def _stirling_step(r: Array) -> Array:
    square = jnp.square(r)
    return square * _artanh_excess(square)
