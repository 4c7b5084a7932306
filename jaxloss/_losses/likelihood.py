"""Likelihood: negative log-likelihoods of real numbers under a predicted distribution."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from .._kit import (
    NON_NEGATIVE,
    POSITIVE,
    Mask,
    Reduction,
    Weights,
    elementwise_inputs,
    loss_function,
    reduce,
    rowwise_inputs,
)
from .._math.arithmetic import (
    absolute,
    at_least,
    bounded,
    half_difference,
    quotient,
    standardized,
    with_impossible,
)
from .._math.dtypes import Scalar
from .._math.passes import at_labels
from .._math.softmax import log_softmax, normalizer
from .._math.special import HALF_LOG_2PI
from .._math.student import student_t_nll


@loss_function(domains={"variances": NON_NEGATIVE, "eps": POSITIVE, "beta": NON_NEGATIVE}, recomputed=True)
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

    For regression with a predicted uncertainty. A variance up to `eps` has no gradient; PyTorch passes on the gradient
    at `eps`. PyTorch broadcasts `variances`; here they need the shape of `means`: use `jnp.broadcast_to`.

    Args:
        means: Predicted means, any shape.
        targets: Targets y, of the shape of `means`.
        variances: Predicted variances, not standard deviations, of the shape of `means`.
        full: Whether to add the constant log(2π)/2.
        eps: Smallest variance; positive.
        beta: The loss is multiplied by v^beta, which is held constant when differentiating. 0 is the likelihood. With
            0.5, targets of small predicted variance outweigh the others less. With 1, the gradient with respect to
            the means is that of half `mse_loss`.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `means`.

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
    variances = at_least(variances, eps)
    factors = jax.lax.stop_gradient(variances) ** beta
    constant = HALF_LOG_2PI if full else 0
    halves = half_difference(targets, means)
    # Of a large error only a factor that makes it smaller, so that it does not overflow before it is divided.
    large = jnp.abs(halves) > 1
    inside, outside = jnp.where(large, jnp.minimum(factors, 1), factors), jnp.where(large, jnp.maximum(factors, 1), 1)
    squares = outside * _half_square(means, targets, variances, jnp.sqrt(inside))
    values = factors * (jnp.log(variances) / 2 + constant) + squares
    return reduce(values, where=where, weights=weights, reduction=reduction)


@jax.custom_jvp
def _half_square(means: Array, targets: Array, variances: Array, roots: Array) -> Array:
    """The term e² / (2 v) of errors times a root; e² is never computed, so it overflows only if its true value does."""
    halves = roots * half_difference(targets, means)
    return halves * (2 * quotient(halves, variances))


# The derivatives are computed without e² and v² too.
@_half_square.defjvp
def _half_square_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    means, targets, variances, roots = primals
    halves = half_difference(targets, means)
    ratio = 2 * quotient(roots * halves, variances)
    moved = roots * (tangents[1] - tangents[0]) + halves * (2 * tangents[3])
    return _half_square(*primals), ratio * (moved - ratio / 2 * tangents[2])


@loss_function(domains={"scales": NON_NEGATIVE, "eps": POSITIVE}, recomputed=True)
def laplace_nll_loss(
    locations: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    scales: Float[ArrayLike, "*shape"],
    *,
    eps: Scalar = 1e-6,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of targets under Laplace distributions.

        log(2b) + |y - location| / b,  b = max(scale, eps)

    `l1_loss` with a predicted uncertainty. Outliers move it less than they move `gaussian_nll_loss`. It is the full
    likelihood, with its constant. At y = location the gradient with respect to both is 0. A scale up to `eps` has no
    gradient.

    Args:
        locations: Predicted medians, any shape.
        targets: Targets y, of the shape of `locations`.
        scales: Predicted mean absolute deviations, of the shape of `locations`.
        eps: Smallest scale; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `locations`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.laplace_nll_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]), jnp.array([0.5, 1.0]))
        Array(1.8466, dtype=float32)

    References:
        Laplace, Mémoire sur la probabilité des causes par les événements, 1774.
    """
    locations, targets, scales = elementwise_inputs(where, locations=locations, targets=targets, scales=scales)
    scales = at_least(scales, eps)
    # |e| / b, not |e / b|: where e / b underflows, its sign, and so the gradient, would be lost.
    values = jnp.log(scales) + math.log(2) + 2 * quotient(absolute(half_difference(targets, locations)), scales)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"scales": NON_NEGATIVE, "dfs": POSITIVE, "eps": POSITIVE}, recomputed=True)
