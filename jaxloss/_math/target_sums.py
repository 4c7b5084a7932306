"""Sums over the classes of rows of logits, weighted by a target for each class, where -inf rules a class out."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from .arithmetic import finite
from .found import found
from .row_sums import TargetSums


def target_sums(
    logits: Float[Array, "*batch classes"],
    targets: Float[Array, "*#batch classes"],
    top: Float[Array, "*batch"],
    sums: TargetSums,
) -> TargetSums:
    """The sums that `row_sums` found, with their derivatives.

    Args:
        logits: What derivatives are taken with respect to, like `targets`: in the compute dtype, with harmless numbers
            in rows that do not count.
        targets: The target of each class, likewise.
        top: The largest logit of each row, a constant.
        sums: The values. Two of them are constants.
    """
    whole = jnp.sum(_existing(logits, targets), axis=-1)
    return sums._replace(below=found(sums.below, _below(logits, targets, top)), targets=found(sums.targets, whole))


def _existing(logits: Array, targets: Array) -> Array:
    return (logits != -jnp.inf).astype(logits.dtype) * targets  # selected, they would be kept for the gradient


@jax.custom_jvp
def _below(logits: Array, targets: Array, top: Array) -> Array:
    return jnp.sum(_existing(logits, targets) * _gaps(logits, top), axis=-1)


def _gaps(logits: Array, top: Array) -> Array:
    return 2 * (top[..., None] / 2 - finite(logits)[0] / 2)


def _below_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    logits, targets, top = primals
    below = _below(*primals)
    moved = jnp.zeros_like(below)
    # An input without a tangent must not cost a pass over the classes.
    if not isinstance(tangents[0], SymbolicZero):
        moved = moved - jnp.sum(_existing(logits, targets) * tangents[0], axis=-1)
    if not isinstance(tangents[1], SymbolicZero):
        moved = moved + jnp.sum(_existing(logits, tangents[1]) * _gaps(logits, top), axis=-1)
    return below, moved


_below.defjvp(_below_jvp, symbolic_zeros=True)
