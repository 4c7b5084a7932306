"""What accelerators find of rows of logits in one pass over the classes: the largest logit, and sums that need it.

Rows are divided, and of each part are kept the largest logit and sums in relation to it. Two parts are merged by
relating both to the larger of their largest. All terms have one sign, so nothing cancels.
"""

from collections.abc import Sequence
from functools import partial
from itertools import starmap
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from .arithmetic import power
from .dtypes import widened
from .labels import label_mask


class TargetParts(NamedTuple):
    """Sums of the targets t of the classes of each row.

    Attributes:
        half_below: The sum of t (largest logit - logit)/2 over the classes that exist.
        of_leader: The t of a class with the largest logit.
        of_others: The sum of t over the others that exist.
        missing: The sum of t over the others that are ruled out.
    """

    half_below: Array
    of_leader: Array
    of_others: Array
    missing: Array


class Parts(NamedTuple):
    """What is kept of a part of each row.

    Attributes:
        top: The largest logit; -inf if all classes are ruled out.
        rest: The sum of exp(logit - largest logit) over all classes but one with the largest.
        score: The logit of the row's label; None without labels.
        others: The number of classes that exist, but that one; None without targets.
        targets: The sums of the targets of the classes, for each set of targets.
    """

    top: Array
    rest: Array
    score: Array | None
    others: Array | None
    targets: tuple[TargetParts, ...]


def row_parts(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"] | None = None,
    targets: Sequence[Float[Array, "*#batch classes"]] = (),
) -> Parts:
    """What is found of rows of logits, of their labels, and of sets of targets."""
    x = widened(logits)
    zeros = jnp.zeros_like(x)
    entries = Parts(
        top=x,
        rest=zeros,
        score=None if labels is None else jnp.where(label_mask(labels, x.shape[-1]), x, 0),
        others=zeros if targets else None,
        targets=tuple(TargetParts(zeros, widened(jnp.broadcast_to(t, x.shape)), zeros, zeros) for t in targets),
    )
    start = jax.tree.map(lambda entry: jnp.zeros((), entry.dtype), entries)._replace(top=jnp.array(-jnp.inf, x.dtype))
    parts: Parts = jax.lax.reduce(entries, start, _merged, (x.ndim - 1,))
    # Of an infinite logit there is no exponential.
    return parts._replace(rest=jnp.where(parts.top == jnp.inf, jnp.nan, parts.rest))


def _merged(one: Parts, other: Parts) -> Parts:
    # NaN is the largest of all. There is no other guard than that for two parts without classes: in one of the orders
    # in which parts may be merged, it would hide a NaN.
    top, low = jnp.maximum(one.top, other.top), jnp.minimum(one.top, other.top)
    leads, ruled_out = one.top >= other.top, low == -jnp.inf

    def of_higher(first: Array, second: Array) -> Array:
        return jnp.where(leads, first, second)

    def of_lower(first: Array, second: Array) -> Array:
        return jnp.where(leads, second, first)

    decay = jnp.exp(low - jnp.where(top == -jnp.inf, 0, top))

    def merged_targets(first: TargetParts, second: TargetParts) -> TargetParts:
        leader = of_lower(first.of_leader, second.of_leader)
        moved = jnp.where(ruled_out, 0, leader + of_lower(first.of_others, second.of_others))
        return TargetParts(
            first.half_below + second.half_below + jnp.where(moved == 0, 0, moved * (top / 2 - low / 2)),
            of_higher(first.of_leader, second.of_leader),
            first.of_others + second.of_others + jnp.where(ruled_out, 0, leader),
            first.missing + second.missing + jnp.where(ruled_out, leader, 0),
        )

    return Parts(
        top,
        of_higher(one.rest, other.rest) + (1 + of_lower(one.rest, other.rest)) * decay,
        None if one.score is None or other.score is None else one.score + other.score,
        None if one.others is None or other.others is None else one.others + other.others + jnp.where(ruled_out, 0, 1),
        tuple(map(merged_targets, one.targets, other.targets)),
    )


# --- lengths of vectors -----------------------------------------------------------------------------------------------


def scaled_powers(
    vectors: Sequence[Float[Array, "*batch n"]], exponent: float
) -> list[tuple[Float[Array, "*batch"], Float[Array, "*batch"]]]:
    """A scale for each vector, and the sum of the powers of its entries in units of that."""
    entries = tuple((jnp.abs(x), (x != 0).astype(x.dtype)) for x in vectors)
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


# --- the largest ------------------------------------------------------------------------------------------------------


def largest_and_ties(rows: Float[Array, "*batch n"]) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The largest entry of each row, and how many are as large."""
    start = jnp.array(-jnp.inf, rows.dtype), jnp.zeros((), rows.dtype)
    top, ties = jax.lax.reduce((rows, jnp.ones_like(rows)), start, _merged_ties, (rows.ndim - 1,))
    return top, ties


def _merged_ties(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    (top1, ties1), (top2, ties2) = one, other
    top = jnp.maximum(top1, top2)
    return top, jnp.where(top1 == top, ties1, 0) + jnp.where(top2 == top, ties2, 0)
