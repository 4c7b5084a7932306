"""Robust regression: losses that grow slowly or not at all for large errors, so that outliers hardly count."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import POSITIVE, Mask, Reduction, Weights, elementwise_inputs, loss_function, reduce
from .._math.arithmetic import (
    absolute,
    bounded,
    half_difference,
    hypotenuse,
    polynomial,
    quotient,
    standardized,
    with_impossible,
)
from .._math.dtypes import Scalar
from .._math.logarithms import log_ratio
from .._math.special import exponential_growth


@loss_function(domains={"scale": POSITIVE}, recomputed=True)
def general_robust_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    alpha: Scalar = 1.0,
    scale: Scalar = 1.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Squared error for small errors, and a power, a logarithm or a constant for large ones.

        |α - 2|/α ((e² / |α - 2| + 1)^(α/2) - 1),  e = (x - y) / scale
        e² / 2             where α is 2
        log(1 + e² / 2)    where α is 0 (Cauchy)
        1 - exp(-e² / 2)   where α is -inf (Welsch)

    A family of robust losses that are all about e² / 2 around 0. The lower `alpha`, the less an outlier counts; `alpha`
    may be learnt. 1 is `charbonnier_loss` in units of `scale` minus its least value, and -2 is the loss of Geman and
    McClure. The derivative with respect to `alpha` is infinite at 2; there the gradient is 0.

    Args:
        predictions: Predictions x, any shape.
        targets: Targets y, of the shape of `predictions`.
        alpha: Growth of the loss for large errors e: like |e|^α if it is positive, like log |e| if it is 0, and up to a
            limit if it is negative. -inf is allowed, inf is not.
        scale: Size of the error below which the loss is about quadratic, in the units of `targets`; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.general_robust_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]), alpha=-2.0)
        Array(0.6923, dtype=float32)

    References:
        Barron, A general and adaptive robust loss function, 2019.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    errors = standardized(predictions, targets, jnp.asarray(scale, predictions.dtype))
    values = _general_robust(
        bounded(errors), jnp.asarray(alpha, errors.dtype), _excess(errors, predictions, targets, scale)
    )
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _excess(errors: Array, predictions: Array, targets: Array, scale: Scalar) -> Array:
    """By how much the log of an error is above that of the largest number: where errors are infinite, else 0."""
    half_errors = jnp.abs(half_difference(predictions, targets))
    beyond = jax.lax.stop_gradient(log_ratio(half_errors, jnp.asarray(scale, errors.dtype)))
    return jnp.where(jnp.isinf(errors), beyond - math.log(jnp.finfo(errors.dtype).max / 2), 0)


@jax.custom_jvp
def _general_robust(errors: Array, alpha: Array, excess: Array) -> Array:
    """The loss of errors in units of the scale."""
    return _robust_value(errors, alpha, excess)


# Its slope is e h^(α - 2). By autodiff it would be the difference of terms that overflow.
@_general_robust.defjvp
def _general_robust_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    errors, alpha, excess = primals
    values, in_alpha = jax.jvp(lambda alpha: _robust_value(errors, alpha, excess), (alpha,), (tangents[1],))
    parabola, near = alpha == 2, jnp.abs(errors) < jnp.sqrt(jnp.abs(alpha - 2))
    h, g = _logs_of_robust(errors, jnp.where(parabola, 1, alpha), excess)
    root = jnp.where(near, jnp.exp(jnp.sign(alpha - 2) * g / 2), h ** jnp.where(near, 0, (alpha - 2) / 2))
    in_errors = jnp.where(parabola, errors, root * errors * root)
    return values, in_errors * tangents[0] + in_alpha


def _robust_value(errors: Array, alpha: Array, excess: Array) -> Array:
    """The loss b (h^α - 1) / α, with b = |α - 2| and h = √(1 + e²/b).

    It is computed from g = b log h, which tends to e²/2 as b grows. For α < 1 it is (exp(s g) - 1) / s with s = α / b.
    For other α it is ((e/h)² h^α + b (h^(α - 2) - 1)) / α, whose second term vanishes with b.
    """
    parabola = alpha == 2
    alpha = jnp.where(parabola, 1, alpha)
    b, (h, g) = absolute(2 - alpha), _logs_of_robust(errors, alpha, excess)
    below_1, infinite = alpha < 1, alpha == -jnp.inf
    s = jnp.where(infinite, -1, jnp.where(infinite, 0, alpha) / b)
    values_below_1 = exponential_growth(g, jnp.where(below_1, s, 0))

    alpha, b = jnp.where(below_1, 1, alpha), jnp.where(below_1, 1, b)
    half_power = h ** (alpha / 2)  # the whole power may overflow before its division
    grown = half_power * (jnp.square(quotient(errors, h)) / alpha) * half_power
    values_from_1 = with_impossible(grown + b / alpha * jnp.expm1(jnp.sign(alpha - 2) * g), excess > 0)
    return jnp.where(parabola, errors * (errors / 2), jnp.where(below_1, values_below_1, values_from_1))


def _logs_of_robust(errors: Array, alpha: Array, excess: Array) -> tuple[Array, Array]:
    """H and g = b log h of errors, for α other than 2."""
    b = absolute(2 - alpha)
    # An infinite b would make h NaN. The cap changes no value for α < 1: with b > 1e4 and |e| > √b, exp(s g) is 0.
    capped = jnp.where(alpha < 1, jnp.minimum(b, 1e4), b)
    root = jnp.sqrt(capped)
    h = hypotenuse(errors, root) / root

    near = jnp.abs(errors) < jnp.sqrt(b)
    # Only if b is about infinite do errors exceed this limit, and then the loss is 1.
    limit = math.sqrt(jnp.finfo(errors.dtype).max) / 2
    squares = jnp.square(jnp.clip(jnp.where(near, errors, 0), -limit, limit))
    q = squares / b
    # log(1 + q) is 2 artanh(q / (2 + q)), and the derivative of this series with respect to α does not cancel.
    artanh = polynomial([1 / n for n in range(1, 35, 2)], jnp.square(q / (2 + q)))
    return h, jnp.where(near, squares / (2 + q) * artanh, capped * (jnp.log(h) + excess))


@loss_function(domains={"cutoff": POSITIVE})
def tukey_biweight_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    cutoff: Scalar = 4.685,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Squared error for small errors, the same loss for all errors beyond a cutoff.

        c²/6 (1 - (1 - (e/c)²)³)   where |e| ≤ c,  e = x - y,  c = cutoff
        c²/6                       elsewhere

    For data with gross outliers: an error beyond the cutoff has no gradient at all, so such a target does not move the
    fit. That also means that a poor start may never improve: begin with `huber_loss`, or with a large cutoff. Divide
    predictions and targets by a robust estimate of the errors' scale first; the default cutoff then has 95% of the
    efficiency of `mse_loss` for normal errors.

    Args:
        predictions: Any shape.
        targets: The shape of `predictions`.
        cutoff: Error from which on the loss is constant, in the units of `targets`; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.tukey_biweight_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 40.0]))
        Array(1.8291, dtype=float32)

    References:
        Beaton and Tukey, The fitting of power series, meaning polynomials, illustrated on band-spectroscopic data,
        1974.
        Holland and Welsch, Robust regression using iteratively reweighted least-squares, 1977 (the default cutoff).
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    values = _biweight(predictions - targets, jnp.asarray(cutoff, predictions.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@jax.custom_jvp
def _biweight(errors: Array, cutoff: Array) -> Array:
    """The loss as e²/2 (1 - q + q²/3) with q = (e/c)², in an order in which it overflows last."""
    inside, ratio = _inside(errors, cutoff)
    square = jnp.square(ratio)
    return inside * (inside * ((1 - square + square * square / 3) / 2))


# The slopes are products: as derivatives of the value they would cancel near the cutoff, and by it near 0.
@_biweight.defjvp
def _biweight_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    cutoff = primals[1]
    inside, ratio = _inside(*primals)
    square = jnp.square(ratio)
    by_errors = inside * jnp.square((1 - ratio) * (1 + ratio))
    by_cutoff = cutoff * square * square * (1 - 2 * square / 3)
    return _biweight(*primals), by_errors * tangents[0] + by_cutoff * tangents[1]


def _inside(errors: Array, cutoff: Array) -> tuple[Array, Array]:
    """Errors clipped to the cutoff, and their ratio to it."""
    inside = jnp.clip(errors, -cutoff, cutoff)
    return inside, quotient(inside, cutoff)
