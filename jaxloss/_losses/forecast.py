"""Forecast: losses of predicted quantiles, expectiles and whole distributions."""

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
from .._math.arithmetic import at_least, bounded, half_difference, smooth_absolute, standardized
from .._math.dtypes import Scalar
from .._math.indexing import taken


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
    """Absolute error, weighted by whether the prediction is too low or too high: the pinball loss.

        τ (y - x)        where y > x
        (1 - τ) (x - y)  elsewhere

    It is least at the τ-quantile of the targets. Several quantiles at once describe an interval, or a whole
    distribution. τ = 0.5 is half of `l1_loss`. The gradient at x = y is 0.

    Args:
        predictions: Predicted quantiles x: of the shape of `targets` if `quantiles` is a scalar, else with one more
            axis, which has an entry per quantile.
        targets: Observed values y, any shape.
        quantiles: The levels τ of the predicted quantiles, in [0, 1]: a scalar, or an array of shape (quantiles,). With
            an array, the loss of a target is the mean over its quantiles.
        axis: The quantile axis of `predictions`; unused if `quantiles` is a scalar.
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
        values = _pinball(predictions, targets, jnp.asarray(quantiles))
    else:
        predictions, targets = rowwise_inputs(where, axis, predictions=predictions, per_row={"targets": targets})
        levels = _levels_of_rows(quantiles, predictions)
        values = jnp.sum(_pinball(predictions, targets[..., None], levels, predictions.shape[-1]), axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _pinball(predictions: Array, targets: Array, levels: Array, number: int = 1) -> Array:
    factors = jnp.where(targets > predictions, levels, jnp.where(targets < predictions, levels - 1, 0))
    return 2 * factors / number * half_difference(targets, predictions)


def _levels_of_rows(quantiles: ArrayLike, rows: Array) -> Array:
    """Quantile levels, one per entry of a row, with axes of size 1 before them up to the rank of the rows."""
    require_shape("quantiles", quantiles, rows.shape[-1:], "one per prediction")
    return jnp.expand_dims(jnp.asarray(quantiles), tuple(range(rows.ndim - 1)))


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
    """Squared error, weighted by whether the prediction is too low or too high.

        τ (y - x)²        where y > x
        (1 - τ) (y - x)²  elsewhere

    It is least at the τ-expectile of the targets, which is to their mean what a quantile is to their median. With τ
    close to 1 this approaches their maximum, for which implicit Q-learning uses it. τ = 0.5 is half of `mse_loss`.

    Args:
        predictions: Predicted expectiles x, any shape.
        targets: Observed values y, of the shape of `predictions`.
        expectile: The level τ of the predicted expectile, in [0, 1].
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
    # One factor is twice half an error, as all of it may overflow before it is multiplied by the expectile.
    errors, halves = targets - predictions, half_difference(targets, predictions)
    values = 2 * jnp.where(errors < 0, 1 - expectile, expectile) * halves * bounded(errors)
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
    """Pinball loss, smoothed around 0, of predicted quantiles against samples of a distribution.

        Σᵢ 1/m Σⱼ |τᵢ - [yⱼ < xᵢ]| huber(yⱼ - xᵢ) / delta

    The loss of distributional reinforcement learning (QR-DQN), where the samples are quantiles of the next state. Each
    of the n predictions of a row is compared with each of its m targets, so memory grows with n·m. Gradients flow to
    both inputs: apply `jax.lax.stop_gradient` to targets that the network itself predicts. `delta = 0` is the pinball
    loss, with gradient 0 at xᵢ = yⱼ.

    Args:
        predictions: Predicted quantiles x, shape (..., n).
        targets: Samples y, shape (..., m).
        delta: Size of the error from which the loss is linear, in the units of `targets`; not negative.
        quantiles: The levels τ of the predicted quantiles, in [0, 1], shape (n,); None for (2i - 1) / 2n, the middles
            of n equal parts.
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
    levels = _levels_of_rows(levels, predictions)[..., None]
    halves = half_difference(targets[..., None, :], predictions[..., :, None])
    factors = 2 * jnp.where(halves < 0, 1 - levels, levels) / halves.shape[-1]
    values = jnp.sum(factors * smooth_absolute(halves, delta / 2), axis=(-2, -1))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"scales": NON_NEGATIVE, "eps": POSITIVE}, recomputed=True)
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

    For regression with a predicted uncertainty. Unlike `gaussian_nll_loss` it is in the units of the targets, and its
    gradient is bounded. As the scale goes to 0 it becomes `l1_loss`. A scale up to `eps` has no gradient. Φ and φ are
    the standard normal distribution function and its density.

    Args:
        means: Predicted means, any shape.
        targets: Targets y, of the shape of `means`.
        scales: Predicted standard deviations, not variances, of the shape of `means`.
        eps: Smallest standard deviation; positive.
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
    values = _crps_gaussian(means, targets, at_least(scales, eps))
    return reduce(values, where=where, weights=weights, reduction=reduction)


# In the first derivatives the terms that come from ω cancel. Autodiff would keep their rounding errors, and
# overflow where ω does.
@jax.custom_jvp
def _crps_gaussian(means: Array, targets: Array, scales: Array) -> Array:
    return _crps_and_derivatives(means, targets, scales)[0]


@_crps_gaussian.defjvp
def _crps_gaussian_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    values, in_errors, in_scales = _crps_and_derivatives(*primals)
    return values, in_errors * (tangents[1] - tangents[0]) + in_scales * tangents[2]


def _crps_and_derivatives(means: Array, targets: Array, scales: Array) -> tuple[Array, Array, Array]:
    """The score, and its derivatives with respect to error and scale: 2 Φ(ω) - 1, and 2 φ(ω) - 1/√π.

    The second is its value at ω = 0 minus what is lost from there, which is accurate for a small ω.
    """
    # Further out nothing changes, but squares of the distance would overflow.
    omega = jnp.clip(standardized(targets, means, scales), -100, 100)
    lost = -jnp.expm1(-jnp.square(omega) / 2)
    in_errors = jax.lax.erf(omega * math.sqrt(0.5))
    in_scales = (math.sqrt(2) - 1 - math.sqrt(2) * lost) / math.sqrt(math.pi)
    return 2 * (half_difference(targets, means) * in_errors + scales / 2 * in_scales), in_errors, in_scales


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

    For forecasts that are samples. It rewards members that are close to the target, and as far from each other as from
    it. The members are sorted, so time grows with m log m. The gradient at xᵢ = y is 0. Equal members have different
    gradients, by their order.

    Args:
        predictions: Members x of the ensemble, shape (..., members).
        targets: Observed values y, of the shape of `predictions` without `axis`.
        fair: Whether to divide the second sum by 2m(m - 1) instead of 2m². Then the expected score does not depend on
            the number of members. With one member, both scores are the absolute error.
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
    # Not `jnp.sort`: its derivative indexes in a way that JAX refuses for a batch on explicit mesh axes.
    order = jnp.argsort(jax.lax.stop_gradient(predictions), axis=-1)
    members = taken(predictions, order)
    values = _crps_ensemble(members, targets[..., None], fair=fair)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _crps_ensemble(members: Array, targets: Array, *, fair: bool) -> Array:
    """The integral of (F(t) - [t ≥ y])² over t, where F is the distribution function of the sorted members.

    F is k/m between the k-th member and the next. No term of the integral is negative, so nothing cancels. The fair
    score has k(k - 1) / (m(m - 1)) in place of (k/m)².
    """
    number = members.shape[-1]
    low, high = members[..., :-1], members[..., 1:]
    below = jax.lax.broadcasted_iota(members.dtype, low.shape, low.ndim - 1) + 1
    above = number - below
    self_pairs = int(fair)  # per member, to be left out
    pairs = number * (number - self_pairs)
    # Between equal members the target has no gradient.
    middle = jnp.where(low < high, jnp.clip(targets, low, high), low)
    twice_below, twice_above = (2 * count * (count - self_pairs) / max(pairs, 1) for count in (below, above))
    inside = twice_below * half_difference(middle, low) + twice_above * half_difference(high, middle)
    outside = jnp.maximum(members[..., :1] - targets, 0) + jnp.maximum(targets - members[..., -1:], 0)
    return outside[..., 0] + jnp.sum(inside, axis=-1)
