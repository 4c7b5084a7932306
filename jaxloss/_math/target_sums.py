"""Sums over the classes of rows of logits, weighted by a target for each class, where -inf rules a class out."""

import jax.numpy as jnp
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
    scores, ruled_out = finite(logits)
    existing = jnp.where(ruled_out, 0, targets)
    below = jnp.sum(2 * existing * (top[..., None] / 2 - scores / 2), axis=-1)
    return sums._replace(below=found(sums.below, below), targets=found(sums.targets, jnp.sum(existing, axis=-1)))
