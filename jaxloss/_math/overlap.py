"""How much of two regions overlaps, and how dissimilar they are by that."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .arithmetic import over, ratio
from .dtypes import Scalar


class Overlap(NamedTuple):
    """How predicted regions overlap true regions: terms of single pixels, or their sums over pixels.

    Attributes:
        both: Predicted and true: p t.
        predicted_only: False positives: p (1 - t).
        true_only: False negatives: (1 - p) t.
        true_size: What is true: t.
    """

    both: Array
    predicted_only: Array
    true_only: Array
    true_size: Array


def overlap_of_memberships(
    probs: Float[Array, "*pixels classes"], memberships: Float[Array, "*pixels classes"]
) -> Overlap:
    """The terms of each pixel and class, for memberships in [0, 1]."""
    return Overlap(probs * memberships, probs * (1 - memberships), (1 - probs) * memberships, memberships)


def overlap_of_regions(probs: Float[Array, "*pixels classes"], inside: Bool[Array, "*pixels classes"]) -> Overlap:
    """The terms of each pixel and class, for a mask of the pixels inside the true region.

    The true sizes are integers: a float32 sum of ones stands still at 2**24.
    """
    both, predicted_only = jnp.where(inside, probs, 0), jnp.where(inside, 0, probs)
    return Overlap(both, predicted_only, jnp.where(inside, 1 - probs, 0), inside.astype(jnp.int32))


def dice_dissimilarity(overlap: Overlap, smooth_nr: Scalar, smooth_dr: Scalar) -> Float[Array, "*shape"]:
    """One minus Dice's coefficient, 1 - (2 both + smooth_nr) / (predicted size + true size + smooth_dr)."""
    return _dissimilarity(2 * overlap.both, overlap.predicted_only + overlap.true_only, smooth_nr, smooth_dr)


def tversky_dissimilarity(
    overlap: Overlap, alpha: Scalar, beta: Scalar, smooth_nr: Scalar, smooth_dr: Scalar
) -> Float[Array, "*shape"]:
    """One minus Tversky's index, 1 - (both + smooth_nr) / (both + α predicted_only + β true_only + smooth_dr)."""
    errors = alpha * overlap.predicted_only + beta * overlap.true_only
    return _dissimilarity(overlap.both, errors, smooth_nr, smooth_dr)


@jax.custom_jvp
def _dissimilarity(both: Array, errors: Array, smooth_nr: Scalar, smooth_dr: Scalar) -> Array:
    """1 - (both + smooth_nr) / (both + errors + smooth_dr), as one ratio: a ratio near 1 would cancel with the 1."""
    return ratio(errors + (smooth_dr - smooth_nr), both + errors + smooth_dr)


# The errors stand above and below the line. Where hardly anything is shared, autodiff would subtract their two parts of
# the slope, which are nearly equal.
@_dissimilarity.defjvp
def _dissimilarity_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    both, errors, smooth_nr, smooth_dr = primals
    both_tangent, errors_tangent, nr_tangent, dr_tangent = tangents
    denominator = both + errors + smooth_dr
    dissimilarity, similarity = _dissimilarity(*primals), ratio(both + smooth_nr, denominator)
    in_errors, in_both = ratio(similarity, denominator), -ratio(dissimilarity, denominator)
    nothing = denominator < jnp.finfo(denominator.dtype).tiny
    by_nr = jnp.where(nothing, 0, over(nr_tangent, jnp.where(nothing, 1, denominator)))
    return dissimilarity, in_errors * (errors_tangent + dr_tangent) + in_both * both_tangent - by_nr


def inverse_squares(sizes: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """The inverse squares of sizes, times the square of the smallest size above 0 of the row.

    A size of 0 has 1, as the smallest; if there is no other in the row, 0.
    """
    absent = sizes == 0
    none = jnp.all(absent, axis=-1, keepdims=True)
    smallest = jnp.where(none, 0, jnp.min(jnp.where(absent, jnp.inf, sizes), axis=-1, keepdims=True))
    return jnp.where(absent, jnp.where(none, 0, 1), jnp.square(ratio(smallest, sizes)))
