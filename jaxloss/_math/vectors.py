"""Lengths and angles of vectors, with finite gradients at zero and without overflow."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .arithmetic import absolute, power
from .dtypes import Scalar
from .found import found
from .passes import scaled_powers


def norms(p: float, *vectors: Float[Array, "*batch n"]) -> list[Float[Array, "*batch"]]:
    """The p-norms along the last axis. The gradient of one at the zero vector is 0."""
    if p == jnp.inf:
        return [jnp.max(absolute(x), axis=-1) for x in vectors]
    if p == 1:
        # Not scaled: beside a huge entry, a scaled tiny one would become 0 and lose its sign, which is its gradient.
        return [jnp.sum(absolute(x), axis=-1) for x in vectors]
    found_powers = scaled_powers(jax.lax.stop_gradient(vectors), p)
    return [_smooth_norm(p, x, *powers) for x, powers in zip(vectors, found_powers, strict=True)]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _smooth_norm(p: float, x: Array, scale: Array, powers: Array) -> Array:
    """The norm of x, of which `scaled_powers` found the scale and the sum of the powers."""
    _, length, zero = _scaled_and_length(p, x, scale, powers)
    return jnp.where(zero, 0, scale * length)


# By autodiff the slope would be multiplied by the scale and then divided by it.
@_smooth_norm.defjvp
def _smooth_norm_jvp(
    p: float, primals: tuple[Array, Array, Array], tangents: tuple[Array, Any, Any]
) -> tuple[Array, Array]:
    x = primals[0]
    scaled, length, zero = _scaled_and_length(p, *primals)
    ratios = scaled / length[..., None]
    slopes = ratios if p == 2 else jnp.sign(x) * power(jnp.abs(ratios), p - 1)
    return _smooth_norm(p, *primals), jnp.sum(jnp.where(zero[..., None], 0, slopes) * tangents[0], axis=-1)


def _scaled_and_length(p: float, x: Array, scale: Array, powers: Array) -> tuple[Array, Array, Array]:
    """Vectors in units of their scale, their norms, and a mask of the zero vectors, which become vectors of ones."""
    zero = scale < jnp.finfo(x.dtype).tiny
    scaled = jnp.where(zero[..., None], 1, x) / jnp.where(zero, 1, scale)[..., None]
    terms = jnp.square(scaled) if p == 2 else power(jnp.abs(scaled), p)  # |x|² has a kink at 0 for autodiff
    return scaled, found(jnp.where(zero, 1, powers), jnp.sum(terms, axis=-1)) ** (1 / p), zero


def cosine(x1: Float[Array, "*batch n"], x2: Float[Array, "*batch n"], eps: Scalar = 0.0) -> Float[Array, "*batch"]:
    """The cosine of the angle between vectors along the last axis.

    Vectors that are not longer than `eps` are divided by `eps`. If one vector is zero and `eps` is 0, the cosine and
    its gradient are 0.
    """
    return _bounded_cosine(jnp.sum(_direction(x1, eps)[0] * _direction(x2, eps)[0], axis=-1))


def one_minus_cosine(x1: Float[Array, "*batch n"], x2: Float[Array, "*batch n"], eps: Scalar) -> Float[Array, "*batch"]:
    """One minus `cosine`, as half the squared distance of the directions, which keeps its digits near 0."""
    (direction1, missing1), (direction2, missing2) = _direction(x1, eps), _direction(x2, eps)
    halves = (jnp.sum(jnp.square(direction1 - direction2), axis=-1) + missing1 + missing2) / 2
    return halves + jax.lax.stop_gradient(jnp.minimum(halves, 2) - halves)


def cosines(x: Float[Array, "n features"]) -> Float[Array, "n n"]:
    """The cosines of the angles between all pairs of rows. A zero row has cosine 0 with every row, and gradient 0."""
    directions, _ = _direction(x, 0.0)
    # Both axes of the product are the rows of x, and an explicit mesh axis can shard only one of them.
    sharding = jax.sharding.PartitionSpec(jax.typeof(x).sharding.spec[0], None) if _is_sharded(x) else None
    # By default accelerators round the factors of a product, and a small temperature would magnify the errors.
    products = jnp.einsum("if,jf->ij", directions, directions, precision="highest", out_sharding=sharding)
    return _bounded_cosine(products)


def _bounded_cosine(products: Array) -> Array:
    """Products of directions without the rounding that takes them out of [-1, 1]. The derivatives stay."""
    return products + jax.lax.stop_gradient(jnp.clip(products, -1, 1) - products)


def unsharded(x: Array) -> Array:
    """The array without its explicit sharding, if any: only one axis of a table of pairs can be sharded by it."""
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec()) if _is_sharded(x) else x


def _is_sharded(x: Array) -> bool:
    return any(jax.typeof(x).sharding.spec)


def _direction(x: Float[Array, "*batch n"], eps: Scalar) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch"]]:
    """Vectors divided by their length, or by `eps` if they are not longer than that.

    Returns:
        The directions, which are 0 for zero vectors; and one minus the squared length of each direction, which is above
        0 only if the vector is shorter than `eps` or zero.
    """
    scaled, scale, zero = _scaled(x, eps)
    squares = jnp.sum(jnp.square(scaled), axis=-1, keepdims=True)
    least = jnp.square(eps / jnp.where(zero[..., None], 1, scale))
    # Where both are equal, the direction and what it misses have to take the same side: `jnp.maximum` would give the
    # mean of both slopes.
    short = squares <= least
    direction = jnp.where(zero[..., None], 0, scaled / jnp.sqrt(jnp.where(short, least, squares)))
    return direction, jnp.where(zero | short[..., 0], 1 - jnp.sum(jnp.square(direction), axis=-1), 0)


def _scaled(
    x: Float[Array, "*batch n"], least: Scalar = 0.0
) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch 1"], Bool[Array, "*batch"]]:
    """Vectors divided by about their largest absolute entry, or by `least` if that is larger.

    Without the division, squares of 1e-25 or 1e25 would leave float32. The inverse of the divisor has to be a normal
    number, since it may be what XLA multiplies by.

    Returns:
        The divided vectors, with ones for a zero vector; the divisors, constant when differentiating, as they cancel
        out of every result; and a mask of the zero vectors.
    """
    scale = jnp.maximum(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0), least)
    scale = jnp.minimum(jax.lax.stop_gradient(scale), 0.25 / jnp.finfo(x.dtype).tiny)
    zero = scale < jnp.finfo(x.dtype).tiny
    return jnp.where(zero, 1, x) / jnp.where(zero, 1, scale), scale, zero[..., 0]
