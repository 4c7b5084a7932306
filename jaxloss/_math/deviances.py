"""Deviances: by how much a log-likelihood would be higher if the mean were equal to the target; never negative."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .arithmetic import bounded, quotient
from .logarithms import close_log_ratio, log_ratio
from .special import entropy_gap, exponential_growth, log1p_deficit, unit_integral

# --- negative binomial ------------------------------------------------------------------------------------------------


def scaled_line(dispersions: Array) -> tuple[Array, Array]:
    """The h and c with h + c = 1 for which 1 + αx is (1 + α)(h + cx), which cannot overflow."""
    return 1 / (1 + dispersions), quotient(dispersions, 1 + dispersions)


@jax.custom_jvp
def binomial_deviance(
    means: Float[Array, "*shape"], targets: Float[Array, "*shape"], dispersions: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """That of r failures in r + y trials, for targets y above 0 and dispersions 1/r."""
    failures, spread, log, _ = _deviance_of_failures(means, targets, dispersions)
    return failures + entropy_gap(targets, -spread, log_ratio(means, targets) + log)


# Autodiff would find these slopes as differences, and as quotients of numbers that overflow.
@binomial_deviance.defjvp
def _binomial_deviance_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    means, targets, dispersions = primals
    h, c = scaled_line(dispersions)
    _, _, log, in_dispersions = _deviance_of_failures(*primals)
    difference = quotient(targets - means, 1 + dispersions)
    excess = quotient(difference, means * (h + c * targets))
    near = jnp.abs(excess) < 0.5
    in_targets = jnp.where(near, jnp.log1p(jnp.where(near, excess, 0)), -(log_ratio(means, targets) + log))
    # With a product between two divisions, as XLA would make one of them, by a product that overflows.
    larger = jnp.maximum(means, targets)
    share = quotient(targets - means, larger)
    in_means = -quotient(share * quotient(quotient(larger, 1 + dispersions), means), h + c * means)
    tangent = in_means * tangents[0] + in_targets * tangents[1] - in_dispersions * tangents[2]
    return binomial_deviance(*primals), tangent


def _deviance_of_failures(means: Array, targets: Array, dispersions: Array) -> tuple[Array, Array, Array, Array]:
    """With x = α (y - m)/(1 + αm): the failures' part (x - log(1 + x))/α, x/α, log(1 + x), and the first over α."""
    h, c = scaled_line(dispersions)
    # In units of a large mean, by which the slopes would overflow.
    unit = jnp.clip(jax.lax.stop_gradient(means), 1, 1e18)
    divisor, difference = h / unit + c * (means / unit), (targets - means) / unit
    excess = quotient(c * difference, divisor)
    spread = quotient(quotient(difference, 1 + dispersions), divisor)
    near = jnp.abs(excess) < 0.5
    excess = jnp.where(near, excess, 0)
    log = jnp.where(near, jnp.log1p(excess), log_ratio(h / unit + c * (targets / unit), divisor))
    dispersions, deficit = jnp.where(near, 1, dispersions), spread * log1p_deficit(excess)
    far = spread - quotient(log, dispersions)
    return (
        jnp.where(near, excess * deficit, far),
        spread,
        log,
        jnp.where(near, spread * deficit, quotient(far, dispersions)),
    )


# --- Tweedie ----------------------------------------------------------------------------------------------------------


@jax.custom_jvp
def half_tweedie_deviance(
    means: Float[Array, "*shape"], targets: Float[Array, "*shape"], power: Float[Array, ""]
) -> Float[Array, "*shape"]:
    """The integral of (y - t) t^-p dt from the mean to the target y."""
    return _tweedie_integral(means, targets, power)


# The derivatives with respect to means and targets are simple. Those that autodiff finds for the integral would cancel.
@half_tweedie_deviance.defjvp
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
    means, targets = jnp.where(near, 1, means), jnp.where(near, 1, targets)
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
