"""Sums over the classes of rows of logits, weighted by a target for each class, where -inf rules a class out."""

import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from .arithmetic import finite, masked
from .passes import Limits, class_sum, exists, limits_of


class TargetSums(NamedTuple):
    """Sums over the classes of each row, where t is the target of a class. A class exists if it is not ruled out.

    Attributes:
        below: The sum of t (largest logit - logit) over the classes that exist.
        targets: The sum of t over the classes that exist.
        classes: The number of classes that exist, at least 1.
        missing: The sum of t over the classes that do not exist.
    """

    below: Array
    targets: Array
    classes: Array
    missing: Array


@jax.custom_jvp
def target_sums(
    logits: Float[Array, "*batch classes"],
    targets: Float[Array, "*#batch classes"],
    top: Float[Array, "*batch"],
    raw_logits: Float[Array, "*batch classes"],
    factors: tuple[Float[Array, "*#batch classes"], ...],
    counted: Bool[ArrayLike, "..."] | None = None,
) -> TargetSums:
    """The sums over the classes.

    Args:
        logits: What derivatives are taken with respect to, like `targets`: in the compute dtype, with harmless numbers
            in rows that do not count.
        targets: The target of each class, likewise.
        top: The largest logit of each row, a constant.
        raw_logits: What the values are computed from: the logits as the caller gave them.
        factors: Arrays whose product is the targets as the caller gave them.
        counted: Which rows count; None for all.
    """
    below = masked(class_sum(_below_of_classes, raw_logits, top, *factors), counted)
    classes = logits.shape[-1]

    def all_exist() -> TargetSums:
        total = class_sum(_product, *factors) * (classes / targets.shape[-1])
        return TargetSums(
            below, jnp.zeros_like(below) + masked(total, counted), jnp.full_like(below, classes), jnp.zeros_like(below)
        )

    def some_are_ruled_out() -> TargetSums:
        one = jnp.ones((1,) * logits.ndim, logits.dtype)
        limits = limits_of(logits.dtype)
        # XLA merges barriers whose operands are the same. The last pass has them in another order, so that its barrier
        # stays separate from the one of this pass.
        total = masked(class_sum(_targets_that_exist, limits, raw_logits, *factors), counted)
        number = masked(class_sum(_targets_that_exist, limits, raw_logits, one), counted)
        return TargetSums(
            masked(class_sum(_below_of_existing, limits, raw_logits, top, *factors), counted),
            total,
            jnp.maximum(number, 1),
            masked(class_sum(_targets_ruled_out, raw_logits, limits, *factors), counted),
        )

    # A ruled-out class makes the sum inf, or NaN if its target is 0. So if all sums are finite, all classes exist.
    sums: TargetSums = jax.lax.cond(jnp.all(jnp.isfinite(below)), all_exist, some_are_ruled_out)
    return sums


def _target_sums_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[TargetSums, TargetSums]:
    logits, targets, top, *_ = primals
    logits_tangent, targets_tangent, *_ = tangents
    scores, ruled_out = finite(logits)
    below = targets_total = jnp.zeros_like(top)
    # An input without a tangent must not cost a pass over the classes.
    if not isinstance(logits_tangent, SymbolicZero):
        below = below - jnp.sum((~ruled_out).astype(top.dtype) * targets * logits_tangent, axis=-1)
    if not isinstance(targets_tangent, SymbolicZero):
        terms = 2 * (top[..., None] / 2 - scores / 2)
        below = below + jnp.sum(jnp.where(ruled_out, 0, targets_tangent * terms), axis=-1)
        targets_total = jnp.sum(jnp.where(ruled_out, 0, targets_tangent), axis=-1)
    sums = target_sums(*primals)
    return sums, TargetSums(below, targets_total, jnp.zeros_like(top), jnp.zeros_like(top))


target_sums.defjvp(_target_sums_jvp, symbolic_zeros=True)


def _below_of_classes(logits: Array, top: Array, *factors: Array) -> Array:
    return 2 * _product(*factors) * (top[..., None] / 2 - logits / 2)


def _below_of_existing(limits: Limits, logits: Array, top: Array, *factors: Array) -> Array:
    return (
        2 * _product(*factors) * exists(logits, limits) * (top[..., None] / 2 - jnp.maximum(logits, limits.lowest) / 2)
    )


def _targets_that_exist(limits: Limits, logits: Array, *factors: Array) -> Array:
    return exists(logits, limits) * _product(*factors)


def _targets_ruled_out(logits: Array, limits: Limits, *factors: Array) -> Array:
    return (limits.one - exists(logits, limits)) * _product(*factors)


def _product(*factors: Array) -> Array:
    return functools.reduce(operator.mul, factors)
