"""Lengths and angles of vectors, with finite gradients at zero and without overflow: the geometry of other modules."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def absolute(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|x|, with gradient 0 at 0, where that of `jnp.abs` is 1."""
    return x * jnp.sign(x)


def norm(x: Float[Array, "*batch n"], p: float) -> Float[Array, "*batch"]:
    """The p-norm along the last axis; its gradient at the zero vector is 0."""
    if p == jnp.inf:
        return jnp.max(absolute(x), axis=-1)
    scaled, scale, zero = _scaled(x)
    return jnp.where(zero, 0, scale[..., 0] * jnp.sum(power(scaled, p), axis=-1) ** (1 / p))


def cosine(x1: Float[Array, "*batch n"], x2: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    """The cosine of the angle between vectors along the last axis; 0, with gradient 0, where one is zero."""
    return jnp.sum(_direction(x1) * _direction(x2), axis=-1)


def cosines(x: Float[Array, "n features"]) -> Float[Array, "n n"]:
    """The cosines of the angles between all pairs of rows; likewise."""
    directions = _direction(x)
    # Accelerators round the factors of a product, which a small temperature magnifies. What is sharded explicitly can
    # be sharded once only in the product.
    sharding = jax.sharding.PartitionSpec(jax.typeof(x).sharding.spec[0], None) if _is_sharded(x) else None
    return jnp.einsum("if,jf->ij", directions, directions, precision="highest", out_sharding=sharding)


def whole(x: Array) -> Array:
    """The array unsharded, if it is sharded explicitly: along two axes of a table of pairs it cannot be."""
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec()) if _is_sharded(x) else x


def power(x: Float[Array, "*shape"], p: float) -> Float[Array, "*shape"]:
    """|x|ᵖ for a p of at least 1, with derivatives of 0 at 0: for p < 2 the second would be infinite."""
    if p == 1:
        return absolute(x)
    if p == 2:
        return jnp.square(x)
    zero = x == 0
    return jnp.where(zero, 0, jnp.abs(jnp.where(zero, 1, x)) ** p)


def _is_sharded(x: Array) -> bool:
    return any(jax.typeof(x).sharding.spec)


def _direction(x: Array) -> Array:
    scaled, _, zero = _scaled(x)
    return jnp.where(zero[..., None], 0, scaled / jnp.sqrt(jnp.sum(jnp.square(scaled), axis=-1, keepdims=True)))


def _scaled(x: Array) -> tuple[Array, Array, Array]:
    """Vectors divided by their largest entry, that entry, and which were zero: those come back as ones.

    Squares of 1e-25 or 1e25 leave float32. Norms are homogeneous, so the scale may be held constant when
    differentiating.
    """
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0))
    zero = scale < jnp.finfo(x.dtype).tiny
    return jnp.where(zero, 1, x) / jnp.where(zero, 1, scale), scale, zero[..., 0]
