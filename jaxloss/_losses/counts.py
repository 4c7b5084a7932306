"""Counts and amounts: losses for targets that cannot be negative, such as numbers of events, claims or rainfall."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import NON_NEGATIVE, POSITIVE, Mask, Reduction, Weights, elementwise_inputs, loss_function, reduce
from .._math.arithmetic import at_least, bounded, log, quotient, times
from .._math.dtypes import Scalar
from .._math.special import (
    HALF_LOG_2PI,
    close_log_ratio,
    entropy_gap,
    exponential_growth,
    log1p_deficit,
    log1p_over,
    log1p_product,
    log_ratio,
    stirling_error,
    unit_integral,
)


@loss_function(domains={"targets": NON_NEGATIVE, "eps": NON_NEGATIVE})
def poisson_nll_loss(
    predictions: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    log_input: bool = True,
    full: bool = False,
    eps: Scalar = 1e-8,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of counts under Poisson distributions, without the term log(y!).

        exp(x) - y x          where x is the log of the rate
        x - y log(x + eps)    where x is the rate

    For counts of events: clicks, photons, claims. Keras's `poisson` takes rates; optax has no such loss.

    Args:
        predictions: Logs of the predicted rates, or with `log_input=False` the rates; any shape.
        targets: Counts y, of the shape of `predictions`.
        log_input: Whether `predictions` are logs of rates.
        full: Whether to add Stirling's approximation of log(y!), y log y - y + log(2πy)/2, where y > 1.
        eps: Added to a rate before its log, which is then finite at rate 0; unused with `log_input`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `predictions`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.poisson_nll_loss(jnp.array([0.0, 0.0]), jnp.array([1, 3]))
        Array(1., dtype=float32)

    References:
        Nelder and Wedderburn, Generalized linear models, 1972.
    """
    predictions, targets = elementwise_inputs(where, predictions=predictions, targets=targets)
    if log_input:
        values = jnp.exp(predictions) - targets * predictions
    else:
        rates = predictions + eps
        zero_times_log_zero = (targets == 0) & (rates == 0)
        values = predictions - times(targets, log(jnp.where(zero_times_log_zero, 1, rates)))
    if full:
        values = values + _stirling(targets)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _stirling(counts: Array) -> Array:
    small = counts <= 1
    large = jnp.where(small, 1, counts)
    return jnp.where(small, 0, large * jnp.log(large) - large + jnp.log(2 * math.pi * large) / 2)


