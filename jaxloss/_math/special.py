"""Functions whose plain formulas cancel, as integrals and sums of terms that have one sign.

For a small x, the formula x - log(1 + x) returns only rounding errors. In x² ∫ s / (1 + s x) ds over [0, 1], which is
the same, nothing is subtracted, and neither is in any derivative.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .arithmetic import log, polynomial, quotient

HALF_LOG_2PI = math.log(2 * math.pi) / 2

# Stieltjes' continued fraction of the error of Stirling's formula, as Σ w x / (1 + t x²) over these pairs (w, t). In
# float64 it is exact to rounding for x up to 1/4.
_STIELTJES_WEIGHTS_AND_NODES = (
    (7.83159101273132514e-2, 0.0130934373540432641),
    (4.86686722487320886e-3, 0.317923760510303217),
    (1.48891704916262677e-4, 1.3363156610994962),
    (1.65940545004828048e-6, 3.64818323515266125),
    (4.86918323510536482e-9, 8.30200492546369506),
    (1.59732697358925676e-12, 17.8116885761790168),
)


def unit_integral(
    function: Callable[..., Float[Array, "*shape nodes"]], *operands: Float[Array, "*#shape"], nodes: int = 10
) -> Float[Array, "*shape"]:
    """∫ f(s, *operands) ds over [0, 1] by Gauss-Legendre quadrature.

    If f is smooth, the integral and its derivatives are exact to rounding.
    """
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return _weighted_sum(function, (points + 1) / 2, weights / 2, *operands)


def _weighted_sum(function: Callable[..., Array], nodes: np.ndarray, weights: np.ndarray, *operands: Array) -> Array:
    """Σ w f(t, *operands) over the nodes t and their weights w.

    The terms lie along a new last axis: written out one after the other they would take long to compile.
    """
    columns = [operand[..., None] for operand in operands]
    last_axis = (1,) * (columns[0].ndim - 1) + nodes.shape
    node_row, weight_row = (jnp.asarray(numbers.reshape(last_axis), columns[0].dtype) for numbers in (nodes, weights))
    return jnp.sum(weight_row * function(node_row, *columns), axis=-1)


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
    close = unit_integral(lambda s, x: s / (1 + s * x), small)
    return jnp.where(near, close, quotient(1 - quotient(jnp.log1p(large), large), large))


def log1p_ratio(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + x) / x for x between -1/2 and 1/2, and 1 at 0."""
    return unit_integral(lambda s, x: 1 / (1 + s * x), x)


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
    # The error at z + 4, where the continued fraction is accurate, and four steps from there down to z.
    weights, nodes = np.array(_STIELTJES_WEIGHTS_AND_NODES).T
    # Beyond this limit only the step from z counts; with it the products do not overflow.
    capped = jnp.minimum(x, 1e15)
    fraction = _weighted_sum(lambda node, x: x / (1 + node * x * x), nodes, weights, quotient(capped, 1 + 4 * capped))
    steps = _weighted_sum(lambda n, x: _stirling_step(quotient(x, 1 + n * x)), np.arange(1.0, 4), np.ones(3), capped)
    return fraction + steps + _stirling_step(x)


def _stirling_step(x: Array) -> Array:
    """The error of Stirling's formula at z = 1/x minus that at z + 1: (z + 1/2) log(1 + 1/z) - 1."""
    near = x <= 1
    small, large = jnp.where(near, x, 0), jnp.where(near, 1, x)
    # With r = x / (2 + x) it is artanh(r) / r - 1, which is r² times an integral.
    square = jnp.square(small / (2 + small))
    close = square * unit_integral(lambda s, square: s * s / (1 - s * s * square), square)
    return jnp.where(near, close, (1 / large + 0.5) * jnp.log1p(large) - 1)
