"""What a CPU finds of rows of logits: each sum over the classes in a pass of its own.

The comments say how much temporary memory that saves, as XLA reports it for value and gradient of `cross_entropy` with
512 rows of 32,000 classes, which are 65.5 MB of float32 logits (JAX 0.10.2 and 0.12.0).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from .arithmetic import masked, power
from .dtypes import widened
from .row_sums import Directions, Factors, Largest, RowSums, TargetSums, product
from .shardings import varying_alike

_SLOW_LONG_SUMS = jax.__version_info__ < (0, 12)


def row_sums(
    logits: Float[Array, "*batch classes"], _: Any, sets: tuple[Factors, ...], counted: Bool[ArrayLike, "..."] | None
) -> RowSums:
    """The sums for targets that are products of factors."""
    top = widened(jnp.max(logits, axis=-1))
    top = masked(jnp.where(top == -jnp.inf, 0, top), counted)
    classes, targets = jnp.ones_like(top), []
    for factors in sets:
        classes, sums = _target_sums(logits, top, factors, counted)
        targets.append(sums)
    zeros = jnp.zeros_like(top)
    return RowSums(top, zeros, zeros, classes, tuple(targets))


def _target_sums(
    logits: Array, top: Array, factors: Factors, counted: Bool[ArrayLike, "..."] | None
) -> tuple[Array, TargetSums]:
    below = masked(class_sum(_below_of_classes, logits, top, *factors), counted)
    zeros, classes = jnp.zeros_like(below), logits.shape[-1]

    def all_exist() -> tuple[Array, TargetSums]:
        total = class_sum(product, *factors) * (classes / max(factor.shape[-1] for factor in factors))
        total = zeros + masked(total, counted)
        return jnp.full_like(below, classes), TargetSums(below, total, zeros, zeros)

    def some_are_ruled_out() -> tuple[Array, TargetSums]:
        one = jnp.ones((1,) * logits.ndim, below.dtype)
        limits = limits_of(below.dtype)
        # XLA merges barriers whose operands are the same. The last pass has them in another order, so that its barrier
        # stays separate from the one of this pass.
        total = masked(class_sum(_targets_that_exist, limits, logits, *factors), counted)
        number = masked(class_sum(_targets_that_exist, limits, logits, one), counted)
        existing = masked(class_sum(_below_of_existing, limits, logits, top, *factors), counted)
        missing = masked(class_sum(_targets_ruled_out, logits, limits, *factors), counted)
        return jnp.maximum(number, 1), TargetSums(existing, total, zeros, missing)

    # A ruled-out class makes the sum inf, or NaN if its target is 0. So if all sums are finite, all classes exist.
    sums: tuple[Array, TargetSums] = jax.lax.cond(jnp.all(jnp.isfinite(below)), all_exist, some_are_ruled_out)
    return sums


def _below_of_classes(logits: Array, top: Array, *factors: Array) -> Array:
    return 2 * product(*factors) * (top[..., None] / 2 - logits / 2)


def _below_of_existing(limits: "Limits", logits: Array, top: Array, *factors: Array) -> Array:
    below = top[..., None] / 2 - jnp.maximum(logits, limits.lowest) / 2
    return 2 * product(*factors) * _exists(logits, limits) * below


def _targets_that_exist(limits: "Limits", logits: Array, *factors: Array) -> Array:
    return _exists(logits, limits) * product(*factors)


def _targets_ruled_out(logits: Array, limits: "Limits", *factors: Array) -> Array:
    return (limits.one - _exists(logits, limits)) * product(*factors)


def leaders_of(every: Array, half: Array, *_: Any) -> Array:
    """Which class of each row has more than half of the sum."""
    return jax.lax.stop_gradient(every) > half[..., None]


def sum_up_to(
    limit: Float[Array, "*batch"],
    terms: Float[Array, "*batch classes"],
    factor: Float[Array, "*batch classes"],
    *_: Any,
) -> Float[Array, "*batch"]:
    """The sum of a factor over the classes whose terms are not above the limit of their row."""
    return class_sum(_product_up_to, limits_of(terms.dtype), limit, terms, factor)


def _product_up_to(limits: "Limits", limit: Array, terms: Array, factor: Array) -> Array:
    steep = jnp.where(limit == 0, 0, 4 / jnp.finfo(terms.dtype).eps / limit)
    above = (terms - limit[..., None]) * steep[..., None]
    return (limits.one - jnp.minimum(jnp.maximum(above, limits.zero), limits.one)) * factor


# --- one pass ---------------------------------------------------------------------------------------------------------


def class_sum(terms: Callable[..., Array], *operands: Any) -> Float[Array, "*batch"]:
    """The sum of terms over the classes, as a pass of its own.

    Passes that share an operation are not fused on a CPU: XLA writes out what they share, such as the logits in float32
    or their difference from the largest. Behind a barrier nothing is shared.
    """
    # Measured: without the barrier a CPU holds 65.5 to 131 MB more for bfloat16 logits, 65.5 MB with label smoothing,
    # and 131 MB with class weights as well.
    # A barrier makes everything behind it vary over the devices over which some of it does.
    own = jax.lax.optimization_barrier(varying_alike(operands))
    of_classes = terms(*jax.tree.map(widened, own))
    # Measured: before JAX 0.12, the sum of more classes than this takes a CPU three to four times as long as writing
    # the terms out first and then adding them up (512 rows of 50,257 and 131,072 classes); of fewer, half as long.
    if of_classes.shape[-1] > 2**15 and _SLOW_LONG_SUMS:
        of_classes = jnp.where(jnp.isnan(of_classes), jnp.nan, of_classes)  # a condition is not fused into a sum
    return jnp.sum(of_classes, axis=-1)


class Limits(NamedTuple):
    """Constants, as arrays: a constant behind the barrier of `class_sum` would be written out."""

    lowest: Array
    minus_one: Array
    zero: Array
    one: Array


def limits_of(dtype: Any) -> Limits:
    """The constants for logits of a dtype."""
    return Limits(*(jnp.asarray(limit, dtype) for limit in (jnp.finfo(dtype).min, -1, 0, 1)))


def _exists(logits: Array, limits: Limits) -> Array:
    """1, or 0 for a logit of -inf: by arithmetic, as XLA does not fuse a comparison into a sum on a CPU."""
    # Measured: with the comparison a CPU holds 131 to 262 MB more for bfloat16 logits with smoothing and class weights.
    return jnp.minimum(limits.lowest / jnp.minimum(logits, limits.minus_one), limits.one)


# --- other passes -----------------------------------------------------------------------------------------------------


def scaled_powers(
    vectors: Sequence[Float[Array, "*batch n"]], exponent: float
) -> list[tuple[Float[Array, "*batch"], Float[Array, "*batch"]]]:
    """A scale for each vector, and the sum of the powers of its entries in units of that."""
    info = jnp.finfo(vectors[0].dtype)

    def powers_of(x: Array) -> Array:
        return jnp.sum(jnp.square(x) if exponent == 2 else power(jnp.abs(x), exponent), axis=-1)

    def scaled(x: Array) -> tuple[Array, Array]:
        scale = jnp.minimum(jnp.max(jnp.abs(x), axis=-1, initial=0), 0.25 / info.tiny)
        return scale, powers_of(x / jnp.maximum(scale, info.tiny)[..., None])

    def of_one(x: Array) -> tuple[Array, Array]:
        powers = powers_of(x)
        # What underflows is not missed in such a sum.
        exact = (powers > float(info.tiny / info.eps**2)) & (powers < jnp.inf)
        found: tuple[Array, Array] = jax.lax.cond(
            jnp.all(exact), lambda: (jnp.ones_like(powers), powers), lambda: scaled(x)
        )
        return found

    return [of_one(x) for x in vectors]


def directions(x1: Float[Array, "*batch n"], x2: Float[Array, "*batch n"]) -> Directions:
    """What is found of two vectors."""
    first, second = scaled_powers((x1, x2), 2)

    def scaled(x: Array, scale: Array) -> Array:
        return x / jnp.maximum(scale, jnp.finfo(x.dtype).tiny)[..., None]

    def length(squares: Array) -> Array:
        return jnp.sqrt(jnp.where(squares == 0, 1, squares))[..., None]

    scaled1, scaled2 = scaled(x1, first[0]), scaled(x2, second[0])
    gap = jnp.sum(jnp.square(scaled1 / length(first[1]) - scaled2 / length(second[1])), axis=-1) / 2
    return Directions(first, second, gap, jnp.sum(scaled1 * scaled2, axis=-1))


def largest(rows: Float[Array, "*batch n"], of_label: Float[Array, "*batch n"]) -> Largest:
    """What `one_pass.largest` finds, but the labels' scores."""
    top = jnp.max(rows, axis=-1)
    return Largest(top, jnp.sum(rows == top[..., None], axis=-1).astype(rows.dtype), jnp.zeros_like(top))
