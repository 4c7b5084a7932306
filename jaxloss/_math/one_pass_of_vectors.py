"""What accelerators find of vectors in one pass over their entries: lengths and angles, at any size of the entries.

As in `one_pass`, vectors are divided, and what is kept of two parts is merged.
"""

from collections.abc import Sequence
from functools import partial
from itertools import starmap
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .arithmetic import power
from .row_sums import Directions


def scaled_powers(
    vectors: Sequence[Float[Array, "*batch n"]], exponent: float
) -> list[tuple[Float[Array, "*batch"], Float[Array, "*batch"]]]:
    """A scale for each vector, and the sum of the powers of its entries in units of that."""
    entries = tuple((jnp.abs(x), jnp.ones_like(x)) for x in vectors)  # the power of a 0 is dropped with the first merge
    start = jax.tree.map(lambda entry: jnp.zeros((), entry.dtype), entries)

    def merged(
        ones: tuple[tuple[Array, Array], ...], others: tuple[tuple[Array, Array], ...]
    ) -> tuple[tuple[Array, Array], ...]:
        return tuple(starmap(partial(_merged_powers, exponent), zip(ones, others, strict=True)))

    found: tuple[tuple[Array, Array], ...] = jax.lax.reduce(entries, start, merged, (vectors[0].ndim - 1,))
    limit = 0.25 / jnp.finfo(vectors[0].dtype).tiny
    return [(jnp.minimum(scale, limit), total * jnp.maximum(scale / limit, 1) ** exponent) for scale, total in found]


def _merged_powers(exponent: float, one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    (scale1, sum1), (scale2, sum2) = one, other
    scale, low, leads = jnp.maximum(scale1, scale2), jnp.minimum(scale1, scale2), scale1 >= scale2
    share = jnp.where(low == scale, 1, low / jnp.where(scale == 0, 1, scale))
    lower = jnp.where(leads, sum2, sum1) * (share * share if exponent == 2 else power(share, exponent))
    return scale, jnp.where(leads, sum1, sum2) + lower


def directions(x1: Array, x2: Array) -> Directions:
    """What is found of two vectors, by the second along the first and across it."""
    scale1, squares1, scale2, along, across = angle(x1, x2)
    squares2 = along * along + across
    divisor = jnp.where(squares2 == 0, 1, squares2)
    cosine = along / jnp.sqrt(divisor)
    # One minus the cosine of an acute angle is the squared sine over one plus the cosine.
    gap = jnp.where(along > 0, across / divisor / (1 + cosine), 1 - cosine)
    return Directions((scale1, squares1), (scale2, squares2), gap, along * jnp.sqrt(squares1))


class Angle(NamedTuple):
    """Two vectors: in units of a scale, how long the first is, and the second along the first and across it.

    Attributes:
        scale1: The largest absolute entry of the first.
        squares1: The squared length of the first, in units of `scale1`.
        scale2: The largest absolute entry of the second.
        along: The length of the second in the direction of the first, in units of `scale2`.
        across: The squared length of what is left of the second, likewise.
    """

    scale1: Array
    squares1: Array
    scale2: Array
    along: Array
    across: Array


def angle(x1: Float[Array, "*batch n"], x2: Float[Array, "*batch n"]) -> Angle:
    """What is found of two vectors."""
    ones, zeros = jnp.ones_like(x1), jnp.zeros_like(x1)
    sign1, sign2 = jnp.sign(x1), jnp.sign(x2)
    entries = Angle(jnp.abs(x1), ones, jnp.abs(x2), sign1 * sign2, jnp.where(sign1 == 0, jnp.abs(sign2), zeros))
    start = jax.tree.map(lambda entry: jnp.zeros((), entry.dtype), entries)
    found: Angle = jax.lax.reduce(entries, start, _merged_angles, (x1.ndim - 1,))
    return found


def _merged_angles(one: Angle, other: Angle) -> Angle:
    scale1, share1, other_share1 = _shares(one.scale1, other.scale1)
    scale2, share2, other_share2 = _shares(one.scale2, other.scale2)
    squares, other_squares = one.squares1 * share1 * share1, other.squares1 * other_share1 * other_share1
    total = squares + other_squares
    divisor = jnp.where(total == 0, 1, total)
    cosine, sine = jnp.sqrt(squares / divisor), jnp.sqrt(other_squares / divisor)
    along, other_along = one.along * share2, other.along * other_share2
    # The part of the second that is across the first is turned, and its lengths are added as at a right angle.
    turned = along * sine - other_along * cosine
    across = one.across * share2 * share2 + other.across * other_share2 * other_share2
    return Angle(scale1, total, scale2, along * cosine + other_along * sine, across + turned * turned)


def _shares(scale1: Array, scale2: Array) -> tuple[Array, Array, Array]:
    """The larger scale, and both in parts of it; 0 for a scale of 0."""
    scale = jnp.maximum(scale1, scale2)
    divisor = jnp.where(scale == 0, 1, scale)
    share1, share2 = (jnp.where((share == scale) & (share != 0), 1, share / divisor) for share in (scale1, scale2))
    return scale, share1, share2
