"""Divergence: how far one distribution is from another."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import (
    LOG_PROBABILITIES,
    NON_NEGATIVE,
    PROBABILITY,
    Mask,
    Reduction,
    Weights,
    broadcastable,
    check_values,
    loss_function,
    reduce,
    rowwise_inputs,
)
from .._math.arithmetic import finite, log, with_impossible
from .._math.dtypes import Scalar
from .._math.logarithms import close_log_ratio
from .._math.special import entropy_gap, exp_excess, gap_of_amounts, log_gap


@loss_function(domains={"log_predictions": LOG_PROBABILITIES}, recomputed=True)
def kl_div(
    log_predictions: Float[ArrayLike, "*batch classes"],
    targets: Real[ArrayLike, "*batch classes"],
    *,
    log_target: bool = False,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence between target and predicted distributions, KL(targets ‖ predictions).

        Σₖ tₖ (log tₖ - xₖ)

    The nats that are wasted when targets are encoded with a code made for the predictions. For distillation and soft
    labels. Terms with a target of 0 are 0, and so is their gradient. A target above 0 with a log-probability of -inf
    makes the loss inf, and the gradient stays finite.

    The mean is over distributions. PyTorch calls that "batchmean", and divides by the size of the first axis only, even
    if there are several batch axes.

    Args:
        log_predictions: Log-probabilities, shape (..., classes).
        targets: Probabilities, or log-probabilities if `log_target` is set, of the shape of `log_predictions`.
        log_target: Whether `targets` are log-probabilities.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per distribution.

    Returns:
        A scalar, or with reduction "none" the shape of `log_predictions` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.kl_div(jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[1.0, 0.0]]))
        Array(0.6931, dtype=float32)

    References:
        Kullback and Leibler, On information and sufficiency, 1951.
    """
    log_predictions, targets = rowwise_inputs(where, axis, log_predictions=log_predictions, targets=targets)
    targets = _checked_targets(targets, where, log_target=log_target)
    values = jnp.sum(_kl_terms(log_predictions, targets, log_target=log_target), axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _kl_terms(log_predictions: Array, targets: Array, *, log_target: bool) -> Array:
    targets, log_targets, absent = _targets_and_logs(targets, log_target=log_target)
    log_predictions, ruled_out = finite(log_predictions)
    gaps = targets * (log_targets - log_predictions) if log_target else log_gap(targets, log_predictions)
    terms = jnp.where(absent, 0, gaps)
    return with_impossible(terms, ruled_out & ~absent)


def _checked_targets(targets: Array, where: Mask | None, *, log_target: bool) -> Array:
    """Targets with a check that those which count are probabilities, or the logs of some."""
    domain = LOG_PROBABILITIES if log_target else PROBABILITY
    valid = domain.contains(targets)
    if where is not None:
        valid = valid | ~jnp.broadcast_to(where, targets.shape[:-1])[..., None]
    return check_values("targets", targets, valid, domain.description)


def _targets_and_logs(targets: Array, *, log_target: bool) -> tuple[Array, Array, Array]:
    """Targets, their logs, and a mask of the targets that are 0.

    A target of 0 is replaced by 1, and its log by 0: a log of -inf would make the term or its gradient NaN.
    """
    absent = targets == (-jnp.inf if log_target else 0)
    targets = jnp.where(absent, 0 if log_target else 1, targets)
    return (jnp.exp(targets), targets, absent) if log_target else (targets, log(targets), absent)


@loss_function(domains={"targets": NON_NEGATIVE}, recomputed=True)
def generalized_kl_div(
    log_predictions: Float[ArrayLike, "*batch classes"],
    targets: Real[ArrayLike, "*batch classes"],
    *,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence of amounts that need not sum to 1.

        Σₖ tₖ (log tₖ - xₖ) - tₖ + exp xₖ

    For spectra, counts and other amounts. The loss is never negative, and 0 only where the amounts agree. For
    probabilities it equals `kl_div`, but it also keeps its digits where the two are close. A term with a target of 0 is
    exp xₖ, and the gradient with respect to that target is 0. A target above 0 with a log-prediction of -inf makes the
    loss inf, and the gradient stays finite.

    optax calls it `generalized_kl_divergence`.

    Args:
        log_predictions: Logs of the predicted amounts, shape (..., classes).
        targets: Amounts, not negative, of the shape of `log_predictions`.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `log_predictions` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.generalized_kl_div(jnp.log(jnp.array([[1.0, 1.0]])), jnp.array([[2.0, 0.0]]))
        Array(1.3863, dtype=float32)

    References:
        Bregman, The relaxation method of finding the common point of convex sets, 1967.
        Lee and Seung, Algorithms for non-negative matrix factorization, 2001.
    """
    log_predictions, targets = rowwise_inputs(where, axis, log_predictions=log_predictions, targets=targets)
    values = jnp.sum(_generalized_kl_terms(log_predictions, targets), axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _generalized_kl_terms(log_predictions: Array, targets: Array) -> Array:
    absent = targets == 0
    log_predictions, ruled_out = finite(log_predictions)
    predictions = jnp.where(ruled_out, 0, jnp.exp(log_predictions))
    terms = jnp.where(absent, predictions, gap_of_amounts(log_predictions, jnp.where(absent, 1, targets)))
    return with_impossible(terms, ruled_out & ~absent)


@loss_function(domains={"log_predictions": LOG_PROBABILITIES, "beta": PROBABILITY}, recomputed=True)
def js_div(
    log_predictions: Float[ArrayLike, "*batch classes"],
    targets: Real[ArrayLike, "*batch classes"],
    *,
    beta: Scalar = 0.5,
    log_target: bool = False,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Generalised Jensen-Shannon divergence between target and predicted distributions.

        beta KL(t ‖ m) + (1 - beta) KL(p ‖ m),  m = beta t + (1 - beta) p,  p = exp x
        KL(t ‖ p)                               at beta = 0
        KL(p ‖ t)                               at beta = 1

    For distillation. With a beta between 0 and 1 the loss is bounded, and with 1/2 it is symmetric. It jumps at 0 and
    1, as in TRL and Liger, where the first formula would be 0: `beta = 0` is `kl_div`, and `beta = 1` is its reverse,
    which seeks modes. Near 0 the loss is about beta times the loss at 0, and near 1 it is about 1 - beta times the loss
    at 1. The gradient with respect to a target of 0 is 0.

    Args:
        log_predictions: Log-probabilities, shape (..., classes).
        targets: Probabilities, or log-probabilities if `log_target` is set, of the shape of `log_predictions`.
        beta: Share of the targets in the mixture m, in [0, 1].
        log_target: Whether `targets` are log-probabilities.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per distribution.

    Returns:
        A scalar, or with reduction "none" the shape of `log_predictions` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.js_div(jnp.log(jnp.array([[0.0, 1.0]])), jnp.array([[1.0, 0.0]]))
        Array(0.6931, dtype=float32)

    References:
        Lin, Divergence measures based on the Shannon entropy, 1991.
        Agarwal et al., On-policy distillation of language models: learning from self-generated mistakes, 2024.
    """
    log_predictions, targets = rowwise_inputs(where, axis, log_predictions=log_predictions, targets=targets)
    targets = _checked_targets(targets, where, log_target=log_target)
    values = jnp.sum(_js_terms(log_predictions, targets, beta, log_target=log_target), axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _js_terms(log_predictions: Array, targets: Array, beta: Scalar, *, log_target: bool) -> Array:
    present_targets, log_targets, absent = _targets_and_logs(targets, log_target=log_target)
    targets = jnp.where(absent, 0, present_targets)
    log_predictions, ruled_out = finite(log_predictions)
    probs = jnp.where(ruled_out, 0, jnp.exp(log_predictions))
    log_ratios, differences = log_predictions - log_targets, probs - targets
    if log_target:
        # The difference of two close logs is exact, and that of their exponentials is not.
        close = ~absent & ~ruled_out & (jnp.abs(log_ratios) < 1)
        differences = jnp.where(close, targets * jnp.expm1(jnp.where(close, log_ratios, 0)), differences)
    at_0, at_1 = jnp.equal(beta, 0), jnp.equal(beta, 1)
    mixed = _mixed_gap(probs, targets, differences, jnp.asarray(beta, probs.dtype))
    forward = -targets * log_ratios if log_target else jnp.where(absent, 0, log_gap(present_targets, log_predictions))
    values = jnp.where(at_0, forward, jnp.where(at_1, probs * log_ratios, mixed))
    impossible = (at_0 & ruled_out & ~absent) | (at_1 & absent & ~ruled_out)
    return with_impossible(values, impossible)


@jax.custom_jvp
def _mixed_gap(probs: Array, targets: Array, differences: Array, beta: Array) -> Array:
    """The term β (t log(t/m) - t + m) + (1 - β) (p log(p/m) - p + m); its linear parts sum to 0.

    `differences` are p - t: given apart, they may be more exact than what subtracting gives.
    """
    targets_gap, probs_gap = _gaps(probs, targets, differences, beta)
    return beta * targets_gap + (1 - beta) * probs_gap


# The slopes are simple. Autodiff would sum up slopes of both gaps that cancel. The slopes with respect to p and t are
# the full ones, so the differences, which are a function of p and t, have none of their own.
@_mixed_gap.defjvp
def _mixed_gap_jvp(
    primals: tuple[Array, Array, Array, Array], tangents: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array]:
    beta = primals[-1]
    targets_gap, probs_gap = _gaps(*primals)
    targets_log, probs_log = _log_ratios_to_mixture(*primals)
    tangent = -(1 - beta) * probs_log * tangents[0] - beta * targets_log * tangents[1]
    return _mixed_gap(*primals), tangent + (targets_gap - probs_gap) * tangents[3]


def _gaps(probs: Array, targets: Array, differences: Array, beta: Array) -> tuple[Array, Array]:
    """The gaps t log(t/m) - t + m and p log(p/m) - p + m."""
    targets_log, probs_log = _log_ratios_to_mixture(probs, targets, differences, beta)
    targets_gap = entropy_gap(targets, (1 - beta) * differences, targets_log)
    return targets_gap, entropy_gap(probs, -beta * differences, probs_log)


def _log_ratios_to_mixture(probs: Array, targets: Array, differences: Array, beta: Array) -> tuple[Array, Array]:
    """log(m/t) and log(m/p)."""
    mixtures = beta * targets + (1 - beta) * probs
    return (
        _safe_log_ratio(mixtures, targets, (1 - beta) * differences),
        _safe_log_ratio(mixtures, probs, -beta * differences),
    )


def _safe_log_ratio(mixtures: Array, parts: Array, differences: Array) -> Array:
    """log(mixture / part), given mixture - part too; 0 where one of the two is 0 or subnormal."""
    tiny = jnp.finfo(parts.dtype).tiny
    vanishing = (parts < tiny) | (mixtures < tiny)
    mixtures, parts = jnp.where(vanishing, 1, mixtures), jnp.where(vanishing, 1, parts)
    return close_log_ratio(mixtures, parts, jnp.where(vanishing, 0, differences))


@loss_function(recomputed=True)
def gaussian_kl(
    means: Float[ArrayLike, "*batch latents"],
    log_variances: Float[ArrayLike, "*batch latents"],
    *,
    prior_means: Real[ArrayLike, "..."] | None = None,
    prior_log_variances: Real[ArrayLike, "..."] | None = None,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence of normal distributions with independent coordinates from a normal prior.

        Σₖ (exp(uₖ) - 1 - uₖ + (mₖ - m⁰ₖ)² exp(-l⁰ₖ)) / 2,  u = l - l⁰,  l = log-variance

    m⁰ and l⁰ are the mean and the log-variance of the prior, which is the standard normal distribution by default. In
    a variational autoencoder this term keeps the codes near the prior. It keeps its digits where both distributions are
    close.

    Args:
        means: Means of the coordinates, shape (..., latents).
        log_variances: Logs of the variances (not of the standard deviations), of the shape of `means`.
        prior_means: Means of the prior, or None for 0. A scalar, or the rank of `means` with axes of its sizes or 1.
        prior_log_variances: Logs of the variances of the prior, or None for 0. A scalar, or the rank of `means` with
            axes of its sizes or 1.
        axis: The axis of the latent coordinates.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `means` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.gaussian_kl(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]]))
        Array(0.8591, dtype=float32)
        >>> jaxloss.gaussian_kl(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]]), prior_means=jnp.array([[1.0, 0.0]]))
        Array(0.3591, dtype=float32)

    References:
        Kullback and Leibler, On information and sufficiency, 1951.
        Kingma and Welling, Auto-encoding variational Bayes, 2014.
    """
    means, log_variances, prior_means, prior_log_variances = rowwise_inputs(
        where,
        axis,
        means=means,
        log_variances=log_variances,
        prior_means=_prior("prior_means", prior_means, means),
        prior_log_variances=_prior("prior_log_variances", prior_log_variances, means),
    )
    # Errors are divided by the standard deviation and then squared: dividing squares by the variance overflows sooner.
    # The exponential is bounded, so that an error of 0 times it is 0.
    bound = jnp.log(jnp.finfo(means.dtype).max)
    errors = (means - prior_means) * jnp.exp(jnp.minimum(-prior_log_variances / 2, bound))
    terms = exp_excess(log_variances - prior_log_variances) / 2 + errors * (errors / 2)
    values = jnp.sum(terms, axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _prior(name: str, option: ArrayLike | None, means: ArrayLike) -> Array:
    """An option of the prior in the shape of the means; zeros for None."""
    shape = jnp.shape(means)
    return jnp.zeros_like(means) if option is None else jnp.broadcast_to(broadcastable(name, option, shape), shape)
