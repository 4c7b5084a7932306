"""The softmax of rows of logits in which -inf rules a class out, with one pass over the classes for each sum.

Logits are the largest array of most models, so no other array of their size is kept.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer

from .arithmetic import masked
from .dtypes import widened
from .passes import at_labels, class_sum, label_mask


def weights_of_labels(labels: Array, class_weights: Array | None) -> Array | None:
    """The weight of each row's label, which the row adds to the divisor of the mean; None if all weights are 1."""
    if class_weights is None:
        return None
    if jnp.issubdtype(labels.dtype, jnp.integer):
        return at_labels(class_weights, labels)
    return jnp.sum(class_weights * widened(labels), axis=-1)


def nll_terms(scores: Array, top: Array, log_normalizer: Array, weights: Array | int) -> Array:
    """-w log p as two terms, neither of which is negative, so that nothing cancels.

    The difference is taken of halves, since that of the whole scores may overflow.
    """
    return weights * log_normalizer + 2 * weights * (top / 2 - scores / 2)


def log_softmax(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """Log-probabilities; a row whose classes are all ruled out stays at -inf, with gradient 0."""
    top, log_normalizer = normalizer(logits, logits)
    return logits - top[..., None] - log_normalizer[..., None]


def nll_of_labels(logits: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """-log p of each row's label, as two terms that are not negative, so that nothing cancels."""
    top, log_normalizer = normalizer(logits, logits)
    return log_normalizer - (at_labels(logits, labels) - top)


def count_classes(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch"]:
    """The number of classes of each row that are not ruled out; at least 1, so that one can divide by it."""
    return jnp.maximum(jnp.sum(logits != -jnp.inf, axis=-1), 1).astype(logits.dtype)


# --- the largest logit and the sum of exponentials --------------------------------------------------------------------


def normalizer(
    logits: Float[Array, "*batch classes"],
    raw_logits: Float[Array, "*batch classes"],
    counted: Bool[ArrayLike, "..."] | None = None,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The largest logit of each row, and log Σ exp(logits - largest), which is at least 0.

    Both are 0 for a row that does not count, or whose classes are all ruled out. Differentiation takes the largest
    logit for a constant.

    Args:
        logits: What derivatives are taken with respect to: in the compute dtype, with harmless numbers in rows that do
            not count.
        raw_logits: What the values are computed from: the logits as the caller gave them.
        counted: Which rows count; None for all.
    """
    top, total = _sum_of_exponentials(logits, raw_logits, counted)
    return top, jnp.log(total)


@jax.custom_jvp
def _sum_of_exponentials(logits: Array, raw_logits: Array, counted: ArrayLike | None) -> tuple[Array, Array]:
    """The largest logit and Σ exp(logits - largest); 0 and 1 for a row that does not count or has no classes."""
    top = jnp.max(raw_logits, axis=-1).astype(logits.dtype)
    top = masked(jnp.where(top == -jnp.inf, 0, top), counted)
    total = class_sum(lambda logits, top: jnp.exp(logits - top[..., None]), raw_logits, top)
    has_total = total != 0 if counted is None else counted & (total != 0)
    return top, jnp.where(has_total, total, 1)


# The rule computes the exponentials again from the logits. Plain autodiff would keep them, an array as large as the
# logits. The gradient divides them by their sum, which gives the probabilities more exactly than exp(logits - log Z).
@_sum_of_exponentials.defjvp
def _sum_of_exponentials_jvp(
    primals: tuple[Array, Array, ArrayLike | None], tangents: tuple[Array, Any, Any]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    logits = primals[0]
    top, total = _sum_of_exponentials(*primals)
    slopes = jnp.exp(logits - top[..., None])
    return (top, total), (jnp.zeros_like(top), jnp.sum(slopes * tangents[0], axis=-1))


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
