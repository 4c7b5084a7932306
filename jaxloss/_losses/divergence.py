"""Divergence: how far one distribution is from another."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import (
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
from .._math.arithmetic import finite
from .._math.dtypes import Scalar
from .._math.special import close_log_ratio, entropy_gap, exp_excess


@loss_function()
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
    """Kullback-Leibler divergence of predicted from target distributions.

        Σₖ tₖ (log tₖ - xₖ)

    The bits, in nats, that coding targets by the predictions wastes; for distillation and soft labels. Terms with a
    target of 0 are 0, and so is their gradient. The mean is over distributions: PyTorch calls that "batchmean", and
    divides by the first axis alone if there are several.

    Args:
        log_predictions: Log-probabilities, shape (..., classes).
        targets: Probabilities, or their logs if `log_target`; the shape of `log_predictions`.
        log_target: Whether `targets` are logs.
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
    values = jnp.sum(_kl_terms(log_predictions, targets, log_target=log_target), axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _kl_terms(log_predictions: Array, targets: Array, *, log_target: bool) -> Array:
    targets = _checked(targets, log_target=log_target)
    absent = targets == (-jnp.inf if log_target else 0)
    ruled_out = log_predictions == -jnp.inf
    # Made safe before the maths: an infinite log meets neither 0 nor another one, in the terms or their gradient.
    present = jnp.where(absent, 0 if log_target else 1, targets)
    log_predictions = jnp.where(ruled_out, 0, log_predictions)
    probs, log_probs = (jnp.exp(present), present) if log_target else (present, jnp.log(present))
    return jnp.where(absent, 0, probs * (log_probs - log_predictions)) + jnp.where(ruled_out & ~absent, jnp.inf, 0)


@loss_function(domains={"targets": NON_NEGATIVE})
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

    For spectra, counts and other masses: never negative, and 0 only where the amounts agree. For probabilities it is
    `kl_div`, and keeps its digits where the two are close. Terms with a target of 0 are exp xₖ, and the gradient of
    such a target is 0. optax calls it `generalized_kl_divergence`.

    Args:
        log_predictions: Logs of predicted amounts, shape (..., classes).
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
    alone = jnp.where(ruled_out, 0, jnp.exp(log_predictions))
    terms = jnp.where(absent, alone, _gap_of_amounts(log_predictions, jnp.where(absent, 1, targets)))
    return terms + jnp.where(ruled_out & ~absent, jnp.inf, 0)


@jax.custom_jvp
def _gap_of_amounts(log_predictions: Array, targets: Array) -> Array:
    """The term t (log t - x) - t + exp x of a target above 0."""
    return entropy_gap(targets, jnp.exp(log_predictions) - targets, log_predictions - jnp.log(targets))


@_gap_of_amounts.defjvp
def _gap_of_amounts_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    log_predictions, targets = primals
    in_predictions, in_targets = jnp.exp(log_predictions) - targets, jnp.log(targets) - log_predictions
    return _gap_of_amounts(*primals), in_predictions * tangents[0] + in_targets * tangents[1]


@loss_function(domains={"beta": PROBABILITY})
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
    """Jensen-Shannon divergence of predicted from target distributions, of any mixture of the two.

        beta KL(t ‖ m) + (1 - beta) KL(p ‖ m),  m = beta t + (1 - beta) p,  p = exp x
        KL(t ‖ p)                               at beta = 0
        KL(p ‖ t)                               at beta = 1

    For distillation: bounded, and with 1/2 symmetrical. As in TRL and Liger it jumps at both ends, where the formula
    would be 0: `beta = 0` is `kl_div`, and 1 is its reverse, which seeks modes; near an end it is close to beta, or
    1 - beta, times that. Terms with a target of 0 have no gradient for it.

    Args:
        log_predictions: Log-probabilities, shape (..., classes).
        targets: Probabilities, or their logs if `log_target`; the shape of `log_predictions`.
        beta: Share of the targets in the mixture, in [0, 1].
        log_target: Whether `targets` are logs.
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
    values = jnp.sum(_js_terms(log_predictions, targets, beta, log_target=log_target), axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _js_terms(log_predictions: Array, targets: Array, beta: Scalar, *, log_target: bool) -> Array:
    targets = _checked(targets, log_target=log_target)
    log_predictions, ruled_out = finite(log_predictions)
    probs = jnp.where(ruled_out, 0, jnp.exp(log_predictions))
    absent = targets == (-jnp.inf if log_target else 0)
    present = jnp.where(absent, 0 if log_target else 1, targets)
    log_targets = present if log_target else jnp.log(present)
    targets = jnp.where(absent, 0, jnp.exp(present) if log_target else present)
    logs, differences = log_predictions - log_targets, probs - targets
    if log_target:
        # Of two close logs the difference is exact.
        alike = ~absent & ~ruled_out & (jnp.abs(logs) < 1)
        differences = jnp.where(alike, targets * jnp.expm1(jnp.where(alike, logs, 0)), differences)
    at_0, at_1 = jnp.equal(beta, 0), jnp.equal(beta, 1)
    mixed = _mixed_gap(probs, targets, differences, jnp.asarray(beta, probs.dtype))
    values = jnp.where(at_0, -targets * logs, jnp.where(at_1, probs * logs, mixed))
    impossible = (at_0 & ruled_out & ~absent) | (at_1 & absent & ~ruled_out)
    return values + jnp.where(impossible, jnp.inf, 0)


@jax.custom_jvp
def _mixed_gap(probs: Array, targets: Array, differences: Array, beta: Array) -> Array:
    """β (t log(t/m) - t + m) + (1 - β) (p log(p/m) - p + m), whose linear parts cancel; given p - t too."""
    of_targets, of_probs = _gaps(probs, targets, differences, beta)
    return beta * of_targets + (1 - beta) * of_probs


# The slopes are simple, but as sums of those of the terms they would cancel; p and t bring that of their difference.
@_mixed_gap.defjvp
def _mixed_gap_jvp(
    primals: tuple[Array, Array, Array, Array], tangents: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array]:
    beta = primals[-1]
    of_targets, of_probs = _gaps(*primals)
    log_targets, log_probs = _logs_of_mixtures(*primals)
    tangent = -(1 - beta) * log_probs * tangents[0] - beta * log_targets * tangents[1]
    return _mixed_gap(*primals), tangent + (of_targets - of_probs) * tangents[3]


def _gaps(probs: Array, targets: Array, differences: Array, beta: Array) -> tuple[Array, Array]:
    log_targets, log_probs = _logs_of_mixtures(probs, targets, differences, beta)
    of_targets = entropy_gap(targets, (1 - beta) * differences, log_targets)
    return of_targets, entropy_gap(probs, -beta * differences, log_probs)


def _logs_of_mixtures(probs: Array, targets: Array, differences: Array, beta: Array) -> tuple[Array, Array]:
    """log(m/t) and log(m/p), 0 where there is nothing of either."""
    mixtures = beta * targets + (1 - beta) * probs
    return (
        _log_of_mixture(mixtures, targets, (1 - beta) * differences),
        _log_of_mixture(mixtures, probs, -beta * differences),
    )


def _log_of_mixture(mixtures: Array, shares: Array, excess: Array) -> Array:
    tiny = jnp.finfo(shares.dtype).tiny
    nothing = (shares < tiny) | (mixtures < tiny)
    mixtures, shares = jnp.where(nothing, 1, mixtures), jnp.where(nothing, 1, shares)
    return close_log_ratio(mixtures, shares, jnp.where(nothing, 0, excess))


def _checked(targets: Array, *, log_target: bool) -> Array:
    probs = jnp.exp(targets) if log_target else targets
    return check_values("targets", targets, PROBABILITY.contains(probs), f"{'logs of ' * log_target}probabilities")


@loss_function()
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
    """Kullback-Leibler divergence of normal distributions with independent coordinates from a prior.

        Σₖ (exp(uₖ) - 1 - uₖ + (mₖ - m⁰ₖ)² exp(-l⁰ₖ)) / 2,  u = l - l⁰,  l = log-variance

    The term of a variational autoencoder that holds its codes near the prior, which is the standard normal
    distribution unless it is given. It keeps its digits where the two are close.

    Args:
        means: Means of the coordinates, shape (..., latents).
        log_variances: Logs of their variances, not of standard deviations, of the shape of `means`.
        prior_means: Means of the prior, or None for 0: a scalar, or the rank of `means` with axes of its sizes or 1.
        prior_log_variances: Logs of the prior's variances, or None for 0; shaped likewise.
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
        prior_means=_spread("prior_means", prior_means, means),
        prior_log_variances=_spread("prior_log_variances", prior_log_variances, means),
    )
    # A half of the exponent before the square, so that it overflows last; and bounded, so that it times 0 is 0.
    bound = jnp.log(jnp.finfo(means.dtype).max)
    errors = (means - prior_means) * jnp.exp(jnp.minimum(-prior_log_variances / 2, bound))
    terms = exp_excess(log_variances - prior_log_variances) / 2 + errors * (errors / 2)
    values = jnp.sum(terms, axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _spread(name: str, option: ArrayLike | None, like: ArrayLike) -> Array:
    shape = jnp.shape(like)
    return jnp.zeros_like(like) if option is None else jnp.broadcast_to(broadcastable(name, option, shape), shape)
