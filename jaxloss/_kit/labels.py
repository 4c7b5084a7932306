"""Labels that name a class of each row, or are its probabilities: the one way in for both."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from .._math.arithmetic import poison
from .._math.cross_entropy import Rows
from .._math.dtypes import widened
from .checks import PROBABILITY, check_values, require_dtype, require_shape
from .inputs import broadcastable, rows_last, rowwise_inputs, sharded_as, shielded
from .kinds import Mask


def labelled_inputs(
    where: Mask | None,
    axis: int,
    ignore_index: ArrayLike | None,
    /,
    *,
    labels: ArrayLike,
    classes: int | None = None,
    **inputs: ArrayLike,
) -> tuple[Array, Array, Mask | None]:
    """Checks the inputs of a loss with one integer label per row, and shields excluded rows.

    Args:
        where: Boolean mask of the rows that count, or None for all.
        axis: The class axis of the input.
        ignore_index: The label of rows that do not count, or None if no label means that.
        labels: Integer classes, of the input's shape without `axis`.
        classes: How many classes there are, if not the size of `axis`.
        **inputs: One array, by the name that messages shall use.

    Returns:
        The input with its class axis last, all NaN in a row whose label is no class, so that neither its loss nor the
        gradient can be mistaken for right ones; labels that lie within the classes; and `where` without the ignored
        rows.

    Raises:
        TypeError: Labels are not integers.
        ValueError: Shapes do not fit, or there is no such axis.
    """
    rows, labels, where, factors = _labelled(where, axis, ignore_index, labels, classes, **inputs)
    return factors[..., None] * rows, labels, where


def class_inputs(
    where: Mask | None, axis: int, ignore_index: ArrayLike | None, /, *, labels: ArrayLike, **inputs: ArrayLike
) -> tuple[Array, Array, Mask | None]:
    """What `labelled_inputs` does, also for labels that are floating probabilities: of these none is ignored or bad.

    Args:
        where: Boolean mask of the rows that count, or None for all.
        axis: The class axis.
        ignore_index: The integer label of rows that do not count, or None if no label means that.
        labels: Integer classes, of the input's shape without `axis`; or floating probabilities of its shape.
        **inputs: One array, by the name that messages shall use.

    Returns:
        The input with its class axis last, the labels likewise, and `where` without the ignored rows.

    Raises:
        TypeError: Labels are neither.
        ValueError: Shapes do not fit, or there is no such axis.
    """
    rows, labels = jnp.asarray(next(iter(inputs.values()))), jnp.asarray(labels)
    if not are_probabilities(labels, rows):
        return labelled_inputs(where, axis, ignore_index, labels=labels, classes=None, **inputs)
    rows, probs = rowwise_inputs(where, axis, per_row=None, **inputs, labels=labels)
    return rows, probs, where


def rows_with_labels(
    where: Mask | None, axis: int, ignore_index: ArrayLike | None, /, *, logits: ArrayLike, labels: ArrayLike
) -> tuple[Rows, Mask | None]:
    """What `class_inputs` does, for the cross-entropy: with the logits as they were given beside the shielded ones.

    Its passes over the classes mask and poison whole rows after the sum, which saves a pass over the logits on CPU.
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if are_probabilities(labels, logits):
        rows, probs = rowwise_inputs(where, axis, logits=logits, labels=labels)
        raw_logits, raw_probs = (sharded_as(rows, jnp.moveaxis(array, axis, -1)) for array in (logits, labels))
        return Rows(widened(rows), raw_logits, widened(probs), with_check_of(probs, raw_probs), where), where
    rows, labels, where, factors = _labelled(where, axis, ignore_index, labels, None, logits=logits)
    raw_logits = sharded_as(rows, jnp.moveaxis(logits, axis, -1))
    return Rows(widened(rows), raw_logits, labels, None, where, factors), where


def are_probabilities(labels: Array, rows: Array, /) -> bool:
    """Whether labels are probabilities with an axis of classes, where they may also be integers without it."""
    return bool(jnp.issubdtype(labels.dtype, jnp.floating)) and labels.ndim == rows.ndim


def with_check_of(shielded_probs: Array, raw_probs: Array) -> Array:
    """Raw probabilities with the value check of the shielded ones: for passes that mask their rows later."""
    return check_values("labels", raw_probs, PROBABILITY.contains(shielded_probs), PROBABILITY.description)


def _labelled(
    where: Mask | None,
    axis: int,
    ignore_index: ArrayLike | None,
    labels: ArrayLike,
    classes: int | None,
    **inputs: ArrayLike,
) -> tuple[Array, Array, Mask | None, Array]:
    """Shielded rows, valid labels, the mask, and a factor for each row: 1, or NaN where its label is no class."""
    labels = jnp.asarray(labels)
    integers = jnp.issubdtype(labels.dtype, jnp.integer)
    require_dtype(integers, f"labels must be integers, or probabilities with a class axis, got {labels.dtype}")
    arrays, batch = rows_last(axis, inputs, {"labels": labels})
    if ignore_index is not None:
        require_shape("ignore_index", ignore_index, (), "one label")
        counted = labels != ignore_index
        where = counted if where is None else counted & sharded_as(labels, broadcastable("where", where, batch))
    rows, labels = shielded(where, batch, **arrays)
    classes = classes or rows.shape[-1]
    valid = (labels >= 0) & (labels < classes)
    labels = check_values("labels", labels, valid, f"in [0, {classes})")
    return rows, jnp.where(valid, labels, 0), where, poison(valid)
