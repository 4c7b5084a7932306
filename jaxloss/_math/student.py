"""The negative log-likelihood of Student's t distribution, from its Cauchy to its normal end."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .arithmetic import absolute, half_difference, log, quotient, standardized
from .logarithms import log_ratio
from .special import HALF_LOG_2PI, log1p_deficit, log1p_ratio, stirling_error


def student_t_nll(
    targets: Float[Array, "*shape"],
    locations: Float[Array, "*shape"],
    scales: Float[Array, "*shape"],
    dfs: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
    """The negative log-likelihood: that of a normal distribution, and terms that vanish with 1/ν."""
    inverse_dfs = quotient(jnp.ones_like(dfs), dfs)
    # log Γ(ν/2) - log Γ((ν + 1)/2) + log(ν/2)/2, computed from the errors of Stirling's formula at ν/2 and (ν + 1)/2.
    gammas = (stirling_error(2 * inverse_dfs) - stirling_error(2 / (1 + dfs))) + inverse_dfs * log1p_deficit(
        inverse_dfs
    ) / 2
    halves = absolute(half_difference(targets, locations))
    near = halves < 0.35 * scales * jnp.sqrt(dfs)
    z = standardized(jnp.where(near, targets, 0), jnp.where(near, locations, 0), scales)
    close = jnp.log(scales) + _half_log1p(z, jnp.where(near, dfs, 1))
    # Further out log(1 + z²/ν) is log(z²/ν) + log(1 + ν/z²), and log s + log(z²/ν)/2 is log(|y - location|/√ν).
    halves, scales, dfs = (jnp.where(near, 1, x) for x in (halves, scales, dfs))
    # A small ν by itself, as the slope of s√ν by it may overflow.
    small_dfs, half_widths = jnp.minimum(dfs, 1), scales * jnp.sqrt(jnp.maximum(dfs, 1)) / 2
    excess = jnp.log1p(small_dfs * jnp.square(quotient(half_widths, halves)))
    logs = log_ratio(halves, half_widths) - log(small_dfs) / 2
    far = math.log(2) + log_ratio(halves, jnp.sqrt(dfs)) + dfs * logs + (1 + dfs) / 2 * excess
    return HALF_LOG_2PI + gammas + jnp.where(near, close, far)


@jax.custom_jvp
def _half_log1p(z: Array, dfs: Array) -> Array:
    """(ν + 1)/2 log(1 + z²/ν), which tends to z²/2 as ν grows; for z² below ν/2."""
    q = jnp.square(z / jnp.sqrt(dfs))
    # The square of z may underflow, and so may q: that of the two which is larger is right.
    squares = jnp.where(dfs < 1, (1 + dfs) * q, (1 + 1 / dfs) * jnp.square(z))
    return squares / 2 * log1p_ratio(q)


# Of log(1 + q) - q/(1 + q) in the derivative with respect to ν, autodiff would leave no digit for a small q.
@_half_log1p.defjvp
def _half_log1p_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    z, dfs = primals
    q = jnp.square(z / jnp.sqrt(dfs))
    share = q / (1 + q)
    excess = jnp.square(share) * log1p_deficit(-share)
    in_z = (z + quotient(z, dfs)) / (1 + q)
    in_dfs = (excess - quotient(share, dfs)) / 2
    return _half_log1p(z, dfs), in_z * tangents[0] + in_dfs * tangents[1]
