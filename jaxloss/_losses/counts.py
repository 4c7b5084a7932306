"""Counts and amounts: losses for targets that cannot be negative, such as numbers of events, claims or rainfall."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import NON_NEGATIVE, POSITIVE, Mask, Reduction, Weights, elementwise_inputs, loss_function, reduce
from .._math.arithmetic import at_least, log, quotient, times
from .._math.deviances import binomial_deviance, half_tweedie_deviance, scaled_line
from .._math.dtypes import Scalar
from .._math.logarithms import log1p_over, log1p_product, log_ratio
from .._math.special import HALF_LOG_2PI, entropy_gap, gap_of_amounts, stirling_error


@loss_function(domains={"targets": NON_NEGATIVE, "eps": NON_NEGATIVE}, recomputed=True)
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
    large = jnp.logical_and(full, targets > 1)
    counts, large_counts = jnp.where(large, 0, targets), jnp.where(large, targets, 1)
    if log_input:
        values = jnp.exp(predictions) - counts * predictions
    else:
        rates = predictions + eps
        zero_times_log_zero = (counts == 0) & (rates == 0)
        values = predictions - times(counts, log(jnp.where(zero_times_log_zero, 1, rates)))
    # With Stirling's terms y log y - y the loss of a large count is a deviance, in which nothing cancels or overflows.
    if full and log_input:
        deviances = gap_of_amounts(predictions, large_counts)
    elif full:
        deviances = entropy_gap(large_counts, rates - large_counts, log_ratio(rates, large_counts)) - eps
    if full:
        values = jnp.where(large, deviances + HALF_LOG_2PI + jnp.log(large_counts) / 2, values)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(
    domains={"means": NON_NEGATIVE, "targets": NON_NEGATIVE, "dispersions": NON_NEGATIVE, "eps": POSITIVE},
    recomputed=True,
)
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
    above_0 = (jnp.where(zero, 1, x) for x in (at_least(means, eps), targets, dispersions))
    values_above_0 = _negative_binomial(*above_0)
    values = jnp.where(zero, log1p_over(dispersions, jnp.where(zero, means, 0)), values_above_0)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _negative_binomial(means: Array, targets: Array, dispersions: Array) -> Array:
    """The negative log-likelihood of counts above 0, as Loader's sum of terms that do not cancel."""
    # The gamma functions are those of r, r + y and y + 1; `stirling_error` takes the inverses of r, r + y and y.
    h, c = scaled_line(dispersions)
    at_failures, at_trials = stirling_error(dispersions), stirling_error(quotient(c, h + c * targets))
    log_factor = (jnp.log(targets) + log1p_product(dispersions, targets)) / 2 + HALF_LOG_2PI
    return (
        binomial_deviance(means, targets, dispersions)
        + log_factor
        + stirling_error(1 / targets)
        + (at_failures - at_trials)
    )


@loss_function(domains={"means": POSITIVE, "targets": NON_NEGATIVE}, recomputed=True)
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
    values = 2 * half_tweedie_deviance(means, targets, jnp.asarray(power, means.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)
