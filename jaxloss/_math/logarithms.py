"""Logarithms of ratios, and of 1 plus products, that overflow and underflow only if the logarithm does."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .arithmetic import log, over, quotient
from .special import log1p_deficit, log1p_ratio, sigmoid


@jax.custom_jvp
def log1p_over(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + x y) / x for x, y ≥ 0, and y where x is 0. The product x y may overflow."""
    near = x * y < 0.5
    product = jnp.where(near, x, 0) * jnp.where(near, y, 0)
    return jnp.where(near, y * log1p_ratio(product), log1p_product(x, y) / jnp.where(near, 1, x))


# The slopes are 1 / (1 + x y) and (x y / (1 + x y) - log(1 + x y)) / x².
@log1p_over.defjvp
def _log1p_over_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    x, y = primals
    near = x * y < 0.5
    product, large_x = jnp.where(near, x, 0) * jnp.where(near, y, 0), jnp.where(near, 1, x)
    values, logs = log1p_over(x, y), log(large_x) + log(jnp.where(near, 1, y))
    in_y = jnp.where(near, 1 / (1 + product), sigmoid(-logs))
    of_small = jnp.square(jnp.where(near, y, 0)) * (log1p_deficit(product) - 1 / (1 + product))
    in_x = jnp.where(near, of_small, quotient(quotient(sigmoid(logs), large_x) - values, large_x))
    return values, in_x * tangents[0] + in_y * tangents[1]


@jax.custom_jvp
def log1p_product(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + x y) for x, y ≥ 0. The product x y may overflow."""
    near = x * y < 1
    product = jnp.where(near, x, 0) * jnp.where(near, y, 0)
    root = jnp.sqrt(jnp.where(near, 1, x)) * jnp.sqrt(jnp.where(near, 1, y))
    return jnp.where(near, jnp.log1p(product), 2 * jnp.log(root) + jnp.log1p(jnp.square(1 / root)))


# Through the roots the slopes y / (1 + x y) and x / (1 + x y) would overflow for a tiny x or y.
@log1p_product.defjvp
def _log1p_product_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    x, y = primals
    near = x * y < 1
    small_x, small_y = jnp.where(near, x, 0), jnp.where(near, y, 0)
    large_x, large_y = jnp.where(near, 1, x), jnp.where(near, 1, y)
    divisor, share = 1 + small_x * small_y, sigmoid(log(large_x) + log(large_y))
    in_x = jnp.where(near, small_y / divisor, quotient(share, large_x))
    in_y = jnp.where(near, small_x / divisor, quotient(share, large_y))
    return log1p_product(x, y), in_x * tangents[0] + in_y * tangents[1]


@jax.custom_jvp
def log_ratio(x: Float[Array, "*#shape"], y: Float[Array, "*#shape"]) -> Float[Array, "*#shape"]:
    """log(x / y) for positive x and y. The ratio x / y may overflow or underflow."""
    # Of the ratio of the roots and its inverse the larger: the other may be below the least normal number.
    less, root_x, root_y = x < y, jnp.sqrt(x), jnp.sqrt(y)
    larger_ratio = jnp.where(less, root_y, root_x) / jnp.where(less, root_x, root_y)
    return jnp.where(less, -2, 2) * jnp.log(larger_ratio)


@log_ratio.defjvp
def _log_ratio_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return log_ratio(*primals), over(tangents[0], primals[0]) - over(tangents[1], primals[1])


def close_log_ratio(
    x: Float[Array, "*shape"], y: Float[Array, "*shape"], difference: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log(x / y) for positive x and y, given x - y as well.

    Where x and y are close, the result is as accurate as this difference. The ratio x / y may overflow or underflow.
    """
    near = jnp.abs(difference) < y / 2
    excess = quotient(jnp.where(near, difference, 0), jnp.where(near, y, 1))
    return jnp.where(near, jnp.log1p(excess), log_ratio(jnp.where(near, 1, x), jnp.where(near, 1, y)))
