"""Lengths and angles of vectors, with finite gradients at zero and without overflow."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .arithmetic import absolute, power, quotient, ratio
from .dtypes import Scalar
from .found import found
from .passes import directions, scaled_powers
from .row_sums import Directions


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
    return _bounded_cosine(_gap_and_cosine(x1, x2, eps)[1])


def one_minus_cosine(x1: Float[Array, "*batch n"], x2: Float[Array, "*batch n"], eps: Scalar) -> Float[Array, "*batch"]:
    """One minus `cosine`, as half the squared distance of the directions, which keeps its digits near 0."""
    gap, _ = _gap_and_cosine(x1, x2, eps)
    return gap + jax.lax.stop_gradient(jnp.minimum(gap, 2) - gap)


def _gap_and_cosine(x1: Array, x2: Array, eps: Scalar) -> tuple[Array, Array]:
    sums = directions(*jax.lax.stop_gradient((x1, x2)))
    return _with_slopes(x1, x2, jnp.asarray(eps, x1.dtype), sums)


@jax.custom_jvp
def _with_slopes(x1: Array, x2: Array, eps: Array, sums: Directions) -> tuple[Array, Array]:
    """One minus the cosine, and the cosine, of vectors of which `directions` found the sums."""
    one, other = _direction(x1, *sums.first, eps), _direction(x2, *sums.second, eps)
    shares = jax.lax.stop_gradient((one.share, other.share))
    gap = shares[0] * shares[1] * sums.gap + ((1 - shares[0]) + shares[0] * (1 - shares[1]))
    squares = jnp.sum(jnp.square(one.direction - other.direction), axis=-1)
    missing = (1 - jnp.square(one.share)) + (1 - jnp.square(other.share))
    product = found(sums.product, jnp.sum(one.scaled * other.scaled, axis=-1))
    return found(gap, (squares + missing) / 2), product / one.divisor / other.divisor


# By autodiff the slopes would need sums over the vectors, and so a pass of their own.
@_with_slopes.defjvp
def _with_slopes_jvp(
    primals: tuple[Array, Array, Array, Directions], tangents: tuple[Array, Array, Array, Any]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    x1, x2, eps, sums = primals
    gap, cosine = _with_slopes(*primals)
    one, other = _direction(x1, *sums.first, eps), _direction(x2, *sums.second, eps)
    product = found(sums.product, jnp.sum(one.scaled * other.scaled, axis=-1))
    moved = ratio(cosine * (jnp.where(one.is_short, 1, 0) + jnp.where(other.is_short, 1, 0)), eps) * tangents[2]
    for own, away, tangent in ((one, other, tangents[0]), (other, one, tangents[1])):
        along = jnp.where(own.is_short, 0, ratio(product, own.squares))
        across = away.scaled - along[..., None] * own.scaled
        slopes = quotient(across / away.divisor[..., None], (own.scale * own.divisor)[..., None])
        moved = moved - jnp.sum(jnp.where(own.is_zero[..., None], 0, slopes) * tangent, axis=-1)
    return (gap, cosine), (moved, -moved)


def cosines(x: Float[Array, "n features"]) -> Float[Array, "n n"]:
    """The cosines of the angles between all pairs of rows. A zero row has cosine 0 with every row, and gradient 0."""
    (powers,), nothing = scaled_powers([jax.lax.stop_gradient(x)], 2), jnp.zeros((), x.dtype)
    rows = _direction(x, *powers, nothing).direction
    # Both axes of the product are the rows of x, and an explicit mesh axis can shard only one of them.
    sharding = jax.sharding.PartitionSpec(jax.typeof(x).sharding.spec[0], None) if _is_sharded(x) else None
    # By default accelerators round the factors of a product, and a small temperature would magnify the errors.
    products = jnp.einsum("if,jf->ij", rows, rows, precision="highest", out_sharding=sharding)
    return _bounded_cosine(products)


def _bounded_cosine(products: Array) -> Array:
    """Products of directions without the rounding that takes them out of [-1, 1]. The derivatives stay."""
    return products + jax.lax.stop_gradient(jnp.clip(products, -1, 1) - products)


def unsharded(x: Array) -> Array:
    """The array without its explicit sharding, if any: only one axis of a table of pairs can be sharded by it."""
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec()) if _is_sharded(x) else x


def _is_sharded(x: Array) -> bool:
    return any(jax.typeof(x).sharding.spec)


class _Direction(NamedTuple):
    """A vector divided by its length, or by `eps` if it is not longer than that.

    Attributes:
        scaled: The vector in units of its scale.
        scale: These units; 1 for a zero vector.
        squares: The squared length in these units.
        divisor: What the vector is divided by in these units; 1 for a zero vector.
        share: The length of the direction.
        is_short: Whether the divisor is `eps`.
        is_zero: Whether the vector and `eps` are 0.
    """

    scaled: Array
    scale: Array
    squares: Array
    divisor: Array
    share: Array
    is_short: Array
    is_zero: Array

    @property
    def direction(self) -> Array:
        """The vector after the division; 0 for a zero vector."""
        return self.scaled / self.divisor[..., None]


def _direction(x: Array, scale: Array, squares: Array, eps: Array) -> _Direction:
    """The direction of a vector, of which `scaled_powers` found the scale and the square of its length."""
    zero = scale < jnp.finfo(x.dtype).tiny
    scale = jnp.where(zero, 1, scale)
    scaled = jnp.where(zero[..., None], 0, x) / scale[..., None]
    squares = found(jnp.where(zero, 0, squares), jnp.sum(jnp.square(scaled), axis=-1))
    length, least = jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squares))), eps / scale
    # Where both are equal, the direction and its length have to take the same side: `jnp.maximum` would give the mean
    # of both slopes.
    is_short = length <= least
    is_zero = zero & (least == 0)
    divisor = jnp.where(is_zero, 1, jnp.where(is_short, least, length))
    share = jnp.where(is_zero, 0, jnp.where(is_short, length / divisor, 1))
    return _Direction(scaled, scale, squares, divisor, share, is_short, is_zero)
