"""Negative log-likelihoods of real numbers and counts under a predicted distribution."""

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from ._core import (
    NON_NEGATIVE,
    POSITIVE,
    Mask,
    Reduction,
    Scalar,
    Weights,
    at_labels,
    elementwise_inputs,
    loss_function,
    reduce,
    rowwise_inputs,
)
from ._softmax import Given, bounded, log_softmax, normalizer, with_impossible
from ._special import (
    at_least,
    close_log_ratio,
    entropy_gap,
    exponential_growth,
    log1p_deficit,
    log1p_over,
    log1p_product,
    log1p_ratio,
    log_ratio,
    quotient,
    stirling_error,
    unit_integral,
)
from ._vectors import absolute

_HALF_LOG_2PI = math.log(2 * math.pi) / 2


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
    variances = at_least(variances, eps)
    factors = jax.lax.stop_gradient(variances) ** beta
    constant = _HALF_LOG_2PI if full else 0
    squares = _half_square(jnp.sqrt(factors) * (targets - means), variances)
    values = factors * (jnp.log(variances) / 2 + constant) + squares
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
        A scalar, or with reduction "none" the shape of `means`; float32, or float64 if an input is.

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


@loss_function(domains={"scales": NON_NEGATIVE, "eps": POSITIVE})
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

    `l1_loss` with a predicted uncertainty: less moved by wild targets than `gaussian_nll_loss`. It is the full
    likelihood. The subgradient of |·| at 0 is 0; below `eps` the scale has no gradient.

    Args:
        locations: Predicted medians, any shape.
        targets: The shape of `locations`.
        scales: Predicted mean absolute deviations b, of the shape of `locations`.
        eps: Least scale; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `locations`; float32, or float64 if an input is.

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
    # Not the size of the quotient, which may underflow and lose the sign.
    values = jnp.log(scales) + math.log(2) + quotient(absolute(targets - locations), scales)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(domains={"scales": NON_NEGATIVE, "dfs": POSITIVE, "eps": POSITIVE})
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

    Heavy tails, whose weight is predicted too: few degrees of freedom ν forgive outliers, ν = 1 is Cauchy's
    distribution, and ν = inf the normal one, near which nothing cancels. It is the full likelihood. Below `eps` the
    scale has no gradient.

    Args:
        locations: Predicted centres, any shape.
        targets: The shape of `locations`.
        scales: Predicted scales, of the shape of `locations`: not standard deviations, which are wider.
        dfs: Predicted degrees of freedom ν, of the shape of `locations`; positive.
        eps: Least scale; positive.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `locations`; float32, or float64 if an input is.

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
    values = _student_t(targets - locations, scales, dfs)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("axis",), domains={"scales": NON_NEGATIVE, "eps": POSITIVE})
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

    The loss of mixture density networks, for targets that have several likely values. It is the full likelihood. A
    logit of -inf rules its component out; where all are, the loss is inf and its gradient 0. Below `eps` a scale has
    no gradient.

    Args:
        means: Predicted means of the components, shape (..., components).
        targets: The shape of `means` without `axis`.
        scales: Predicted standard deviations, not variances, of the shape of `means`.
        logits: Unnormalised log-probabilities of the components, of the shape of `means`.
        eps: Least scale; positive.
        axis: The axis of the components.
        where, weights, reduction: As in `jaxloss.reduce`, per target.

    Returns:
        A scalar, or with reduction "none" the shape of `targets`; float32, or float64 if an input is.

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
    errors = bounded(quotient(targets[..., None] - means, scales))
    ruled_out = logits == -jnp.inf
    nearest = _first_minimum(jnp.where(ruled_out, jnp.inf, jnp.abs(errors)))
    gaps, least = _half_square_gaps(errors, means, scales, nearest)
    scores = log_softmax(logits) - jnp.log(scales) - gaps
    top, log_normalizer = normalizer(scores, Given(None, scores))
    values = _HALF_LOG_2PI - top - log_normalizer + least
    impossible = jnp.all(ruled_out, axis=-1)
    values = with_impossible(values, impossible, None)
    return reduce(values, where=where, weights=weights, reduction=reduction)


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
        A scalar, or with reduction "none" the shape of `means`; float32, or float64 if an input is.

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
def _half_square(errors: Array, variances: Array) -> Array:
    """The term e² / (2 v), which leaves the dtype only if it does not fit, and so do its derivatives."""
    return errors * (quotient(errors, variances) / 2)


