"""Regression: losses between real numbers."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import NON_NEGATIVE, POSITIVE, Domain, Mask, Reduction, Weights, elementwise_inputs, loss_function, reduce
from .._math.arithmetic import absolute, hypotenuse, poison, polynomial, quotient, smooth_absolute
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

    Its minimiser is the median, so single wild targets hardly move it. The subgradient at 0 is 0.

    Args:
        predictions: Any shape.
        targets: The shape of `predictions`.
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

    Its minimiser is the mean. optax's `l2_loss` is half of it.

    Args:
        predictions: Any shape.
        targets: The shape of `predictions`.
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

    The usual choice against outliers: smooth at 0 as `mse_loss`, of bounded gradient as `l1_loss`.

    Args:
        predictions: Any shape.
        targets: The shape of `predictions`.
        delta: Error at which the loss turns linear, in the units of `targets`; positive.
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
    values = _huber(predictions - targets, delta)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _huber(errors: Array, delta: Scalar) -> Array:
    # With q the error clipped to ±delta, q (e - q/2) is both branches at once, and nothing overflows.
    clipped = jnp.clip(errors, -delta, delta)
    return clipped * (errors - clipped / 2)


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
    """Absolute error, rounded off around 0: `huber_loss` divided by its threshold.

        e = x - y
        e² / (2 beta)   where |e| < beta
        |e| - beta/2    elsewhere

    The regression loss of box detectors. Its slope far out is 1 for every `beta`; `beta = 0` is `l1_loss`.

    Args:
        predictions: Any shape.
        targets: The shape of `predictions`.
        beta: Error at which the loss turns linear, in the units of `targets`; not negative.
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


@loss_function()
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

    Half the squared error where that is small, the absolute error less log 2 where it is large: `huber_loss` without a
    join, with derivatives of every order.

    Args:
        predictions: Any shape.
        targets: The shape of `predictions`.
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
    near = distances < 1
    squares = jnp.square(jnp.where(near, errors, 0))
    cosh_minus_1 = squares * polynomial([1 / math.factorial(n) for n in range(2, 20, 2)], squares)
    far = jnp.where(near, 1, distances)
    return jnp.where(near, jnp.log1p(cosh_minus_1), far - math.log(2) + jnp.log1p(jnp.exp(-2 * far)))


@loss_function(domains={"eps": NON_NEGATIVE})
def charbonnier_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    eps: Scalar = 1e-3,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Absolute error, rounded off around 0 by a hyperbola.

        √((x - y)² + eps²)

    The loss of image restoration: sharper than `mse_loss`, smooth as `l1_loss` is not. At its least it is `eps`, not 0.
    With `eps = 0` it is `l1_loss`, with subgradient 0 at 0.

    Args:
        predictions: Any shape.
        targets: The shape of `predictions`.
        eps: Error below which the loss is round, in the units of `targets`; not negative.
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
    values = hypotenuse(predictions - targets, eps)
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
    """Absolute error in percent of the target.

        100 |x - y| / max(|y|, eps)

    For forecasts of positive quantities of very different sizes; it favours forecasts that are too low. The
    subgradient at x = y is 0. The gradient with respect to the targets counts that they are the measure, too.

    Args:
        predictions: Any shape.
        targets: The shape of `predictions`.
        eps: Least size of a target, in its units; positive.
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
    small = jnp.abs(targets) < eps
    errors = quotient(jnp.where(small, predictions - targets, 0), eps)
    errors = jnp.where(small, errors, _relative(predictions, jnp.where(small, 1, targets)))
    values = 100 * absolute(errors)
    return reduce(values, where=where, weights=weights, reduction=reduction)


# The slope in a target is -x / y²: autodiff would take it for a difference of larger numbers.
@jax.custom_jvp
def _relative(predictions: Array, targets: Array) -> Array:
    return (predictions - targets) / targets


@_relative.defjvp
def _relative_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    predictions, targets = primals
    return _relative(*primals), quotient(tangents[0] - quotient(predictions, targets) * tangents[1], targets)


@loss_function(domains={"predictions": _ABOVE_MINUS_ONE, "targets": _ABOVE_MINUS_ONE})
def msle_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Squared error of logarithms.

        (log(1 + x) - log(1 + y))²

    For counts and other quantities that grow by factors: relative errors cost alike at every size. Keras takes
    numbers below 1e-7 for 1e-7, where they have no gradient; here any number greater than -1 is taken as it is, and
    one that is not makes the loss NaN.

    Args:
        predictions: Numbers greater than -1, any shape.
        targets: Numbers greater than -1, of the shape of `predictions`.
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
    """The absolute difference of log(1 + x) and log(1 + y)."""
    low, high = jnp.where(x < y, x, y), jnp.where(x < y, y, x)
    low = poison(low > -1) * low
    # Of one sign, the numbers are put into one logarithm; of two signs their logarithms do not cancel.
    apart = (low < 0) & (high > 0)
    base = jnp.where(apart, high, low)
    return jnp.log1p(quotient(high - base, 1 + base)) + jnp.where(apart, jnp.log1p(high) - jnp.log1p(low), 0)
