"""What accelerators find of rows of logits in one pass over the classes: the largest logit, and sums that need it.

Rows are divided, and of each part are kept the largest logit and sums in relation to it. Two parts are merged by
relating both to the larger of their largest. All terms have one sign, so nothing cancels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from .arithmetic import masked
from .dtypes import widened
from .labels import label_mask
from .row_sums import Factors, Largest, RowSums, TargetSums, product
from .shardings import sharded_like


def row_sums(logits: Array, labels: Array | None, sets: tuple[Factors, ...], counted: ArrayLike | None) -> RowSums:
    """The sums for targets that are products of factors."""
    targets = [product(*map(widened, factors)) for factors in sets]
    sums = sums_of(row_parts(logits, labels, targets))
    counted_sums: RowSums = jax.tree.map(lambda array: masked(array, counted), sums)
    return counted_sums._replace(classes=sums.classes)


def leaders_of(every: Array, half: Array, raw_logits: Array, sums: RowSums) -> Array:
    """Which class of each row has more than half of the sum, by what was found of the row."""
    return (widened(raw_logits) == sums.top[..., None]) & (sums.rest < 1)[..., None]


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
    zero: Float[ArrayLike, ""] = 0,
) -> Parts:
    """What is found of rows of logits, of their labels, and of sets of targets.

    In a loop the `zero` has to be one that XLA does not know for a constant, or it would carry an array of it.
    """
    x = widened(logits)
    zeros = jnp.full_like(x, zero)
    entries = Parts(
        top=x,
        rest=zeros,
        score=None if labels is None else jnp.where(sharded_like(x, label_mask(labels, x.shape[-1])), x, zeros),
        others=zeros if targets else None,
        targets=tuple(TargetParts(zeros, widened(jnp.broadcast_to(t, x.shape)), zeros, zeros) for t in targets),
    )
    parts: Parts = jax.lax.reduce(entries, nothing_of(entries, ()), merged, (x.ndim - 1,))
    return parts


def nothing_of(parts: Parts, shape: tuple[int, ...]) -> Parts:
    """The parts of no classes, of a shape."""
    zeros: Parts = jax.tree.map(lambda part: jnp.zeros(shape, part.dtype), parts)
    return zeros._replace(top=jnp.full(shape, -jnp.inf, parts.top.dtype))


def sums_of(parts: Parts) -> RowSums:
    """The sums over the classes, from all parts together."""
    nothing = parts.top == -jnp.inf

    def of_targets(part: TargetParts) -> TargetSums:
        existing = jnp.where(nothing, 0, part.of_leader + part.of_others)
        missing = part.missing + jnp.where(nothing, part.of_leader, 0)
        return TargetSums(2 * part.half_below, existing, part.of_others + part.missing, missing)

    top = jnp.where(nothing, 0, parts.top)
    # Of an infinite logit there is no exponential.
    rest = jnp.where(nothing, -1, jnp.where(top == jnp.inf, jnp.nan, parts.rest))
    score = jnp.zeros_like(top) if parts.score is None else parts.score
    classes = jnp.ones_like(top) if parts.others is None else jnp.where(nothing, 1, parts.others + 1)
    return RowSums(top, rest, score, classes, tuple(map(of_targets, parts.targets)))


def merged(one: Parts, other: Parts) -> Parts:
    """What is kept of two parts together."""
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


# --- the largest ------------------------------------------------------------------------------------------------------


def largest(rows: Float[Array, "*batch n"], of_label: Float[Array, "*batch n"]) -> Largest:
    """What is found of rows, and of their labels' scores with 0 in the place of all others."""
    zero = jnp.zeros((), rows.dtype)
    start = Largest(jnp.array(-jnp.inf, rows.dtype), zero, zero)
    found: Largest = jax.lax.reduce(
        Largest(rows, jnp.ones_like(rows), of_label), start, _merged_largest, (rows.ndim - 1,)
    )
    return found


def _merged_largest(one: Largest, other: Largest) -> Largest:
    score = jnp.maximum(one.score, other.score)
    ties = jnp.where(one.score == score, one.ties, 0) + jnp.where(other.score == score, other.ties, 0)
    return Largest(score, ties, one.of_label + other.of_label)
