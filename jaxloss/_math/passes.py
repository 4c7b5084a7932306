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
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer

from . import one_pass, one_pass_of_vectors, several_passes
from .found import found
from .labels import gathered, label_mask, selected, without_selected, zeros_written
from .row_sums import Directions, Factors, Largest, RowSums
from .shardings import sharded_like

T = TypeVar("T")

_ACCELERATOR_EVERYWHERE = os.environ.get("JAXLOSS_PASSES") == "accelerator"


def by_platform(*operands: Any, cpu: Callable[..., Any], accelerator: Callable[..., Any]) -> Any:
    """What one of two functions makes of the operands, by the platform that the program is compiled for."""
    if _ACCELERATOR_EVERYWHERE:
        return accelerator(*operands)
    return jax.lax.platform_dependent(*operands, cpu=cpu, default=accelerator)


# --- one entry of each row --------------------------------------------------------------------------------------------


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
        return selected(rows, labels)
    entries: Array = by_platform(rows, labels, cpu=gathered, accelerator=selected)
    return entries


def _is_sharded_unlike(rows: Array, labels: Array) -> bool:
    """Indexing refuses an axis that is sharded explicitly, and labels that are sharded unlike the rows."""
    return tuple(jax.typeof(rows).sharding.spec) != (*jax.typeof(labels).sharding.spec, None)


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
        return without_selected(rows, labels)
    result: Array = by_platform(rows, labels, cpu=zeros_written, accelerator=without_selected)
    return result


# --- sums over the classes --------------------------------------------------------------------------------------------


def row_sums(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"] | None = None,
    sets: tuple[Factors, ...] = (),
    counted: Bool[ArrayLike, "..."] | None = None,
) -> RowSums:
    """The largest logit of each row, and the sums over its classes that need it, all constants.

    On accelerators in one pass over memory. That has a condition for each class, with which a CPU takes 2 to 8 times as
    long as for several passes.

    Args:
        logits: Rows of logits, in any dtype.
        labels: The label of each row, if they are integers.
        sets: Sets of targets, each as the factors that they are products of.
        counted: Which rows count; None for all. The sums of the others are 0.
    """
    operands = jax.lax.stop_gradient((logits, labels, sets, counted))
    sums: RowSums = by_platform(*operands, cpu=several_passes.row_sums, accelerator=one_pass.row_sums)
    return sums


def unless_found(computed: Float[Array, "*batch"], value: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """What is computed of each row, with the value that `row_sums` has found on an accelerator."""
    chosen: Array = by_platform(computed, sharded_like(computed, value), cpu=_first, accelerator=_last)
    return found(chosen, computed)


def _first(*operands: Array) -> Array:
    return operands[0]


def _last(*operands: Array) -> Array:
    return operands[-1]


def leaders_of(
    every: Float[Array, "*batch classes"],
    half: Float[Array, "*batch"],
    raw_logits: Float[Array, "*batch classes"],
    sums: RowSums,
) -> Bool[Array, "*batch classes"]:
    """Which class of each row, if one does, has more than half of the sum of the exponentials."""
    leaders: Array = by_platform(
        every, half, raw_logits, sums, cpu=several_passes.leaders_of, accelerator=one_pass.leaders_of
    )
    return leaders


def sum_without_leaders(
    terms: Float[Array, "*batch classes"],
    leaders: Bool[Array, "*batch classes"],
    every: Float[Array, "*batch classes"],
    half: Float[Array, "*batch"],
    value: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """The sum of terms over the classes that `leaders_of` does not name, which an accelerator has found."""
    operands = jax.lax.stop_gradient((half, every, terms, value))
    chosen: Array = by_platform(*operands, cpu=several_passes.sum_up_to, accelerator=_last)
    return found(chosen, jnp.sum(jnp.where(leaders, 0, terms), axis=-1))


# --- other passes -----------------------------------------------------------------------------------------------------


def scaled_powers(
    vectors: Sequence[Float[Array, "*batch n"]], exponent: float
) -> list[tuple[Float[Array, "*batch"], Float[Array, "*batch"]]]:
    """A scale for each vector, about its largest absolute entry, and the sum of the powers of all entries in its units.

    On accelerators all are found in one pass. The inverse of the scale is a normal number, since it may be what XLA
    multiplies by.
    """

    def of(module: ModuleType) -> Callable[..., Any]:
        return lambda *vectors: module.scaled_powers(vectors, exponent)

    found: list[tuple[Array, Array]] = by_platform(
        *vectors, cpu=of(several_passes), accelerator=of(one_pass_of_vectors)
    )
    return found


def directions(x1: Float[Array, "*batch n"], x2: Float[Array, "*batch n"]) -> Directions:
    """The lengths of two vectors, and how far their directions are apart."""
    sums: Directions = by_platform(x1, x2, cpu=several_passes.directions, accelerator=one_pass_of_vectors.directions)
    return sums


def largest(
    rows: Float[Array, "*batch classes"], logits: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]
) -> Largest:
    """The largest entry of each row and how many are as large, and on accelerators the logit of its label."""
    of_label = jnp.where(label_mask(labels, rows.shape[-1]), logits, 0)
    found: Largest = by_platform(rows, of_label, cpu=several_passes.largest, accelerator=one_pass.largest)
    return found


# --- the linear layer -------------------------------------------------------------------------------------------------


def on_accelerators(computed: T, function: Callable[..., T], *operands: Any) -> T:
    """What is computed, with the values that a function of the operands finds on an accelerator: a tree of arrays."""

    def as_computed(computed: T, *_: Any) -> T:
        return computed

    def as_found(computed: T, *operands: Any) -> T:
        result: T = jax.tree.map(lambda like, value: value.astype(like.dtype), computed, function(*operands))
        return result

    chosen: T = by_platform(*jax.lax.stop_gradient((computed, *operands)), cpu=as_computed, accelerator=as_found)
    result: T = jax.tree.map(found, chosen, computed)
    return result


def with_added_product(
    sums: Float[Array, "features classes"],
    kernel: Float[Array, "features classes"],
    slopes: Float[Array, "rows classes"],
    product: Callable[[Array, Array], Array],
) -> Float[Array, "features classes"]:
    """The sums plus a product of kernel and slopes that is made for each class by itself.

    An accelerator adds to the sums as it multiplies. A CPU holds the product beside them, so there it is made for some
    classes at a time.
    """

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
