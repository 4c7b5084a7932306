"""The cross-entropy of rows of logits: the kernel of `cross_entropy` and of the losses that build on it.

The passes over the classes read the logits as the caller gave them: maybe in half precision, and maybe with NaN in rows
that do not count, which are masked after the sum. Derivatives are taken with respect to a second version of the logits,
which is shielded and in the compute dtype, so that gradients are summed in that dtype. `Rows` has both versions.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer

from .arithmetic import bounded, finite, left_out, masked, with_impossible
from .dtypes import Scalar
from .exponentials import Exponentials, beside_labels, beside_leaders, probabilities, softmax
from .passes import at_labels, row_sums, sum_without_leaders, unless_found
from .row_sums import RowSums
from .softmax import nll_and_log_total, selected_scores, weights_of_labels
from .target_sums import target_sums


class Rows(NamedTuple):
    """Rows of logits, classes last, with their labels.

    Attributes:
        logits: The logits in the compute dtype, with harmless numbers in rows that do not count.
        raw_logits: The logits as the caller gave them.
        labels: One class for each row, or class probabilities in the compute dtype, with harmless numbers in rows that
            do not count.
        raw_probs: The class probabilities as the caller gave them; None if the labels are integers.
        counted: Which rows count; None for all.
        poison: A factor for each row: 1, or NaN if its label is not a class. None if all labels are known to be good.
    """

    logits: Float[Array, "*batch classes"]
    raw_logits: Float[Array, "*batch classes"]
    labels: Integer[Array, "*batch"] | Float[Array, "*batch classes"]
    raw_probs: Float[Array, "*batch classes"] | None = None
    counted: Bool[ArrayLike, "..."] | None = None
    poison: Float[Array, "*batch"] | None = None


def shielded_rows(logits: Float[Array, "*batch classes"], labels: Array) -> Rows:
    """`Rows` of logits that are already in the compute dtype and shielded, with labels that are known to be good."""
    return Rows(logits, logits, labels, labels if labels.ndim == logits.ndim else None)


def cross_entropy_of_rows(
    rows: Rows,
    *,
    class_weights: Float[Array, "*ones classes"] | None = None,
    label_smoothing: Scalar = 0.0,
    z_loss_weight: Scalar = 0.0,
    scatter: bool = True,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"] | None]:
    """The cross-entropy of each row, and the weight it adds to the divisor of the mean; None if all weights are 1.

    `scatter` chooses how the gradient is written on CPU. If it is true, the probabilities are written first, and the
    labels' part is then added to them, which is fastest. If it is false, one loop writes both, and can overwrite the
    logits with the gradient.
    """
    label_weights = weights_of_labels(rows.labels, class_weights)
    sets = target_sets(rows, class_weights, label_smoothing, rows.logits.shape[-1])
    integers = rows.labels if rows.raw_probs is None else None
    sums = row_sums(rows.raw_logits, integers, sets, rows.counted)
    return cross_entropy_of_sums(
        rows,
        sums,
        label_weights,
        rows.logits.shape[-1],
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        z_loss_weight=z_loss_weight,
        scatter=scatter,
    )


def target_sets(
    rows: Rows, class_weights: Float[Array, "*ones classes"] | None, label_smoothing: Scalar, classes: int
) -> tuple[tuple[Array, ...], ...]:
    """The sets of targets whose sums `cross_entropy_of_sums` needs, as factors: class probabilities, and smoothing."""
    probs = () if rows.raw_probs is None else ((rows.raw_probs, *([] if class_weights is None else [class_weights])),)
    return probs if left_out(label_smoothing) else (*probs, (_share(rows, class_weights, label_smoothing, classes),))


def _share(rows: Rows, class_weights: Array | None, label_smoothing: Scalar, classes: int) -> Array:
    """The part of the label that each class gets by smoothing."""
    weights = jnp.ones((1,) * rows.logits.ndim, rows.logits.dtype) if class_weights is None else class_weights
    return label_smoothing / classes * weights


def cross_entropy_of_sums(
    rows: Rows,
    sums: RowSums,
    label_weights: Float[Array, "*batch"] | None,
    classes: int,
    *,
    class_weights: Float[Array, "*ones classes"] | None = None,
    label_smoothing: Scalar = 0.0,
    z_loss_weight: Scalar = 0.0,
    scatter: bool = True,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"] | None]:
    """What `cross_entropy_of_rows` returns, from the sums over the classes.

    With the sums over all classes, the rows may have some of the classes only: on an accelerator the values are then
    those of all, and the derivatives those by these.
    """
    logits, raw_logits, labels, raw_probs, counted, _ = rows
    spread = None
    if not left_out(label_smoothing):
        share = _share(rows, class_weights, label_smoothing, classes)
        spread = target_sums(logits, share, sums.top, sums.targets[-1])
    if raw_probs is None:
        raw_scores = unless_found(_scores_of_labels(rows, scatter=scatter), sums.score)
        read_before = None if scatter else raw_scores if spread is None else jnp.minimum(raw_scores, spread.below)
        exponentials = beside_labels(logits, raw_logits, sums, labels, raw_scores, counted, read_before)
        scores, impossible = finite(raw_scores)
        weights = jnp.ones_like(scores) if label_weights is None else label_weights
        values, log_total = nll_and_log_total(logits, scores, weights, sums.top, exponentials)
    else:
        targets = labels if class_weights is None else class_weights * labels
        values, log_total, missing = _nll_of_probabilities(
            logits, targets, sums, *beside_leaders(logits, raw_logits, sums, counted)
        )
        impossible = missing > 0
        if label_weights is not None:
            label_weights = unless_found(label_weights, sums.targets[0].targets + missing)
    if spread is not None:
        smooth = spread.below + spread.targets * log_total
        values = (1 - label_smoothing) * values + classes / sums.classes * smooth
    if not left_out(z_loss_weight):
        log_z = sums.top + log_total
        values = values + z_loss_weight * log_z * log_z  # in this order the gradient overflows last
    values = with_impossible(values, impossible, label_weights)
    return values if rows.poison is None else rows.poison * values, label_weights


def _scores_of_labels(rows: Rows, *, scatter: bool) -> Array:
    # Taken from `raw_logits`, so that in the gradient no mask or conversion follows the scatter: XLA would make each of
    # them a pass of its own.
    if scatter and rows.raw_logits.dtype == rows.logits.dtype:
        return masked(at_labels(rows.raw_logits, rows.labels), rows.counted)
    return selected_scores(rows.logits, rows.labels)


# --- labels that are probabilities ------------------------------------------------------------------------------------


@jax.custom_jvp
def _nll_of_probabilities(
    logits: Array, targets: Array, sums: RowSums, exponentials: Exponentials, every: Array, leaders: Array
) -> tuple[Array, Array, Array]:
    """-Σ t log p of each row, log Σ exp(logits - top), and the sum of t over the classes that do not exist.

    The targets are the first set of the sums, and the rest is what `beside_leaders` returned. Derivatives are taken
    with respect to the logits and the targets.
    """
    below, whole, _, missing = target_sums(logits, targets, sums.top, sums.targets[0])
    return below + whole * exponentials.log_total, exponentials.log_total, missing


def _nll_of_probabilities_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    logits, targets, sums, exponentials, every, leaders = primals
    logits_tangent, targets_tangent, top = *tangents[:2], sums.top[..., None]
    values, log_total, missing = _nll_of_probabilities(*primals)
    by_values = by_log_total = jnp.zeros_like(values)
    # An input without a tangent must not cost a pass over the classes.
    if not isinstance(logits_tangent, SymbolicZero):
        _, whole, others, _ = target_sums(logits, targets, sums.top, sums.targets[0])
        half = jax.lax.stop_gradient(exponentials.total / 2)
        rest = sum_without_leaders(targets, leaders, every, half, others)
        # The slope of a class is p - t. If p is close to 1 and t is 1, the difference is that of the other classes.
        of_leader = rest * exponentials.probability - (whole - rest) * exponentials.complement
        slopes = whole[..., None] * probabilities(exponentials) - targets
        slopes = jnp.where(leaders, of_leader[..., None], slopes)
        by_values = by_values + jnp.sum(slopes * logits_tangent, axis=-1)
        by_log_total = jnp.sum(softmax(exponentials, leaders) * logits_tangent, axis=-1)
    if not isinstance(targets_tangent, SymbolicZero):
        scores, ruled_out = finite(logits)
        terms = bounded(log_total[..., None] + 2 * (top / 2 - scores / 2))
        by_values = by_values + jnp.sum(jnp.where(ruled_out, 0, terms) * targets_tangent, axis=-1)
    return (values, log_total, missing), (by_values, by_log_total, jnp.zeros_like(missing))


_nll_of_probabilities.defjvp(_nll_of_probabilities_jvp, symbolic_zeros=True)
