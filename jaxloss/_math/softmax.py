"""The softmax of rows of logits in which -inf rules a class out, and its logarithm."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from .dtypes import widened
from .exponentials import Exponentials, beside_labels, beside_leaders, exponentials_of, probabilities, softmax
from .labels import label_mask
from .passes import at_labels, row_sums, unless_found
from .row_sums import RowSums


def weights_of_labels(labels: Array, class_weights: Array | None) -> Array | None:
    """The weight of each row's label, which the row adds to the divisor of the mean; None if all weights are 1."""
    if class_weights is None:
        return None
    if jnp.issubdtype(labels.dtype, jnp.integer):
        return at_labels(class_weights, labels)
    return jnp.sum(class_weights * widened(labels), axis=-1)


def count_classes(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch"]:
    """The number of classes of each row that are not ruled out; at least 1, so that one can divide by it."""
    return jnp.maximum(jnp.sum(logits != -jnp.inf, axis=-1), 1).astype(logits.dtype)


# --- logarithms -------------------------------------------------------------------------------------------------------


@jax.custom_jvp
def nll_and_log_total(
    logits: Float[Array, "*batch classes"],
    scores: Float[Array, "*batch"],
    weights: Float[Array, "*#batch"],
    top: Float[Array, "*batch"],
    exponentials: Exponentials,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """-w log p of each row's label, and log Σ exp(logits - top), from what `beside_labels` returned for these logits.

    Derivatives are taken with respect to the logits of the other classes, the labels' scores and the weights.
    """
    # Two terms, neither of which is negative: nothing cancels. The difference is taken of halves, since that of the
    # whole scores may overflow.
    log_total = exponentials.log_total
    return weights * log_total + 2 * weights * (top / 2 - scores / 2), log_total


@nll_and_log_total.defjvp
def _nll_and_log_total_jvp(
    primals: tuple[Array, Array, Array, Array, Exponentials], tangents: tuple[Array, Array, Array, Any, Any]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    logits, scores, weights, top, exponentials = primals
    by_others = jnp.sum(probabilities(exponentials) * tangents[0], axis=-1)
    # The slope of a label's score is p - 1, of which nothing would be left if p is close to 1.
    nll_moved = by_others - exponentials.complement * tangents[1]
    per_weight, _ = nll_and_log_total(logits, scores, jnp.ones_like(weights), top, exponentials)
    return nll_and_log_total(*primals), (
        weights * nll_moved + per_weight * tangents[2],
        by_others + exponentials.probability * tangents[1],
    )


def nll_of_labels(logits: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """-log p of each row's label."""
    sums = row_sums(logits, labels)
    scores = unless_found(at_labels(logits, labels), sums.score)
    exponentials = beside_labels(logits, logits, sums, labels, scores)
    return nll_and_log_total(logits, scores, jnp.ones_like(scores), sums.top, exponentials)[0]


def normalizer(logits: Float[Array, "*batch classes"]) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The largest logit of each row, which differentiation takes for a constant, and log Σ exp(logits - largest).

    Both are 0 for a row whose classes are all ruled out.
    """
    sums = row_sums(logits)
    return sums.top, _log_total(logits, sums)


@jax.custom_jvp
def _log_total(logits: Array, sums: RowSums) -> Array:
    total = unless_found(jnp.sum(exponentials_of(logits, logits, sums.top), axis=-1), sums.rest + 1)
    return jnp.log(jnp.where(total == 0, 1, total))


@_log_total.defjvp
def _log_total_jvp(primals: tuple[Array, RowSums], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    logits, sums = primals
    exponentials, _, leaders = beside_leaders(logits, logits, sums)
    return _log_total(*primals), jnp.sum(softmax(exponentials, leaders) * tangents[0], axis=-1)


@jax.custom_jvp
def log_softmax(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """Log-probabilities; a row whose classes are all ruled out stays at -inf, with gradient 0."""
    sums = row_sums(logits)
    exponentials, *_ = beside_leaders(logits, logits, sums)
    return logits - sums.top[..., None] - exponentials.log_total[..., None]


@log_softmax.defjvp
def _log_softmax_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    exponentials, _, leaders = beside_leaders(*primals, *primals, row_sums(*primals))
    # Measured from the class that leads, its own slope keeps its digits.
    moved = tangents[0] - jnp.sum(jnp.where(leaders, tangents[0], 0), axis=-1, keepdims=True)
    moved = jnp.where(leaders, 0, moved)
    return log_softmax(*primals), moved - jnp.sum(probabilities(exponentials) * moved, axis=-1, keepdims=True)


# --- the labels' logits -----------------------------------------------------------------------------------------------


@jax.custom_jvp
def selected_scores(logits: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The logits of the labels, with a gradient that XLA can write in one loop with the other gradients."""
    return at_labels(logits, labels)


@selected_scores.defjvp
def _selected_scores_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    logits, labels = primals
    # A product rather than `where` with zeros: a loop around it would carry an array of these zeros.
    is_label = label_mask(labels, logits.shape[-1]).astype(logits.dtype)
    return selected_scores(logits, labels), jnp.sum(is_label * tangents[0], axis=-1)
