"""Lengths and angles of vectors, with finite gradients at zero and without overflow."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .arithmetic import absolute, power
from .dtypes import Scalar


def norm(x: Float[Array, "*batch n"], p: float) -> Float[Array, "*batch"]:
    """The p-norm along the last axis; its gradient at the zero vector is 0."""
    if p == jnp.inf:
        return jnp.max(absolute(x), axis=-1)
    if p == 1:
        return jnp.sum(absolute(x), axis=-1)  # divided, small entries would lose their signs
    scaled, scale, zero = _scaled(x)
    terms = jnp.square(scaled) if p == 2 else power(jnp.abs(scaled), p)  # |x|² has a kink at 0 for autodiff
    return jnp.where(zero, 0, scale[..., 0] * jnp.sum(terms, axis=-1) ** (1 / p))


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


def unsharded(x: Array) -> Array:
    """The array without its explicit sharding, if it has one: a table of pairs cannot have the same one twice."""
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec()) if _is_sharded(x) else x


def _is_sharded(x: Array) -> bool:
    return any(jax.typeof(x).sharding.spec)


def _direction(x: Float[Array, "*batch n"], eps: Scalar) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch"]]:
    """Vectors divided by their length, or by `eps` if that is more; and what their squares then lack to sum to 1."""
    scaled, scale, zero = _scaled(x, eps)
    squares = jnp.sum(jnp.square(scaled), axis=-1, keepdims=True)
    least = jnp.square(eps / jnp.where(zero[..., None], 1, scale))
    # The value and its correction take one side also where both are equal: a maximum would take half of each slope.
    short = squares <= least
    direction = jnp.where(zero[..., None], 0, scaled / jnp.sqrt(jnp.where(short, least, squares)))
    return direction, jnp.where(zero | short[..., 0], 1 - jnp.sum(jnp.square(direction), axis=-1), 0)


def _scaled(
    x: Float[Array, "*batch n"], least: Scalar = 0.0
) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch 1"], Bool[Array, "*batch"]]:
    """Vectors divided by their largest entry, or by `least` if that is more; the divisor; and which were zero.

    Zero vectors come back as ones. Without the division, squares of 1e-25 or 1e25 would leave float32. The divisor
    cancels out of what is made of the vectors, so that it may be held constant when differentiating.
    """
    scale = jnp.maximum(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0), least)
    scale = jax.lax.stop_gradient(scale)
    zero = scale < jnp.finfo(x.dtype).tiny
    return jnp.where(zero, 1, x) / jnp.where(zero, 1, scale), scale, zero[..., 0]
