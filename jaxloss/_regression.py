"""Losses between real numbers."""

import math

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from ._core import NON_NEGATIVE, POSITIVE, Mask, Reduction, Scalar, Weights, elementwise_inputs, loss_function, reduce
from ._vectors import absolute


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
        A scalar, or with reduction "none" the shape of `predictions`; float32, or float64 if an input is.

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
        A scalar, or with reduction "none" the shape of `predictions`; float32, or float64 if an input is.

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
        A scalar, or with reduction "none" the shape of `predictions`; float32, or float64 if an input is.

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
        A scalar, or with reduction "none" the shape of `predictions`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.smooth_l1_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]), beta=2.0)
        Array(1., dtype=float32)

    References:
        Girshick, Fast R-CNN, 2015.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    values = _smooth_l1(predictions - targets, beta)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _huber(errors: Array, delta: Scalar) -> Array:
    # With q the error clipped to ±delta, q (e - q/2) is both branches at once, and nothing overflows.
    clipped = jnp.clip(errors, -delta, delta)
    return clipped * (errors - clipped / 2)


def _smooth_l1(errors: Array, beta: Scalar) -> Array:
    # A beta whose square leaves the dtype is as good as 0, and dividing by it would have no derivative.
    sharp = jnp.less(beta, math.sqrt(jnp.finfo(errors.dtype).tiny))
    divisor = jnp.where(sharp, 1, beta)
    distances = absolute(errors)
    near = (errors == 0) | (~sharp & (distances < beta))
    small = jnp.where(near, errors, 0)
    return jnp.where(near, small * (small / divisor) / 2, distances - beta / 2)
