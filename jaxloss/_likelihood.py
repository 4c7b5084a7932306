"""Negative log-likelihoods of real numbers and counts under a predicted distribution."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from ._core import NON_NEGATIVE, POSITIVE, Mask, Reduction, Scalar, Weights, elementwise_inputs, loss_function, reduce


@loss_function(static=("full",), domains={"variances": NON_NEGATIVE, "eps": POSITIVE, "beta": NON_NEGATIVE})
def gaussian_nll_loss(
    means: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    variances: Float[ArrayLike, "*shape"],
    *,
    full: bool = False,
    eps: Scalar = 1e-6,
    beta: Scalar = 0.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of targets under independent normal distributions.

        (log v + (y - mean)² / v) / 2,  v = max(variance, eps)

    For regression with a predicted uncertainty. Below `eps` the variance has no gradient; PyTorch there passes on the
    gradient at `eps`. PyTorch lets `variances` broadcast; here a shared variance must be spread by the caller.

    Args:
        means: Predicted means, any shape.
        targets: The shape of `means`.
        variances: Predicted variances, not standard deviations, of the shape of `means`.
        full: Whether to add the constant log(2π)/2.
        eps: Least variance; positive.
        beta: Exponent of the factor v^beta, taken as a constant when differentiating: 0 is the likelihood, 0.5 keeps
            small predicted variances from drowning the others, 1 gives the means the gradient of half `mse_loss`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `means`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.gaussian_nll_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]), jnp.array([1.0, 1.0]))
        Array(1., dtype=float32)

    References:
        Nix and Weigend, Estimating the mean and variance of the target probability distribution, 1994.
        Seitzer et al., On the pitfalls of heteroscedastic uncertainty estimation, 2022 (`beta`).
    """
    means, targets, variances = elementwise_inputs(where, means=means, targets=targets, variances=variances)
    variances = jnp.maximum(variances, eps)
    # Scaled before it is squared: errors whose square overflows are fine if their variance is as large.
    values = (jnp.log(variances) + jnp.square((targets - means) / jnp.sqrt(variances))) / 2
    if full:
        values = values + math.log(2 * math.pi) / 2
    values = jax.lax.stop_gradient(variances) ** beta * values
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("log_input", "full"), domains={"targets": NON_NEGATIVE, "eps": NON_NEGATIVE})
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
        A scalar, or with reduction "none" the shape of `predictions`; float32, or float64 if an input is.

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