@loss_function(domains={"means": NON_NEGATIVE, "targets": NON_NEGATIVE, "dispersions": NON_NEGATIVE, "eps": POSITIVE})
def negative_binomial_nll_loss(
    means: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    dispersions: Float[ArrayLike, "*shape"],
    *,
    eps: Scalar = 1e-6,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of counts under negative binomial distributions.

        log(1 + αm)/α + y log((1 + αm)/m) + log Γ(y + 1) + log Γ(r) - log Γ(y + r) + y log r,  r = 1/α

    For counts that vary more than a Poisson distribution allows, such as sales and visits: their variance is m + αm². A
    dispersion of 0 is the Poisson distribution, and close to 0 the loss stays accurate. It is the full likelihood, with
    log(y!). If a target is above 0, a mean up to `eps` counts as `eps` and has no gradient. A target of 0 has no
    gradient with respect to itself.

    Args:
        means: Predicted means m, any shape; not negative.
        targets: Counts y, of the shape of `means`.
        dispersions: Predicted dispersions α, of the shape of `means`; not negative.
        eps: Smallest mean for a target above 0; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `means`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.negative_binomial_nll_loss(jnp.array([1.0, 2.0]), jnp.array([0, 3]), jnp.array([1.0, 0.5]))
        Array(1.3863, dtype=float32)

    References:
        Lawless, Negative binomial and mixed Poisson regression, 1987.
        Loader, Fast and accurate computation of binomial probabilities, 2000 (the method of computing it).
        Salinas et al., DeepAR: probabilistic forecasting with autoregressive recurrent networks, 2020.
    """
    means, targets, dispersions = elementwise_inputs(where, means=means, targets=targets, dispersions=dispersions)
    zero = targets == 0
    values_above_0 = _negative_binomial(at_least(means, eps), jnp.where(zero, 1, targets), dispersions)
    values = jnp.where(zero, log1p_over(dispersions, means), values_above_0)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _negative_binomial(means: Array, targets: Array, dispersions: Array) -> Array:
    """The negative log-likelihood of counts above 0, as Loader's sum of terms that do not cancel."""
    # The gamma functions are those of r, r + y and y + 1; `stirling_error` takes the inverses of r, r + y and y.
    inverses = jnp.stack([dispersions, quotient(dispersions, 1 + dispersions * targets), 1 / targets])
    at_failures, at_trials, at_target = jnp.unstack(stirling_error(inverses))
    log_factor = (jnp.log(targets) + log1p_product(dispersions, targets)) / 2 + HALF_LOG_2PI
    return _binomial_deviance(means, targets, dispersions) + log_factor + at_target + (at_failures - at_trials)


def _binomial_deviance(means: Array, targets: Array, dispersions: Array) -> Array:
    """By how much the log-likelihood would be higher if the mean were equal to the target; never negative.

    The likelihood is that of r failures in r + y trials.
    """
    # 1 + αx is written as (1 + α)(h + cx) with h + c = 1, which cannot overflow. Below, c · errors is ratio - 1.
    h = 1 / (1 + dispersions)
    c = dispersions * h
    divisor = h + c * means
    ratio, errors = quotient(h + c * targets, divisor), quotient(targets - means, divisor)
    near = jnp.abs(c * errors) < 0.5
    excess = jnp.where(near, c * errors, 0)
    failures = jnp.where(
        near,
        excess * jnp.where(near, errors, 0) * h * log1p_deficit(excess),
        (c * errors - jnp.log(jnp.where(near, 1, ratio))) / jnp.where(near, 1, dispersions),
    )
    return failures + entropy_gap(targets, -h * errors, log_ratio(means, targets) + jnp.log(ratio))


@loss_function(domains={"means": POSITIVE, "targets": NON_NEGATIVE})
def tweedie_loss(
    means: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    power: Scalar = 1.5,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Unit deviance of the Tweedie distributions, whose variance is proportional to mean^power.

        2 (y^(2-p)/((1-p)(2-p)) - y m^(1-p)/(1-p) + m^(2-p)/(2-p)),  p = power
        2 (y log(y/m) - y + m)                                       at p = 1
        2 (log(m/y) + y/m - 1)                                       at p = 2

    With powers between 1 and 2, for amounts that are often exactly 0: claims, rainfall, demand. Power 0 is the squared
    error, 1 the deviance of the Poisson distribution, 2 that of the gamma and 3 that of the inverse Gaussian. The loss
    stays accurate close to these powers, and where a mean is close to its target. A target of 0 has no gradient with
    respect to itself, and its loss is inf for powers of 2 and more. scikit-learn calls it `mean_tweedie_deviance`.

    Args:
        means: Predicted means m, any shape; positive.
        targets: Amounts y, of the shape of `means`; not negative.
        power: Power p of the mean in the variance. No distribution has a power between 0 and 1.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `means`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.tweedie_loss(jnp.array([1.0, 4.0]), jnp.array([0.0, 1.0]))
        Array(3., dtype=float32)

    References:
        Tweedie, An index which distinguishes between some important exponential families, 1984.
        Jørgensen, Exponential dispersion models, 1987.
    """
    means, targets = elementwise_inputs(where, means=means, targets=targets)
    # A mean that a network computes as an exponential may underflow to 0.
    means = at_least(means, float(jnp.finfo(means.dtype).tiny))
    values = 2 * _half_tweedie_deviance(means, targets, jnp.asarray(power, means.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@jax.custom_jvp
def _half_tweedie_deviance(means: Array, targets: Array, power: Array) -> Array:
    """The integral of (y - t) t^-p dt from the mean to the target y."""
    return _tweedie_integral(means, targets, power)


# The derivatives with respect to means and targets are simple. Those that autodiff finds for the integral would cancel.
@_half_tweedie_deviance.defjvp
def _half_tweedie_deviance_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    means, targets, power = primals
    values, in_power = jax.jvp(functools.partial(_tweedie_integral, means, targets), (power,), (tangents[2],))
    in_means = _slope_by_means(means, targets, power)
    zero, targets_above_0, logs = _targets_above_0(means, targets)
    exponents = (1 - power) * logs
    larger = jnp.where(exponents > 0, means, targets_above_0)
    larger_root = _bounded_root_of_power(larger, 1 - power)
    in_targets = jnp.where(zero, 0, -logs * larger_root * _mean_over_larger(exponents) * larger_root)
    return values, in_means * tangents[0] + in_targets * tangents[1] + in_power


@jax.custom_jvp
def _slope_by_means(means: Array, targets: Array, power: Array) -> Array:
    root = _bounded_root_of_power(means, -power)
    return (means - targets) * root * root


# Its derivative by the means is written so that nothing cancels up to a power of 1.
@_slope_by_means.defjvp
def _slope_by_means_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    means, targets, power = primals
    slope, root = _slope_by_means(*primals), _bounded_root_of_power(means, -power)
    in_means = (1 - power) * root * root + power * root * quotient(targets, means) * root
    return slope, in_means * tangents[0] - root * root * tangents[1] - jnp.log(means) * slope * tangents[2]


def _tweedie_integral(means: Array, targets: Array, power: Array) -> Array:
    zero, targets, logs = _targets_above_0(means, targets)
    near = jnp.abs(logs) * (1 + jnp.abs(power)) < 3
    small, large = jnp.where(near, logs, 0), jnp.where(near, 1, logs)
    # With t = y exp(s log(m/y)) the integrand has one sign, so that nothing cancels.
    root = _bounded_root_of_power(targets, 2 - power)
    integral = unit_integral(lambda s, logs: jnp.expm1(s * logs) * jnp.exp((1 - power) * s * logs), small)
    close = root * small * integral * root
    possible = power < 2
    exponent = jnp.where(possible, 2 - power, 1)
    of_zero = jnp.where(zero, means, 1) ** exponent / exponent + jnp.where(possible, 0, jnp.inf)
    # (m^a - y^a)/a for a = 2 - p, minus y times the same for a = 1 - p; a may be 0.
    means, targets = jnp.where(near, 1, jnp.stack([means, targets]))
    first, second = (2 - power) * large, (1 - power) * large
    # Each term overflows before their product with the logarithm does, so the larger one is taken out of both.
    first_root = bounded(jnp.where(first > 0, means, targets) ** ((2 - power) / 2))
    second_root = bounded(jnp.sqrt(targets) * jnp.where(second > 0, means, targets) ** ((1 - power) / 2))
    root = jnp.maximum(jnp.maximum(first_root, second_root), jnp.finfo(means.dtype).tiny)
    first_term = jnp.square(first_root / root) * _mean_over_larger(first)
    second_term = jnp.square(second_root / root) * _mean_over_larger(second)
    distant = root * (large * (first_term - second_term)) * root
    return jnp.where(zero, of_zero, jnp.where(near, close, distant))


def _bounded_root_of_power(x: Array, exponent: Array) -> Array:
    """The square root of a power of x, and the largest number of the dtype if that is infinite.

    Products contain it twice as a factor. So they overflow only if their true value does, and 0 times it is 0.
    """
    return bounded(x ** (exponent / 2))


def _mean_over_larger(logs: Array) -> Array:
    """The logarithmic mean of two numbers over the larger: (1 - exp(-|x|)) / |x|, where x is the log of their ratio.

    The logarithmic mean of a and b is (a - b) / log(a / b). At x = 0 the other number becomes the larger one. This
    function times the larger number is smooth there, since the logarithmic mean is.
    """
    return exponential_growth(jnp.ones_like(logs), jnp.where(logs > 0, -logs, logs))


def _targets_above_0(means: Array, targets: Array) -> tuple[Array, Array, Array]:
    """A mask of the targets that are 0, the targets with 1 in place of these, and log(mean / target) for the latter."""
    zero = targets == 0
    targets = jnp.where(zero, 1, targets)
    return zero, targets, close_log_ratio(means, targets, means - targets)
