"""Regression: losses between real numbers."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import NON_NEGATIVE, POSITIVE, Domain, Mask, Reduction, Weights, elementwise_inputs, loss_function, reduce
from .._math.arithmetic import (
    absolute,
    half_difference,
    hinge,
    hypotenuse,
    poison,
    polynomial,
    quotient,
    smooth_absolute,
)
from .._math.dtypes import Scalar

_ABOVE_MINUS_ONE = Domain("greater than -1", lambda x: x > -1)


@loss_function()
def l1_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Absolute error.

        |x - y|

    It is least at the median of the targets, which a few outliers hardly move. The gradient at x = y is 0.

    Args:
        predictions: Predictions x, any shape.
        targets: Targets y, of the shape of `predictions`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.l1_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array(1.5, dtype=float32)

    References:
        Boscovich, De litteraria expeditione per pontificiam ditionem, 1757.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    values = absolute(predictions - targets)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function()
def mse_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Squared error.

        (x - y)²

    It is least at the mean of the targets. optax's `l2_loss` is half of it.

    Args:
        predictions: Predictions x, any shape.
        targets: Targets y, of the shape of `predictions`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.mse_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array(4.5, dtype=float32)

    References:
        Legendre, Nouvelles méthodes pour la détermination des orbites des comètes, 1805.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    values = jnp.square(predictions - targets)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"delta": POSITIVE})
def huber_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    delta: Scalar = 1.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Squared error for small errors, absolute error for large ones.

        e = x - y
        e² / 2               where |e| ≤ delta
        delta (|e| - delta/2) elsewhere

    The usual choice against outliers. It is smooth at 0 like `mse_loss`, and its gradient is bounded like that of
    `l1_loss`.

    Args:
        predictions: Predictions x, any shape.
        targets: Targets y, of the shape of `predictions`.
        delta: Size of the error above which the loss is linear, in the units of `targets`; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.huber_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]), delta=2.0)
        Array(2., dtype=float32)

    References:
        Huber, Robust estimation of a location parameter, 1964.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    values = _huber(half_difference(predictions, targets), jnp.asarray(delta, predictions.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@jax.custom_jvp
def _huber(halves: Array, delta: Array) -> Array:
    # With q the error clipped to ±delta, q (e - q/2) is both branches in one, and from e/2 it overflows only if the
    # loss does.
    clipped = jnp.clip(2 * halves, -delta, delta)
    return 2 * clipped * (halves - clipped / 4)


# The slopes are what autodiff leaves after it has multiplied what may overflow by 0.
@_huber.defjvp
def _huber_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    halves, delta = primals
    in_halves = 2 * jnp.clip(2 * halves, -delta, delta)
    return _huber(*primals), in_halves * tangents[0] + hinge(jnp.abs(halves) - delta / 2) * (2 * tangents[1])


@loss_function(domains={"beta": NON_NEGATIVE})
def smooth_l1_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    beta: Scalar = 1.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Absolute error, smoothed around 0: `huber_loss` divided by its `delta`.

        e = x - y
        e² / (2 beta)   where |e| < beta
        |e| - beta/2    elsewhere

    The loss for the boxes of object detectors. Large errors have a slope of 1 for every `beta`, and `beta = 0` is
    `l1_loss`.

    Args:
        predictions: Predictions x, any shape.
        targets: Targets y, of the shape of `predictions`.
        beta: Size of the error from which the loss is linear, in the units of `targets`; not negative.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.smooth_l1_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]), beta=2.0)
        Array(1., dtype=float32)

    References:
        Girshick, Fast R-CNN, 2015.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    values = smooth_absolute(predictions - targets, beta)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(recomputed=True)
def log_cosh_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Logarithm of the hyperbolic cosine of the error.

        log cosh(x - y)

    About half the squared error if the error is small, and the absolute error minus log 2 if it is large. Unlike
    `huber_loss` it has derivatives of every order.

    Args:
        predictions: Predictions x, any shape.
        targets: Targets y, of the shape of `predictions`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.log_cosh_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array(1.1547, dtype=float32)

    References:
        Chen et al., Log hyperbolic cosine loss improves variational auto-encoder, 2019.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    values = _log_cosh(predictions - targets)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _log_cosh(errors: Array) -> Array:
    distances = absolute(errors)
    # For a small error cosh(e) rounds to 1, so cosh(e) - 1 comes from its series. For a large one cosh(e) overflows.
    # Products with 0 and 1, as a CPU would take five times as long to select.
    small = (distances < 1).astype(errors.dtype)
    large = 1 - small
    squares = jnp.square(jnp.where(distances < 1, errors, 0))
    cosh_minus_1 = squares * polynomial([1 / math.factorial(n) for n in range(2, 20, 2)], squares)
    return large * (distances - math.log(2)) + jnp.log1p(cosh_minus_1 + large * jnp.exp(-2 * distances))


@loss_function(domains={"eps": NON_NEGATIVE}, recomputed=True)
def charbonnier_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    eps: Scalar = 1e-3,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Absolute error, smoothed around 0 by a hyperbola.

        √((x - y)² + eps²)

    For image restoration: the images are sharper than with `mse_loss`, and unlike `l1_loss` it is smooth. Its least
    value is `eps`, not 0. `eps = 0` is `l1_loss`, with gradient 0 at x = y.

    Args:
        predictions: Predictions x, any shape.
        targets: Targets y, of the shape of `predictions`.
        eps: Size of the error below which the loss is about quadratic, in the units of `targets`; not negative.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.charbonnier_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]), eps=4.0)
        Array(4.5, dtype=float32)

    References:
        Charbonnier et al., Two deterministic half-quadratic regularization algorithms for computed imaging, 1994.
        Lai et al., Deep Laplacian pyramid networks for fast and accurate super-resolution, 2017.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    values = 2 * hypotenuse(half_difference(predictions, targets), eps / 2)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"eps": POSITIVE})
def mape_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    eps: Scalar = 1e-7,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Absolute error, in percent of the target.

        100 |x - y| / max(|y|, eps)

    For forecasts of positive quantities of very different sizes. It favours forecasts that are too low, which cost at
    most 100. The gradient at x = y is 0. The gradient with respect to a target includes that of the divisor.

    Args:
        predictions: Predictions x, any shape.
        targets: Targets y, of the shape of `predictions`.
        eps: Smallest divisor, in the units of `targets`; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.mape_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array(30., dtype=float32)

    References:
        Makridakis, Accuracy measures: theoretical and practical concerns, 1993.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    small = jnp.abs(targets) <= eps
    errors_over_eps = quotient(jnp.where(small, predictions - targets, 0), eps)
    relative_errors = jnp.where(small, errors_over_eps, _relative_error(predictions, jnp.where(small, 1, targets)))
    values = 100 * absolute(relative_errors)
    return reduce(values, where=where, weights=weights, reduction=reduction)


# The derivative with respect to a target is -x / y². Autodiff would compute it as a difference of larger numbers.
@jax.custom_jvp
def _relative_error(predictions: Array, targets: Array) -> Array:
    return 2 * (half_difference(predictions, targets) / targets)


@_relative_error.defjvp
def _relative_error_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    predictions, targets = primals
    return _relative_error(*primals), quotient(tangents[0] - quotient(predictions, targets) * tangents[1], targets)


@loss_function(domains={"predictions": _ABOVE_MINUS_ONE, "targets": _ABOVE_MINUS_ONE}, recomputed=True)
def msle_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Squared error between the logarithms of predictions and targets.

        (log(1 + x) - log(1 + y))²

    For counts and other quantities that grow by factors: the same relative error costs about the same at every size.
    Numbers that are not greater than -1 make the loss NaN. Keras raises numbers below 1e-7 to 1e-7, and so gives them
    no gradient; here they are used as they are.

    Args:
        predictions: Predictions x, greater than -1, any shape.
        targets: Targets y, greater than -1, of the shape of `predictions`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.msle_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array(0.2402, dtype=float32)

    References:
        Tofallis, A better measure of relative prediction accuracy for model selection and model estimation, 2015.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    values = jnp.square(_log1p_difference(predictions, targets))
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _log1p_difference(x: Array, y: Array) -> Array:
    """|log(1 + x) - log(1 + y)|, and NaN if one of them is not greater than -1."""
    low, high = jnp.where(x < y, x, y), jnp.where(x < y, y, x)
    low = poison(low > -1) * low
    # Numbers of one sign share one logarithm, of their ratio. The logarithms of numbers of two signs do not cancel.
    signs_differ = (low < 0) & (high > 0)
    base = jnp.where(signs_differ, high, low)
    positive, negative = jnp.where(signs_differ, high, 0), jnp.where(signs_differ, low, 0)
    return jnp.log1p(quotient(high - base, 1 + base)) + (jnp.log1p(positive) - jnp.log1p(negative))