@_half_square.defjvp
def _half_square_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    ratio = quotient(*primals)
    return _half_square(*primals), ratio * (tangents[0] - ratio / 2 * tangents[1])


def _first_minimum(rows: Array) -> Array:
    """The index of each row's least entry; unlike `argmin`, it does not bring together what is sharded over devices."""
    positions = jax.lax.broadcasted_iota(jnp.int32, rows.shape, rows.ndim - 1)
    least = jnp.min(rows, axis=-1, keepdims=True)
    return jnp.min(jnp.where(rows == least, positions, rows.shape[-1] - 1), axis=-1)


@jax.custom_jvp
def _half_square_gaps(errors: Array, means: Array, scales: Array, nearest: Array) -> tuple[Array, Array]:
    """Half the squares of errors in units of the scales, less that of the nearest; and that, as a constant.

    Beside the squares of large errors all else would be lost. What sets means apart may be lost in the errors already.
    """
    error, mean, scale = (at_labels(rows, nearest)[..., None] for rows in (errors, means, scales))
    differences = jnp.where(scales == scale, (mean - means) / scale, errors - error)
    return bounded(differences * (errors / 2 + error / 2)), (error * (error / 2))[..., 0]


@_half_square_gaps.defjvp
def _half_square_gaps_jvp(
    primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    gaps, least = _half_square_gaps(*primals)
    return (gaps, least), (primals[0] * tangents[0], jnp.zeros_like(least))


def _stirling(counts: Array) -> Array:
    small = counts <= 1
    large = jnp.where(small, 1, counts)
    return jnp.where(small, 0, large * jnp.log(large) - large + jnp.log(2 * math.pi * large) / 2)


def _negative_binomial(means: Array, targets: Array, dispersions: Array) -> Array:
    """The likelihood of counts above 0, as a sum of terms none of which is negative but the constant."""
    inverses = jnp.stack([dispersions, quotient(dispersions, 1 + dispersions * targets), 1 / targets])
    at_failures, at_all, at_target = jnp.unstack(stirling_error(inverses))
    spread = (jnp.log(targets) + log1p_product(dispersions, targets)) / 2 + _HALF_LOG_2PI
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


def _student_t(errors: Array, scales: Array, dfs: Array) -> Array:
    """The likelihood of errors: what tells the distribution from the normal one vanishes with 1/ν."""
    tails = quotient(jnp.ones_like(dfs), dfs)
    at_half, at_next = jnp.unstack(stirling_error(jnp.stack([2 * tails, 2 / (1 + dfs)])))
    spread = (at_half - at_next) + tails * log1p_deficit(tails) / 2
    distances = absolute(errors)
    near = distances < 0.7 * scales * jnp.sqrt(dfs)
    z = quotient(jnp.where(near, distances, 0), scales)
    close = jnp.log(scales) + (1 + tails) / 2 * _almost_square(z, dfs)
    # Further out log(1 + z²/ν) is log(z²/ν) + log(1 + ν/z²): the log of the scale cancels, and it matters little.
    distances, scales, dfs = jnp.where(near, 1, jnp.stack([distances, scales, dfs]))
    root = jnp.sqrt(dfs)
    excess = jnp.log1p(jnp.square(quotient(scales * root, distances)))
    far = log_ratio(distances, root) + dfs * log_ratio(distances, scales * root) + (1 + dfs) / 2 * excess
    return _HALF_LOG_2PI + spread + jnp.where(near, close, far)


@jax.custom_jvp
def _almost_square(z: Array, dfs: Array) -> Array:
    """ν log(1 + z²/ν) where it is close to z²."""
    return jnp.square(z) * log1p_ratio(jnp.square(z / jnp.sqrt(dfs)))


# The derivative by ν is about (z²/ν)²/2, which is made of numbers beyond the dtype if it is not taken at once.
@_almost_square.defjvp
def _almost_square_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    z, dfs = primals
    share = jnp.square(z / jnp.sqrt(dfs))
    in_dfs = jnp.square(share) * unit_integral(lambda s, share: s / jnp.square(1 + s * share), share)
    return _almost_square(z, dfs), 2 * z / (1 + share) * tangents[0] + in_dfs * tangents[1]


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
