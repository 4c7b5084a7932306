"""Lengths and angles of vectors, with finite gradients at zero and without overflow: the geometry of other modules."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._core import Scalar


def absolute(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|x|, with gradient 0 at 0, where that of `jnp.abs` is 1."""
    return x * jnp.sign(x)


def smooth_absolute(x: Float[Array, "*shape"], beta: Scalar) -> Float[Array, "*shape"]:
    """|x|, but a parabola within ±beta, which may be 0."""
    # A beta whose square leaves the dtype is as good as 0, and dividing by it would have no derivative.
    sharp = jnp.less(beta, math.sqrt(jnp.finfo(x.dtype).tiny))
    divisor = jnp.where(sharp, 1, beta)
    distances = absolute(x)
    near = (x == 0) | (~sharp & (distances < beta))
    small = jnp.where(near, x, 0)
    return jnp.where(near, small * (small / divisor) / 2, distances - beta / 2)


def hypotenuse(x: Float[Array, "*shape"], y: Scalar) -> Float[Array, "*shape"]:
    """The square root of x² + y², with gradient 0 where both are 0."""
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.abs(x), jnp.abs(y)))
    zero = scale < jnp.finfo(x.dtype).tiny
    divisor = jnp.where(zero, 1, scale)
    squares = jnp.square(x / divisor) + jnp.square(y / divisor)
    return scale * jnp.sqrt(jnp.where(zero, 1, squares))


def norm(x: Float[Array, "*batch n"], p: float) -> Float[Array, "*batch"]:
    """The p-norm along the last axis; its gradient at the zero vector is 0."""
    if p == jnp.inf:
        return jnp.max(absolute(x), axis=-1)
    if p == 1:
        return jnp.sum(absolute(x), axis=-1)  # divided, small entries would lose their signs
    scaled, scale, zero = _scaled(x)
    return jnp.where(zero, 0, scale[..., 0] * jnp.sum(power(scaled, p), axis=-1) ** (1 / p))


def cosine(x1: Float[Array, "*batch n"], x2: Float[Array, "*batch n"], eps: Scalar = 0.0) -> Float[Array, "*batch"]:
    """The cosine of the angle between vectors along the last axis; 0, with gradient 0, where one is zero.

    A vector is divided by `eps` if it is shorter.
    """
    return jnp.sum(_direction(x1, eps)[0] * _direction(x2, eps)[0], axis=-1)


def one_minus_cosine(x1: Float[Array, "*batch n"], x2: Float[Array, "*batch n"], eps: Scalar) -> Float[Array, "*batch"]:
    """One minus `cosine`, to the precision of the difference of the directions: the cosine itself rounds to 1."""
    (unit1, missing1), (unit2, missing2) = _direction(x1, eps), _direction(x2, eps)
    return (jnp.sum(jnp.square(unit1 - unit2), axis=-1) + missing1 + missing2) / 2


def cosines(x: Float[Array, "n features"]) -> Float[Array, "n n"]:
    """The cosines of the angles between all pairs of rows; likewise."""
    directions, _ = _direction(x, 0.0)
    # Accelerators round the factors of a product, which a small temperature magnifies. What is sharded explicitly can
    # be sharded once only in the product.
    sharding = jax.sharding.PartitionSpec(jax.typeof(x).sharding.spec[0], None) if _is_sharded(x) else None
    return jnp.einsum("if,jf->ij", directions, directions, precision="highest", out_sharding=sharding)


def whole(x: Array) -> Array:
    """The array unsharded, if it is sharded explicitly: along two axes of a table of pairs it cannot be."""
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec()) if _is_sharded(x) else x


def power(x: Float[Array, "*shape"], p: float) -> Float[Array, "*shape"]:
    """|x|ᵖ, and 0 at 0 for every p, with derivatives of 0 there: for p < 2 the second would be infinite."""
    if p == 0:
        return jnp.where(x == 0, 0, jnp.ones_like(x))
    if p == 1:
        return absolute(x)
    if p == 2:
        return jnp.square(x)
    zero = x == 0
    return jnp.where(zero, 0, jnp.abs(jnp.where(zero, 1, x)) ** p)


def _is_sharded(x: Array) -> bool:
    return any(jax.typeof(x).sharding.spec)


def _direction(x: Array, eps: Scalar) -> tuple[Array, Array]:
    """Vectors divided by their length, or by `eps` if that is more; and what their squares then lack to sum to 1."""
    scaled, scale, zero = _scaled(x, eps)
    squares = jnp.sum(jnp.square(scaled), axis=-1, keepdims=True)
    least = jnp.square(eps / jnp.where(zero[..., None], 1, scale))
    direction = jnp.where(zero[..., None], 0, scaled / jnp.sqrt(jnp.maximum(squares, least)))
    short = zero | (squares < least)[..., 0]
    return direction, jnp.where(short, 1 - jnp.sum(jnp.square(direction), axis=-1), 0)


def _scaled(x: Array, least: Scalar = 0.0) -> tuple[Array, Array, Array]:
    """Vectors divided by their largest entry, or by `least` if that is more; the divisor; and which were zero.

    Those come back as ones. Squares of 1e-25 or 1e25 leave float32. The divisor cancels out of what is made of the
    vectors, so that it may be held constant when differentiating.
    """
    scale = jnp.maximum(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0), least)
    scale = jax.lax.stop_gradient(scale)
    zero = scale < jnp.finfo(x.dtype).tiny
    return jnp.where(zero, 1, x) / jnp.where(zero, 1, scale), scale, zero[..., 0]
