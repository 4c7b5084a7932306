"""Robust regression: losses that level off, so that what is far off hardly counts."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import POSITIVE, Mask, Reduction, Weights, elementwise_inputs, loss_function, reduce
from .._math.arithmetic import absolute, hypotenuse, polynomial, quotient
from .._math.dtypes import Scalar
from .._math.special import exponential_growth


@loss_function(domains={"scale": POSITIVE})
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
    """A family of robust losses, from the squared error to those that ignore what is far off.

        |α - 2|/α ((e² / |α - 2| + 1)^(α/2) - 1),  e = (x - y) / scale
        e² / 2             where α is 2
        log(1 + e² / 2)    where α is 0 (Cauchy)
        1 - exp(-e² / 2)   where α is -inf (Welsch)

    `alpha` says how little outliers count, and may be learnt; 1 is `charbonnier_loss` in units of `scale`, less its
    least value, and -2 is Geman and McClure's. All members are the same parabola around 0. The derivative with respect
    to `alpha` is infinite at 2, where 0 is taken for it.

    Args:
        predictions: Any shape.
        targets: The shape of `predictions`.
        alpha: Shape of the loss: the power of large errors if positive, else how fast the loss levels off; -inf is
            allowed, inf is not.
        scale: Error below which the loss is about quadratic, in the units of `targets`; positive.
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
    values = _general_robust(quotient(predictions - targets, scale), jnp.asarray(alpha, predictions.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _general_robust(errors: Array, alpha: Array) -> Array:
    """The loss of errors in units of the scale; with b = |α - 2| and h = √(1 + e²/b) it is b (h^α - 1) / α.

    For α < 1 that is taken as (exp(s g) - 1) / s, where s = α / b, and g = b log h tends to e²/2 as b grows; for others
    as ((e/h)² h^α + b (h^(α - 2) - 1)) / α, whose second term vanishes with b.
    """
    parabola = alpha == 2
    alpha = jnp.where(parabola, 1, alpha)
    b = absolute(2 - alpha)
    capped = jnp.minimum(b, 1e4)  # beyond, exp(-g) is 0 wherever h is used, and infinity would make h NaN
    root = jnp.sqrt(capped)
    h = hypotenuse(errors, root) / root

    near = jnp.abs(errors) < jnp.sqrt(b)
    limit = math.sqrt(jnp.finfo(errors.dtype).max) / 2  # only an infinite b is beyond it, and the loss then 1
    squares = jnp.square(jnp.clip(jnp.where(near, errors, 0), -limit, limit))
    q = squares / b
    # log(1 + q) is 2 artanh(q / (2 + q)), whose series has a derivative in α that does not cancel.
    artanh = polynomial([1 / n for n in range(1, 35, 2)], jnp.square(q / (2 + q)))
    g = jnp.where(near, squares / (2 + q) * artanh, capped * jnp.log(h))

    saturating, bounded = alpha < 1, alpha == -jnp.inf
    s = jnp.where(bounded, -1, jnp.where(bounded, 0, alpha) / b)
    low = exponential_growth(g, jnp.where(saturating, s, 0))

    alpha, b = jnp.where(saturating, 1, alpha), jnp.where(saturating, 1, b)
    high = (jnp.square(quotient(errors, h)) * h**alpha + b * jnp.expm1(jnp.sign(alpha - 2) * g)) / alpha
    return jnp.where(parabola, errors * (errors / 2), jnp.where(saturating, low, high))
