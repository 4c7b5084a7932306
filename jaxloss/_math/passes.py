"""All that is chosen by platform: how arrays as large as the logits are read, on CPU and on accelerators.

XLA fuses operations by other rules on each platform: what is one pass over memory on a GPU may be three on a CPU. Each
choice below says what was measured, and which test would notice it gone.

The environment variable `JAXLOSS_PASSES=accelerator` makes every platform take the accelerators' branch, so that the
tests execute it on CPU. It is read once, when this module is imported.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from .dtypes import widened

_ACCELERATOR_EVERYWHERE = os.environ.get("JAXLOSS_PASSES") == "accelerator"


def by_platform(*operands: Any, cpu: Callable[..., Any], accelerator: Callable[..., Any]) -> Any:
    """What one of two functions makes of the operands, by the platform that the program is compiled for."""
    if _ACCELERATOR_EVERYWHERE:
        return accelerator(*operands)
    return jax.lax.platform_dependent(*operands, cpu=cpu, default=accelerator)


# --- one entry of each row --------------------------------------------------------------------------------------------


def label_mask(labels: Integer[Array, "*batch"], classes: int, /) -> Bool[Array, "*batch classes"]:
    """Which class of each row its label names: for use in a reduction, where it is never held in memory.

    Args:
        labels: Integers, of shape (...).
        classes: Number of classes.

    Returns:
        Boolean array of shape (..., classes).
    """
    return labels[..., None] == jax.lax.broadcasted_iota(jnp.int32, (1,) * labels.ndim + (classes,), labels.ndim)


def at_labels(rows: Float[Array, "*#batch classes"], labels: Integer[Array, "*batch"], /) -> Float[Array, "*batch"]:
    """The entry of each row that its label names.

    On accelerators a compare-and-select reduction, which fuses with its neighbours into one pass; on CPU, where that
    would be a pass of its own, a gather. Neither brings classes that are sharded over devices together.

    Args:
        rows: Array of shape (..., classes); the leading axes may be of size 1.
        labels: Integers in [0, classes), of shape (...).

    Returns:
        Array of the shape of `labels`.
    """
    rows, labels = jnp.asarray(rows), jnp.asarray(labels)
    # Indexing refuses an axis that is sharded explicitly, and labels that are sharded unlike the rows.
    if tuple(jax.typeof(rows).sharding.spec) != (*jax.typeof(labels).sharding.spec, None):
        return _selected(rows, labels)
    entries: Array = by_platform(rows, labels, cpu=_gathered, accelerator=_selected)
    return entries


def _selected(rows: Array, labels: Array) -> Array:
    return jnp.sum(jnp.where(label_mask(labels, rows.shape[-1]), rows, 0), axis=-1)


def _gathered(rows: Array, labels: Array) -> Array:
    return jnp.take_along_axis(rows, labels[..., None], axis=-1, mode="promise_in_bounds")[..., 0]


# --- sums over the classes --------------------------------------------------------------------------------------------


def class_sum(terms: Callable[..., Array], *operands: Any) -> Float[Array, "*batch"]:
    """The sum of terms over the classes, on CPU as a pass of its own.

    Behind a barrier XLA shares nothing of it with other passes. On CPU it would fuse none that share, but write out
    what they do: the logits in float32, their difference from the largest, even a constant.
    """
    own = by_platform(operands, cpu=jax.lax.optimization_barrier, accelerator=lambda operands: operands)
    return jnp.sum(terms(*jax.tree.map(widened, own)), axis=-1)


class Limits(NamedTuple):
    """The constants of `exists`, as arrays: a constant behind the barrier of `class_sum` would be written out."""

    lowest: Array
    minus_one: Array
    one: Array


def limits_of(dtype: Any) -> Limits:
    """The constants of `exists` for logits of a dtype."""
    return Limits(*(jnp.asarray(limit, dtype) for limit in (jnp.finfo(dtype).min, -1, 1)))


def exists(logits: Float[Array, "*batch classes"], limits: Limits) -> Float[Array, "*batch classes"]:
    """1, or 0 for a logit of -inf: on CPU by arithmetic, as XLA does not fuse a comparison into a sum there."""
    found: Array = by_platform(logits, limits, cpu=_exists_by_arithmetic, accelerator=_exists_by_comparison)
    return found


def _exists_by_arithmetic(logits: Array, limits: Limits) -> Array:
    return jnp.minimum(limits.lowest / jnp.minimum(logits, limits.minus_one), limits.one)


def _exists_by_comparison(logits: Array, limits: Limits) -> Array:
    return jnp.where(logits == -jnp.inf, 0, limits.one)


# --- the products of the linear layer ---------------------------------------------------------------------------------


def matmul(hidden: Array, kernel: Array, precision: jax.lax.PrecisionLike) -> Array:
    """Half precision is multiplied as it is, and added up in float32."""
    return jnp.dot(hidden, kernel, precision=precision, preferred_element_type=widened(hidden).dtype)


def transposed_matmul(linear: Callable[[Array], Array], at: Array, cotangents: Array) -> Array:
    """The transpose of a product: not written down, it gets its sharding from JAX. It is in float32."""
    result: Array = jax.linear_transpose(linear, widened(at))(cotangents)[0]
    return result


def with_added_product(
    sums: Float[Array, "features classes"],
    hidden: Float[Array, "rows features"],
    kernel: Float[Array, "features classes"],
    slopes: Float[Array, "rows classes"],
    precision: jax.lax.PrecisionLike,
) -> Float[Array, "features classes"]:
    """The sums plus hiddenᵀ @ slopes.

    An accelerator adds to the sums as it multiplies. A CPU holds the product beside them, so there it is made for some
    classes at a time.
    """

    def product(kernel: Array, slopes: Array) -> Array:
        return transposed_matmul(lambda kernel: matmul(hidden, kernel, precision), kernel, slopes)

    def at_once(sums: Array, slopes: Array) -> Array:
        return sums + product(kernel, slopes)

    def by_classes(sums: Array, slopes: Array) -> Array:
        def add(index: int | Array, sums: Array) -> Array:
            some_kernel, some_slopes, some_sums = (
                jax.lax.dynamic_slice_in_dim(array, index * width, width, axis=1) for array in (kernel, slopes, sums)
            )
            added = some_sums + product(some_kernel, some_slopes)
            return jax.lax.dynamic_update_slice_in_dim(sums, added, index * width, axis=1)

        added: Array = jax.lax.fori_loop(0, classes // width, add, sums)
        return added

    classes = kernel.shape[1]
    width = max((n for n in range(1, min(classes, 1024) + 1) if classes % n == 0), default=0)
    if width < 256:  # products this narrow are slow
        return at_once(sums, slopes)
    added: Array = by_platform(sums, slopes, cpu=by_classes, accelerator=at_once)
    return added
