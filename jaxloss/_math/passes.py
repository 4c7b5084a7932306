"""All that is chosen by platform: how arrays as large as the logits are read, on CPU and on accelerators.

XLA fuses operations by other rules on each platform: what is one pass over memory on a GPU may be three on a CPU. The
comment on each choice says how much temporary memory it saves on a CPU, as XLA reports it for value and gradient of
`cross_entropy` with 512 rows of 32,000 classes, which are 65.5 MB of float32 logits (JAX 0.10.2 and 0.12.0).
tests/test_passes.py fails where a choice no longer saves any. No test measures time: beside other work a ratio of times
means nothing.

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
from .indexing import taken, unseen
from .shardings import varying_alike

_SLOW_LONG_SUMS = jax.__version_info__ < (0, 12)
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
    # Measured: with the selection a CPU holds 65.5 MB more for bfloat16 logits, and for class weights in float32.
    if _is_sharded_unlike(rows, labels):
        return _selected(rows, labels)
    entries: Array = by_platform(rows, labels, cpu=_gathered, accelerator=_selected)
    return entries


def _is_sharded_unlike(rows: Array, labels: Array) -> bool:
    """Indexing refuses an axis that is sharded explicitly, and labels that are sharded unlike the rows."""
    return tuple(jax.typeof(rows).sharding.spec) != (*jax.typeof(labels).sharding.spec, None)


def _selected(rows: Array, labels: Array) -> Array:
    return jnp.sum(jnp.where(label_mask(labels, rows.shape[-1]), rows, 0), axis=-1)


def _gathered(rows: Array, labels: Array) -> Array:
    return taken(rows, labels[..., None])[..., 0]


def zero_at_labels(
    rows: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"],
    read_before: Float[Array, "*batch"] | None = None,
    /,
) -> Float[Array, "*batch classes"]:
    """Rows with 0 in the place that each row's label names.

    On accelerators by compare and select. On CPU that takes longer than the exponentials that it is for, so there the
    zeros are written by themselves: but not over an array that is read before, as the logits of a chunk are.

    Args:
        rows: Array of shape (..., classes).
        labels: Integers in [0, classes), of shape (...).
        read_before: What is computed from an array first, so that the rows can be written over it; None if they are
            not to be.

    Returns:
        Array of the shape of `rows`.
    """
    # Measured: value and gradient of cross_entropy take a CPU 1.6 times as long with the selection (4,096 rows of 1,000
    # classes); a chunk of linear_cross_entropy takes twice the memory with zeros written by themselves.
    if read_before is not None:
        # A 0 that XLA does not know for one. Known, a loop around this would carry an array of it.
        nothing = jnp.exp(jnp.minimum(read_before, -jnp.inf))[..., None]
        return jnp.where(label_mask(labels, rows.shape[-1]), nothing, rows)
    if _is_sharded_unlike(rows, labels):
        return _without_selected(rows, labels)
    result: Array = by_platform(rows, labels, cpu=_zeros_written, accelerator=_without_selected)
    return result


def _without_selected(rows: Array, labels: Array) -> Array:
    return jnp.where(label_mask(labels, rows.shape[-1]), 0, rows)


@unseen
def _zeros_written(rows: Array, labels: Array) -> Array:
    # Not `jnp.put_along_axis`, which takes no symbolic shapes.
    batch, last = tuple(range(labels.ndim)), (labels.ndim,)
    numbers = jax.lax.ScatterDimensionNumbers((), last, last, batch, batch)
    zeros, mode = jnp.zeros_like(rows, shape=labels.shape), jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
    written: Array = jax.lax.scatter(rows, labels[..., None], zeros, numbers, unique_indices=True, mode=mode)
    return written


# --- sums over the classes --------------------------------------------------------------------------------------------


def class_sum(terms: Callable[..., Array], *operands: Any) -> Float[Array, "*batch"]:
    """The sum of terms over the classes, on CPU as a pass of its own.

    Passes that share an operation are not fused on a CPU: XLA writes out what they share, such as the logits in float32
    or their difference from the largest. Behind a barrier nothing is shared.
    """
    # Measured: without the barrier a CPU holds 65.5 to 131 MB more for bfloat16 logits, 65.5 MB with label smoothing,
    # and 131 MB with class weights as well.
    # A barrier makes everything behind it vary over the devices over which some of it does.
    operands = varying_alike(operands)
    own = by_platform(operands, cpu=jax.lax.optimization_barrier, accelerator=lambda operands: operands)
    of_classes = terms(*jax.tree.map(widened, own))
    # Measured: before JAX 0.12, the sum of more classes than this takes a CPU three to four times as long as writing
    # the terms out first and then adding them up (512 rows of 50,257 and 131,072 classes); of fewer, half as long.
    if of_classes.shape[-1] > 2**15 and _SLOW_LONG_SUMS:
        of_classes = by_platform(of_classes, cpu=_written_out, accelerator=lambda terms: terms)
    return jnp.sum(of_classes, axis=-1)


def _written_out(terms: Array) -> Array:
    # A condition is not fused into a sum on CPU.
    return jnp.where(jnp.isnan(terms), jnp.nan, terms)


class Limits(NamedTuple):
    """The constants of `exists`, as arrays: a constant behind the barrier of `class_sum` would be written out."""

    lowest: Array
    minus_one: Array
    zero: Array
    one: Array


def limits_of(dtype: Any) -> Limits:
    """The constants of `exists` for logits of a dtype."""
    return Limits(*(jnp.asarray(limit, dtype) for limit in (jnp.finfo(dtype).min, -1, 0, 1)))


def exists(logits: Float[Array, "*batch classes"], limits: Limits) -> Float[Array, "*batch classes"]:
    """1, or 0 for a logit of -inf: on CPU by arithmetic, as XLA does not fuse a comparison into a sum there."""
    # Measured: with the comparison a CPU holds 131 to 262 MB more for bfloat16 logits with smoothing and class weights.
    logits = jax.lax.stop_gradient(logits)
    found: Array = by_platform(logits, limits, cpu=_exists_by_arithmetic, accelerator=_exists_by_comparison)
    return found


def _exists_by_arithmetic(logits: Array, limits: Limits) -> Array:
    return jnp.minimum(limits.lowest / jnp.minimum(logits, limits.minus_one), limits.one)


def _exists_by_comparison(logits: Array, limits: Limits) -> Array:
    return jnp.where(logits == -jnp.inf, 0, limits.one)


def is_at_most(
    terms: Float[Array, "*batch classes"], limit: Float[Array, "*batch"], limits: Limits
) -> Float[Array, "*batch classes"]:
    """1, or 0 for a term above the limit of its row: on CPU by arithmetic, for the same reason."""
    operands = jax.lax.stop_gradient((terms, limit, limits))
    found: Array = by_platform(*operands, cpu=_is_at_most_by_arithmetic, accelerator=_is_at_most_by_comparison)
    return found


def _is_at_most_by_arithmetic(terms: Array, limit: Array, limits: Limits) -> Array:
    steep = jnp.where(limit == 0, 0, 4 / jnp.finfo(terms.dtype).eps / limit)
    above = (terms - limit[..., None]) * steep[..., None]
    return limits.one - jnp.minimum(jnp.maximum(above, limits.zero), limits.one)


def _is_at_most_by_comparison(terms: Array, limit: Array, limits: Limits) -> Array:
    return jnp.where(terms > limit[..., None], 0, limits.one)


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
    # Measured: at once, a CPU holds 170 MB for 1,024 rows of 512 features and 65,536 classes, by classes 41 MB.
    added: Array = by_platform(sums, slopes, cpu=by_classes, accelerator=at_once)
    return added
