"""The exponentials of rows of logits, of which one is kept apart, so that no probability loses its digits.

Of a row that is predicted well one probability rounds to 1, and the loss is what the others add up to. Beside the
largest exponential, which is 1, this sum would be rounded away.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer

from .arithmetic import masked
from .dtypes import widened
from .passes import leaders_of, sum_without_leaders, unless_found, zero_at_labels
from .row_sums import RowSums


class Exponentials(NamedTuple):
    """The exponentials of rows of logits, in parts of the largest one: one of them apart from the others.

    Attributes:
        others: The sum of the exponentials of the others.
        own: The one that is apart; 1 in a row whose classes are all ruled out, as its logarithm is needed.
        each: The exponentials of the others, 0 in the place of the one. In rows that do not count it may be anything.
        counted: Which rows count; None for all.
    """

    others: Float[Array, "*batch"]
    own: Float[Array, "*batch"]
    each: Float[Array, "*batch classes"]
    counted: Bool[ArrayLike, "..."] | None

    @property
    def total(self) -> Float[Array, "*batch"]:
        """The sum of all."""
        return self.others + self.own

    @property
    def log_total(self) -> Float[Array, "*batch"]:
        """The logarithm of that, which is at least 0. Its derivative is exact in `nll_and_log_total` only."""
        # JAX drops the rules of what it computes ahead of a `scan`: so this has a derivative of its own, by `own` too.
        return jnp.where(self.own == 1, jnp.log1p(self.others + (self.own - 1)), jnp.log(self.total))

    @property
    def probability(self) -> Float[Array, "*batch"]:
        """The probability of the one. Its derivative is exact also where it is close to 1."""
        return jnp.where(self.own > self.others, 1 - self.others / self.total, self.own / self.total)

    @property
    def complement(self) -> Float[Array, "*batch"]:
        """The probability of the others, likewise."""
        return jnp.where(self.own > self.others, self.others / self.total, 1 - self.own / self.total)


def beside_labels(
    logits: Float[Array, "*batch classes"],
    raw_logits: Float[Array, "*batch classes"],
    sums: RowSums,
    labels: Integer[Array, "*batch"],
    scores: Float[Array, "*batch"],
    counted: Bool[ArrayLike, "..."] | None = None,
    read_before: Float[Array, "*batch"] | None = None,
) -> Exponentials:
    """The exponentials of rows with labels: that of the label is apart.

    Args:
        logits: What derivatives are taken with respect to: in the compute dtype, with harmless numbers in rows that do
            not count.
        raw_logits: What the values are computed from: the logits as the caller gave them.
        sums: What `row_sums` found of them.
        labels: The label of each row.
        scores: The label's logit.
        counted: Which rows count; None for all.
        read_before: What is computed from the logits first, so that the exponentials can be written over them; None if
            they are the caller's.
    """
    each, own = exponentials_of(logits, raw_logits, sums.top, counted, labels, read_before), jnp.exp(scores - sums.top)
    is_largest = scores == sums.top
    own = own + jax.lax.stop_gradient(jnp.where(is_largest, 1 - own, 0))  # exp(0) need not be exactly 1
    rest = jax.lax.stop_gradient(jnp.where(is_largest, sums.rest, (sums.rest - own) + 1))
    others = masked(unless_found(jnp.sum(each, axis=-1), rest), counted)
    return Exponentials(others, jnp.where(others + own == 0, 1, own), each, counted)


def beside_leaders(
    logits: Float[Array, "*batch classes"],
    raw_logits: Float[Array, "*batch classes"],
    sums: RowSums,
    counted: Bool[ArrayLike, "..."] | None = None,
) -> tuple[Exponentials, Float[Array, "*batch classes"], Bool[Array, "*batch classes"]]:
    """The exponentials of rows without labels: the largest is apart if it is more than half of the sum.

    The arguments are those of `beside_labels`.

    Returns:
        The exponentials; where none is apart, `own` is 0. Then each of them, none apart; and which one is apart.
    """
    every = exponentials_of(logits, raw_logits, sums.top, counted)
    total = unless_found(jnp.sum(every, axis=-1), sums.rest + 1)
    half = jax.lax.stop_gradient(total / 2)
    leaders = leaders_of(every, half, raw_logits, sums)
    each = jnp.where(leaders, 0, every)
    others = jnp.where((sums.rest >= 0) & (sums.rest < 1), sums.rest, sums.rest + 1)
    rest = sum_without_leaders(every, leaders, every, half, others)
    leads = rest < 1.5 * half  # without a leader, all are among the others
    total, others = masked(total, counted), masked(jnp.where(leads, rest, total), counted)
    # The derivative is that of the leader. The value is exactly 1, which exp(0) need not be.
    leader = total - others
    own = jnp.where(leads, 1 + (leader - jax.lax.stop_gradient(leader)), jnp.where(total == 0, 1, 0))
    return Exponentials(others, own, each, counted), every, leaders


@jax.custom_jvp
def exponentials_of(
    logits: Float[Array, "*batch classes"],
    raw_logits: Float[Array, "*batch classes"],
    top: Float[Array, "*batch"],
    counted: Bool[ArrayLike, "..."] | None = None,
    labels: Integer[Array, "*batch"] | None = None,
    read_before: Float[Array, "*batch"] | None = None,
) -> Float[Array, "*batch classes"]:
    """exp(logits - top), 0 at the labels if there are any. The arguments are those of `beside_labels`."""
    each = jnp.exp(widened(raw_logits) - top[..., None])
    return each if labels is None else zero_at_labels(each, labels, read_before)


@exponentials_of.defjvp
def _exponentials_of_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    each, counted = exponentials_of(*primals), primals[3]
    return each, _of_counted(each, counted) * tangents[0]


def _of_counted(rows: Array, counted: ArrayLike | None) -> Array:
    """Rows with 0 in those that do not count."""
    return rows if counted is None else masked(rows, jnp.broadcast_to(counted, rows.shape[:-1])[..., None])


def softmax(exponentials: Exponentials, leaders: Bool[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """All probabilities, from what `beside_leaders` returned. Their derivatives too are exact."""
    return jnp.where(leaders, exponentials.probability[..., None], probabilities(exponentials))


@jax.custom_jvp
def probabilities(exponentials: Exponentials) -> Float[Array, "*batch classes"]:
    """The probabilities of the others, 0 in the place of the one that is apart and in rows that do not count."""
    return _of_counted(exponentials.each, exponentials.counted) / exponentials.total[..., None]


@probabilities.defjvp
def _probabilities_jvp(primals: tuple[Exponentials], tangents: tuple[Exponentials]) -> tuple[Array, Array]:
    (exponentials,), (tangent,) = primals, tangents
    shares, total, own = probabilities(exponentials), exponentials.total[..., None], exponentials.own[..., None]
    moved = _of_counted(tangent.each, exponentials.counted)
    # The derivative of the largest is that of all others: beside the largest, theirs would be rounded away.
    largest = shares > 0.5
    rest = jnp.sum(jnp.where(largest, 0, shares), axis=-1, keepdims=True) + own / total
    rest_moved = jnp.sum(jnp.where(largest, 0, moved), axis=-1, keepdims=True) + tangent.own[..., None]
    largest_moved = jnp.sum(jnp.where(largest, moved, 0), axis=-1, keepdims=True)
    by_largest = rest * moved - shares * rest_moved
    by_others = moved - shares * (rest_moved + largest_moved)
    return shares, jnp.where(largest, by_largest, by_others) / total
