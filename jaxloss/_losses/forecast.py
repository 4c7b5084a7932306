"""Forecast: losses of quantiles, of expectiles and of whole predicted distributions."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import (
    NON_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    Mask,
    Reduction,
    Weights,
    elementwise_inputs,
    loss_function,
    reduce,
    require_shape,
    rowwise_inputs,
    shielded,
)
from .._math.arithmetic import at_least, quotient, smooth_absolute
from .._math.dtypes import Scalar


@loss_function(domains={"quantiles": PROBABILITY})
def quantile_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*batch"],
    *,
    quantiles: Scalar | Float[ArrayLike, " quantiles"],
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Absolute error with a price of its own on either side: the pinball loss.

        τ (y - x)        where y > x
        (1 - τ) (x - y)  elsewhere

    Its minimiser is the τ-quantile; several at once make an interval, or a whole distribution. 0.5 is half of
    `l1_loss`. The subgradient at x = y is 0.

    Args:
        predictions: Quantiles of the targets: the shape of `targets` if `quantiles` is a scalar, else with an axis of
            their number.
        targets: What came true, any shape.
        quantiles: Which quantiles are predicted, in [0, 1]: a scalar, or an array of shape (quantiles,) over which a
            value is the mean.
        axis: The quantile axis of `predictions`; unused with a scalar.
        where, weights, reduction: As in `jaxloss.reduce`, per target.

    Returns:
        A scalar, or with reduction "none" the shape of `targets`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.quantile_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]), quantiles=0.9)
        Array(1.35, dtype=float32)
        >>> jaxloss.quantile_loss(jnp.array([[1.0, 4.0]]), jnp.array([2.0]), quantiles=jnp.array([0.1, 0.9]))
        Array(0.15, dtype=float32)

    References:
        Koenker and Bassett, Regression quantiles, 1978.
    """
    if jnp.ndim(quantiles) == 0:
        predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
        values = _pinball(targets - predictions, jnp.asarray(quantiles))
    else:
        predictions, targets = rowwise_inputs(where, axis, predictions=predictions, per_row={"targets": targets})
        levels = _of_rows(quantiles, predictions)
        values = jnp.mean(_pinball(targets[..., None] - predictions, levels), axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _pinball(errors: Array, quantiles: Array) -> Array:
    return jnp.where(errors > 0, quantiles, jnp.where(errors < 0, quantiles - 1, 0)) * errors


@loss_function(domains={"expectile": PROBABILITY})
def expectile_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    expectile: Scalar = 0.5,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Squared error with a price of its own on either side.

        τ (y - x)²        where y > x
        (1 - τ) (y - x)²  elsewhere

    Its minimiser is the τ-expectile, which is to the mean what a quantile is to the median; near 1 it is the maximum
    that data support, for which implicit Q-learning takes it. 0.5 is half of `mse_loss`.

    Args:
        predictions: Expectiles of the targets, any shape.
        targets: What came true, of the shape of `predictions`.
        expectile: Which expectile is predicted, in [0, 1].
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.expectile_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]), expectile=0.9)
        Array(4.05, dtype=float32)

    References:
        Newey and Powell, Asymmetric least squares estimation and testing, 1987.
        Kostrikov, Nair and Levine, Offline reinforcement learning with implicit Q-learning, 2022.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    errors = targets - predictions
    values = jnp.where(errors < 0, 1 - expectile, expectile) * errors * errors
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"delta": NON_NEGATIVE, "quantiles": PROBABILITY})
def quantile_huber_loss(
    predictions: Float[ArrayLike, "*batch quantiles"],
    targets: Real[ArrayLike, "*batch samples"],
    *,
    delta: Scalar = 1.0,
    quantiles: Float[ArrayLike, " quantiles"] | None = None,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Pinball loss, rounded off around 0, of predicted quantiles against samples of a distribution.

        Σᵢ 1/m Σⱼ |τᵢ - [yⱼ < xᵢ]| huber(yⱼ - xᵢ) / delta

    The loss of distributional reinforcement learning (QR-DQN), where the samples are quantiles of the next state: n
    predictions meet m targets of their row, in an array of n·m differences. Gradients flow to both; where targets come
    from the network itself, `jax.lax.stop_gradient` them. `delta = 0` is the pinball loss, with subgradient 0 at
    xᵢ = yⱼ.

    Args:
        predictions: Quantiles, shape (..., n).
        targets: Samples, shape (..., m).
        delta: Error at which the loss turns linear, in the units of `targets`; not negative.
        quantiles: Which quantiles are predicted, in [0, 1], shape (n,); None for the midpoints (2i - 1) / 2n.
        axis: The axis of quantiles and of samples.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.quantile_huber_loss(jnp.array([[1.0, 3.0]]), jnp.array([[0.0, 2.0, 4.0]]))
        Array(0.75, dtype=float32)

    References:
        Dabney et al., Distributional reinforcement learning with quantile regression, 2018.
    """
    (predictions,) = rowwise_inputs(None, axis, predictions=predictions)
    (targets,) = rowwise_inputs(None, axis, targets=targets)
    *batch, number = predictions.shape
    require_shape("targets", targets, (*batch, targets.shape[-1]), f"for predictions {predictions.shape}")
    predictions, targets = shielded(where, tuple(batch), predictions=predictions, targets=targets)
    levels = (jnp.arange(number, dtype=predictions.dtype) + 0.5) / number if quantiles is None else quantiles
    levels = _of_rows(levels, predictions)[..., None]
    errors = targets[..., None, :] - predictions[..., :, None]
    prices = jnp.where(errors < 0, 1 - levels, levels) * smooth_absolute(errors, delta)
    values = jnp.sum(jnp.mean(prices, axis=-1), axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _of_rows(quantiles: ArrayLike, rows: Array) -> Array:
    """Quantiles with the rank of predictions."""
    require_shape("quantiles", quantiles, rows.shape[-1:], "one per prediction")
    return jnp.expand_dims(jnp.asarray(quantiles), tuple(range(rows.ndim - 1)))


@loss_function(domains={"scales": NON_NEGATIVE, "eps": POSITIVE})
def crps_gaussian(
    means: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    scales: Float[ArrayLike, "*shape"],
    *,
    eps: Scalar = 1e-6,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Continuous ranked probability score of independent normal distributions.

        s (ω (2 Φ(ω) - 1) + 2 φ(ω) - 1/√π),  ω = (y - mean) / s,  s = max(scale, eps)

    For regression with a predicted uncertainty: in the units of the targets, and of bounded gradient, where
    `gaussian_nll_loss` is neither. As the scale vanishes it becomes `l1_loss`. Below `eps` the scale has no gradient.

    Args:
        means: Predicted means, any shape.
        targets: The shape of `means`.
        scales: Predicted standard deviations, not variances, of the shape of `means`.
        eps: Least standard deviation; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `means`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.crps_gaussian(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]), jnp.array([1.0, 1.0]))
        Array(0.8433, dtype=float32)

    References:
        Gneiting et al., Calibrated probabilistic forecasting using ensemble model output statistics, 2005.
        Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, 2007.
    """
    means, targets, scales = elementwise_inputs(where, means=means, targets=targets, scales=scales)
    values = _crps_gaussian(targets - means, at_least(scales, eps))
    return reduce(values, where=where, weights=weights, reduction=reduction)


# The slopes in ω cancel out of the first derivative: autodiff would round them, and overflow where ω does.
@jax.custom_jvp
def _crps_gaussian(errors: Array, scales: Array) -> Array:
    inside, outside = _slopes(errors, scales)
    return errors * inside + scales * outside


@_crps_gaussian.defjvp
def _crps_gaussian_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (errors, scales), (inside, outside) = primals, _slopes(*primals)
    return errors * inside + scales * outside, inside * tangents[0] + outside * tangents[1]


def _slopes(errors: Array, scales: Array) -> tuple[Array, Array]:
    """2 Φ(ω) - 1, and 2 φ(ω) - 1/√π as its value at 0 less what is lost from there."""
    omega = quotient(errors, scales)
    lost = -jnp.expm1(-jnp.square(omega) / 2)
    return jax.lax.erf(omega * math.sqrt(0.5)), (math.sqrt(2) - 1 - math.sqrt(2) * lost) / math.sqrt(math.pi)


@loss_function()
def crps_ensemble(
    predictions: Float[ArrayLike, "*batch members"],
    targets: Real[ArrayLike, "*batch"],
    *,
    fair: bool = False,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Continuous ranked probability score of an ensemble.

        1/m Σᵢ |xᵢ - y| - 1/(2m²) Σᵢⱼ |xᵢ - xⱼ|

    For forecasts that are samples: it rewards members near the truth that are as far from each other as from it. Its
    time grows with m log m, as members are sorted. The subgradient at xᵢ = y is 0; of equal members each has another
    share, in their order.

    Args:
        predictions: Members, shape (..., members).
        targets: What came true, of the shape of `predictions` without `axis`.
        fair: Whether to divide the second sum by 2m(m - 1): the expected score does not depend then on the number of
            members. One member alone has the absolute error, either way.
        axis: The member axis.
        where, weights, reduction: As in `jaxloss.reduce`, per target.

    Returns:
        A scalar, or with reduction "none" the shape of `targets`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.crps_ensemble(jnp.array([[1.0, 3.0, 4.0]]), jnp.array([2.0]))
        Array(0.6667, dtype=float32)

    References:
        Hersbach, Decomposition of the continuous ranked probability score for ensemble prediction systems, 2000.
        Ferro, Fair scores for ensemble forecasts, 2014.
    """
    predictions, targets = rowwise_inputs(where, axis, predictions=predictions, per_row={"targets": targets})
    # The derivative of a sort indexes in a way that a batch sharded explicitly does not allow.
    order = jnp.argsort(jax.lax.stop_gradient(predictions), axis=-1)
    members = jnp.take_along_axis(predictions, order, axis=-1, mode="promise_in_bounds")
    values = _crps_ensemble(members, targets[..., None], fair=fair)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _crps_ensemble(members: Array, targets: Array, *, fair: bool) -> Array:
    """The integral of the squared difference of the distributions, between sorted members and beyond: all positive.

    Between the k-th member and the next the ensemble's is k/m, the truth's 0 below the target and 1 above.
    """
    number = members.shape[-1]
    low, high = members[..., :-1], members[..., 1:]
    below = jax.lax.broadcasted_iota(members.dtype, low.shape, low.ndim - 1) + 1
    above = number - below
    apart = int(fair)
    pairs = number * (number - apart)
    middle = jnp.where(low < high, jnp.clip(targets, low, high), low)  # between equal members the target has no slope
    inside = (below * (below - apart) * (middle - low) + above * (above - apart) * (high - middle)) / max(pairs, 1)
    outside = jnp.maximum(members[..., :1] - targets, 0) + jnp.maximum(targets - members[..., -1:], 0)
    return outside[..., 0] + jnp.sum(inside, axis=-1)