def student_t_nll_loss(
    locations: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    scales: Float[ArrayLike, "*shape"],
    dfs: Float[ArrayLike, "*shape"],
    *,
    eps: Scalar = 1e-6,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of targets under Student's t distributions.

        (ν + 1)/2 log(1 + z²/ν) + log Γ(ν/2) - log Γ((ν + 1)/2) + log(νπ)/2 + log s
        z = (y - location)/s,  s = max(scale, eps)

    For targets with outliers, whose frequency is predicted too: the fewer degrees of freedom ν, the less an outlier
    costs. ν = 1 is the Cauchy distribution, and ν = inf the normal one; close to it the loss stays accurate. It is the
    full likelihood, with its constants. A scale up to `eps` has no gradient.

    Args:
        locations: Predicted centres, any shape.
        targets: Targets y, of the shape of `locations`.
        scales: Predicted scales, of the shape of `locations`. The standard deviation is larger than the scale.
        dfs: Predicted degrees of freedom ν, of the shape of `locations`; positive, inf is allowed.
        eps: Smallest scale; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `locations`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> targets, dfs = jnp.array([0.0, 1.0]), jnp.array([1.0, jnp.inf])
        >>> jaxloss.student_t_nll_loss(jnp.zeros(2), targets, jnp.ones(2), dfs, reduction="none")
        Array([1.1447, 1.4189], dtype=float32)

    References:
        Student, The probable error of a mean, 1908.
        Lange, Little and Taylor, Robust statistical modeling using the t distribution, 1989.
    """
    locations, targets, scales, dfs = elementwise_inputs(
        where, locations=locations, targets=targets, scales=scales, dfs=dfs
    )
    scales = at_least(scales, eps)
    values = student_t_nll(targets, locations, scales, dfs)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"scales": NON_NEGATIVE, "eps": POSITIVE})
def gaussian_mixture_nll_loss(
    means: Float[ArrayLike, "*batch components"],
    targets: Real[ArrayLike, "*batch"],
    scales: Float[ArrayLike, "*batch components"],
    logits: Float[ArrayLike, "*batch components"],
    *,
    eps: Scalar = 1e-6,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Negative log-likelihood of targets under mixtures of normal distributions.

        -log Σₖ softmax(logits)ₖ N(y; meanₖ, sₖ²),  s = max(scale, eps)

    The loss of mixture density networks, for targets that have several likely values. It is the full likelihood, with
    its constant. A logit of -inf rules its component out; if that holds for all components, the loss is inf and its
    gradient 0. A scale up to `eps` has no gradient.

    Args:
        means: Predicted means of the components, shape (..., components).
        targets: Targets y, of the shape of `means` without `axis`.
        scales: Predicted standard deviations, not variances, of the shape of `means`.
        logits: Unnormalised log-probabilities of the components, of the shape of `means`.
        eps: Smallest scale; positive.
        axis: The axis of the components.
        where, weights, reduction: As in `jaxloss.reduce`, per target.

    Returns:
        A scalar, or with reduction "none" the shape of `targets`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> means, scales, logits = jnp.array([[-1.0, 1.0]]), jnp.ones((1, 2)), jnp.zeros((1, 2))
        >>> jaxloss.gaussian_mixture_nll_loss(means, jnp.array([0.0]), scales, logits)
        Array(1.4189, dtype=float32)

    References:
        Bishop, Mixture density networks, 1994.
    """
    means, scales, logits, targets = rowwise_inputs(
        where, axis, means=means, scales=scales, logits=logits, per_row={"targets": targets}
    )
    scales = at_least(scales, eps)
    errors = bounded(standardized(targets[..., None], means, scales))
    ruled_out = logits == -jnp.inf
    nearest = _first_minimum(jnp.where(ruled_out, jnp.inf, jnp.abs(errors)))
    gaps, smallest = _half_square_gaps(errors, means, scales, nearest)
    scores = log_softmax(logits) - jnp.log(scales) - gaps
    top, log_normalizer = normalizer(scores)
    values = HALF_LOG_2PI - top - log_normalizer + smallest
    values = with_impossible(values, jnp.all(ruled_out, axis=-1))
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _first_minimum(rows: Array) -> Array:
    """The index of each row's smallest entry. Unlike `argmin` it does not gather rows that are sharded over devices."""
    positions = jax.lax.broadcasted_iota(jnp.int32, rows.shape, rows.ndim - 1)
    smallest = jnp.min(rows, axis=-1, keepdims=True)
    return jnp.min(jnp.where(rows == smallest, positions, rows.shape[-1] - 1), axis=-1)


@jax.custom_jvp
def _half_square_gaps(errors: Array, means: Array, scales: Array, nearest: Array) -> tuple[Array, Array]:
    """Half the square of each component's error minus that of the nearest component, and the half square of the latter.

    Errors are in units of the scales. The difference is computed without the squares, since rounding large squares
    loses everything else. Where a component has the scale of the nearest one, the difference of the two errors comes
    from the means, since rounding the errors may have lost it.
    """
    error, mean, scale = (at_labels(rows, nearest)[..., None] for rows in (errors, means, scales))
    # In eighths, so that neither the difference nor the inverse of the scale leaves the dtype.
    differences = bounded(jnp.where(scales == scale, (mean / 8 - means / 8) / (scale / 8), errors - error))
    gaps = jnp.maximum(differences * (errors / 2 + error / 2), jnp.finfo(errors.dtype).min)
    return gaps, (error * (error / 2))[..., 0]


# The loss subtracts the half square of the nearest component from all and then adds it again. Its derivatives would
# cancel, so it is a constant here.
@_half_square_gaps.defjvp
def _half_square_gaps_jvp(
    primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    gaps, smallest = _half_square_gaps(*primals)
    # A component so far off has no share in the gradient, but in the second derivative a slope of inf times 0.
    slopes = jnp.where(gaps > 1e30, 0, primals[0])
    return (gaps, smallest), (slopes * tangents[0], jnp.zeros_like(smallest))
