"""Counts and amounts: losses of what cannot be negative, such as numbers of events, claims or rain."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import NON_NEGATIVE, POSITIVE, Mask, Reduction, Weights, elementwise_inputs, loss_function, reduce
from .._math.arithmetic import at_least, bounded, quotient
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

        exp(x) - y x            where x is the log of the rate
        x - y log(x + eps)      where x is the rate

    For counts of events: clicks, photons, claims. Keras's `poisson` takes rates; optax has none.

    Args:
        predictions: Logs of the rates, or rates if not `log_input`; any shape.
        targets: Counts, of the shape of `predictions`.
        log_input: Whether `predictions` are logs.
        full: Whether to add Stirling's approximation of log(y!), y log y - y + log(2πy)/2, where y > 1.
        eps: Keeps the log of a rate of 0 finite; unused with `log_input`.
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
        impossible_log = (targets == 0) & (rates == 0)
        values = predictions - targets * jnp.log(jnp.where(impossible_log, 1, rates))
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

    For counts that vary more than a Poisson distribution allows, as sales and visits do: their variance is m + αm². At
    a dispersion of 0 it is the Poisson distribution, and near it nothing cancels. It is the full likelihood, with
    log(y!). For a target above 0 a mean below `eps` counts as `eps`, without a gradient; a target of 0 has no gradient
    for itself.

    Args:
        means: Predicted means m, any shape; not negative.
        targets: Counts y, of the shape of `means`.
        dispersions: Predicted dispersions α, of the shape of `means`; not negative.
        eps: Least mean of a target above 0; positive.
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
        Loader, Fast and accurate computation of binomial probabilities, 2000 (how it is computed).
        Salinas et al., DeepAR: probabilistic forecasting with autoregressive recurrent networks, 2020.
    """
    means, targets, dispersions = elementwise_inputs(where, means=means, targets=targets, dispersions=dispersions)
    none = targets == 0
    positive = _negative_binomial(at_least(means, eps), jnp.where(none, 1, targets), dispersions)
    values = jnp.where(none, log1p_over(dispersions, means), positive)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _negative_binomial(means: Array, targets: Array, dispersions: Array) -> Array:
    """The likelihood of counts above 0, as a sum of terms none of which is negative but the constant."""
    inverses = jnp.stack([dispersions, quotient(dispersions, 1 + dispersions * targets), 1 / targets])
    at_failures, at_all, at_target = jnp.unstack(stirling_error(inverses))
    spread = (jnp.log(targets) + log1p_product(dispersions, targets)) / 2 + HALF_LOG_2PI
    return _binomial_deviance(means, targets, dispersions) + spread + at_target + (at_failures - at_all)


def _binomial_deviance(means: Array, targets: Array, dispersions: Array) -> Array:
    """How much likelier the target would be if it were the mean, of r failures in r + y trials: never negative."""
    # 1 + αx as (1 + α)(h + cx), with h + c = 1, overflows nowhere.
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

    For amounts that are often exactly 0, with powers between 1 and 2: claims, rainfall, demand. At 0 it is the squared
    error, at 1 the deviance of the Poisson distribution, at 2 that of the gamma, at 3 that of the inverse Gaussian; and
    it does not cancel near these or where a mean is close to its target. A target of 0 has no gradient for itself, and
    from power 2 on it has a loss of inf. scikit-learn calls it `mean_tweedie_deviance`.

    Args:
        means: Predicted means m, any shape; positive.
        targets: Amounts y, of the shape of `means`; not negative.
        power: Power p of the mean in the variance; no distribution has one between 0 and 1.
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
    means = at_least(means, float(jnp.finfo(means.dtype).tiny))  # what an exponential leaves of a very negative number
    values = 2 * _half_tweedie_deviance(means, targets, jnp.asarray(power, means.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)


@jax.custom_jvp
def _half_tweedie_deviance(means: Array, targets: Array, power: Array) -> Array:
    """∫ (y - t) t^-p dt from m to y."""
    return _tweedie_integral(means, targets, power)


# The slopes in means and targets are simple, but as derivatives of the integral they would cancel.
@_half_tweedie_deviance.defjvp
def _half_tweedie_deviance_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    means, targets, power = primals
    values, in_power = jax.jvp(functools.partial(_tweedie_integral, means, targets), (power,), (tangents[2],))
    root = _root_of_power(means, -power)
    absent, present, logs = _present_and_logs(means, targets)
    exponents = (1 - power) * logs
    largest = jnp.where(exponents > 0, means, present)
    largest_root = _root_of_power(largest, 1 - power)
    in_targets = jnp.where(absent, 0, -logs * largest_root * _mean_decay(exponents) * largest_root)
    return values, (means - targets) * root * root * tangents[0] + in_targets * tangents[1] + in_power


def _tweedie_integral(means: Array, targets: Array, power: Array) -> Array:
    absent, present, logs = _present_and_logs(means, targets)
    near = jnp.abs(logs) * (1 + jnp.abs(power)) < 3
    small, large = jnp.where(near, logs, 0), jnp.where(near, 1, logs)
    # With t = y exp(s) the integrand has one sign.
    root = _root_of_power(present, 2 - power)
    integral = unit_integral(lambda s, logs: jnp.expm1(s * logs) * jnp.exp((1 - power) * s * logs), small)
    close = root * small * integral * root
    possible = power < 2
    exponent = jnp.where(possible, 2 - power, 1)
    alone = jnp.where(absent, means, 1) ** exponent / exponent + jnp.where(possible, 0, jnp.inf)
    # Differences of powers over their exponents, either of which may be 0.
    means, present = jnp.where(near, 1, jnp.stack([means, present]))
    outer, inner = (2 - power) * large, (1 - power) * large
    root = means ** ((1 - power) / 2)
    outer_largest = jnp.where(outer > 0, means, present) ** (2 - power)
    inner_largest = jnp.where(inner > 0, root * present * root, present ** (2 - power))
    distant = large * (outer_largest * _mean_decay(outer) - inner_largest * _mean_decay(inner))
    return jnp.where(absent, alone, jnp.where(near, close, distant))


def _root_of_power(x: Array, exponent: Array) -> Array:
    """The root of a power, as a factor to be taken twice: it overflows last, and times 0 it is 0."""
    return bounded(x ** (exponent / 2))


def _mean_decay(exponents: Array) -> Array:
    """The mean of a power between two numbers, relative to the larger of its values, of which this is the log ratio.

    Both branches are one function of the exponent times what they are relative to, so that all its derivatives agree.
    """
    return exponential_growth(jnp.ones_like(exponents), jnp.where(exponents > 0, -exponents, exponents))


def _present_and_logs(means: Array, targets: Array) -> tuple[Array, Array, Array]:
    """Which targets are 0, the targets with those made 1, and log(mean / target) of these."""
    absent = targets == 0
    present = jnp.where(absent, 1, targets)
    return absent, present, close_log_ratio(means, present, means - present)
