"""The cross-entropy of rows of logits: the kernel of `cross_entropy` and of the losses that build on it.

The passes over the classes read the logits as the caller gave them: maybe in half precision, and maybe with NaN in rows
that do not count, which are masked after the sum. Derivatives are taken with respect to a second version of the logits,
which is shielded and in the compute dtype, so that gradients are summed in that dtype. `Rows` has both versions.
"""

import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer

from .arithmetic import finite, left_out, masked, with_impossible
from .dtypes import Scalar
from .passes import Limits, at_labels, class_sum, exists, limits_of
from .softmax import nll_terms, normalizer, selected_scores, weights_of_labels


class Rows(NamedTuple):
    """Rows of logits, classes last, with their labels.

    Attributes:
        logits: The logits in the compute dtype, with harmless numbers in rows that do not count.
        labels: One class for each row, or class probabilities in the compute dtype, with harmless numbers in rows that
            do not count.
        raw_logits: The logits as the caller gave them.
        raw_probs: The class probabilities as the caller gave them; None if the labels are integers.
        counted: Which rows count; None for all.
        poison: A factor for each row: 1, or NaN if its label is not a class. None if all labels are known to be good.
    """

    logits: Float[Array, "*batch classes"]
    labels: Integer[Array, "*batch"] | Float[Array, "*batch classes"]
    raw_logits: Float[Array, "*batch classes"]
    raw_probs: Float[Array, "*batch classes"] | None = None
    counted: Bool[ArrayLike, "..."] | None = None
    poison: Float[Array, "*batch"] | None = None


def shielded_rows(logits: Float[Array, "*batch classes"], labels: Array) -> Rows:
    """`Rows` of logits that are already in the compute dtype and shielded, with labels that are known to be good."""
    return Rows(logits, labels, logits, labels if labels.ndim == logits.ndim else None)


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
    logits, labels = rows.logits, rows.labels
    top, log_normalizer = normalizer(logits, rows.raw_logits, rows.counted)
    label_weights = weights_of_labels(labels, class_weights)
    if rows.raw_probs is None:
        scores, impossible = finite(_scores_of_labels(rows, scatter=scatter))
        values = nll_terms(scores, top, log_normalizer, 1 if label_weights is None else label_weights)
    else:
        weighted, factors = (
            (labels, (rows.raw_probs,))
            if class_weights is None
            else (class_weights * labels, (rows.raw_probs, class_weights))
        )
        values, _, _, missing = _expected_nll(rows, weighted, top, log_normalizer, factors)
        impossible = missing > 0
    if not left_out(label_smoothing):
        weights = jnp.ones((1,) * logits.ndim, logits.dtype) if class_weights is None else class_weights
        spread = _expected_nll(rows, weights, top, log_normalizer, (weights,))
        values = (1 - label_smoothing) * values + label_smoothing * spread.nll / spread.classes
    if not left_out(z_loss_weight):
        log_z = top + log_normalizer
        values = values + z_loss_weight * log_z * log_z  # in this order the gradient overflows last
    values = with_impossible(values, impossible, label_weights)
    return values if rows.poison is None else rows.poison * values, label_weights


def _scores_of_labels(rows: Rows, *, scatter: bool) -> Array:
    # Taken from `raw_logits`, so that in the gradient no mask or conversion follows the scatter: XLA would make each of
    # them a pass of its own.
    if scatter and rows.raw_logits.dtype == rows.logits.dtype:
        return masked(at_labels(rows.raw_logits, rows.labels), rows.counted)
    return selected_scores(rows.logits, rows.labels)


# --- the expectation of -log p ----------------------------------------------------------------------------------------


class _Expectation(NamedTuple):
    """Sums over the classes of each row, where t is the target of a class. A class exists if it is not ruled out.

    Attributes:
        nll: The sum of -t log p over the classes that exist.
        targets: The sum of t over the classes that exist.
        classes: The number of classes that exist, at least 1.
        missing: The sum of t over the classes that do not exist.
    """

    nll: Array
    targets: Array
    classes: Array
    missing: Array


@jax.custom_jvp
def _expected_nll(
    rows: Rows, targets: Array, top: Array, log_normalizer: Array, factors: tuple[Array, ...]
) -> _Expectation:
    """The sums over the classes. Values are computed from `factors`, whose product is the raw targets.

    Derivatives are taken with respect to `targets`, which is the same product, shielded and in the compute dtype.
    """
    logits, raw_logits, counted = rows.logits, rows.raw_logits, rows.counted
    operands = top, log_normalizer, *factors
    nll = masked(class_sum(_nll_of_classes, raw_logits, *operands), counted)
    classes = logits.shape[-1]

    def all_exist() -> _Expectation:
        total = class_sum(_product, *factors) * (classes / targets.shape[-1])
        return _Expectation(
            nll, jnp.zeros_like(nll) + masked(total, counted), jnp.full_like(nll, classes), jnp.zeros_like(nll)
        )

    def some_are_ruled_out() -> _Expectation:
        one = jnp.ones((1,) * logits.ndim, logits.dtype)
        limits = limits_of(logits.dtype)
        # XLA merges barriers whose operands are the same. The last pass has them in another order, so that its barrier
        # stays separate from the one of this pass.
        total = masked(class_sum(_targets_that_exist, limits, raw_logits, *factors), counted)
        number = masked(class_sum(_targets_that_exist, limits, raw_logits, one), counted)
        return _Expectation(
            masked(class_sum(_nll_of_existing, limits, raw_logits, *operands), counted),
            total,
            jnp.maximum(number, 1),
            masked(class_sum(_targets_ruled_out, raw_logits, limits, *factors), counted),
        )

    # A ruled-out class makes the sum inf, or NaN if its target is 0. So if all sums are finite, all classes exist.
    expectation: _Expectation = jax.lax.cond(jnp.all(jnp.isfinite(nll)), all_exist, some_are_ruled_out)
    return expectation


def _expected_nll_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[_Expectation, _Expectation]:
    rows, targets, top, log_normalizer, _ = primals
    rows_tangent, targets_tangent, _, normalizer_tangent, _ = tangents
    logits, logits_tangent = rows.logits, rows_tangent.logits
    expectation = _expected_nll(*primals)
    scores, ruled_out = finite(logits)
    nll = targets_total = jnp.zeros_like(top)
    # An input without a tangent must not cost a pass over the classes.
    if not isinstance(normalizer_tangent, SymbolicZero):
        nll = nll + expectation.targets * normalizer_tangent
    if not isinstance(logits_tangent, SymbolicZero):
        nll = nll - jnp.sum((~ruled_out).astype(logits.dtype) * targets * logits_tangent, axis=-1)
    if not isinstance(targets_tangent, SymbolicZero):
        terms = nll_terms(scores, top[..., None], log_normalizer[..., None], 1)
        nll = nll + jnp.sum(jnp.where(ruled_out, 0, targets_tangent * terms), axis=-1)
        targets_total = jnp.sum(jnp.where(ruled_out, 0, targets_tangent), axis=-1)
    return expectation, _Expectation(nll, targets_total, jnp.zeros_like(top), jnp.zeros_like(top))


_expected_nll.defjvp(_expected_nll_jvp, symbolic_zeros=True)


def _nll_of_classes(logits: Array, top: Array, log_normalizer: Array, *factors: Array) -> Array:
    return nll_terms(logits, top[..., None], log_normalizer[..., None], _product(*factors))


def _nll_of_existing(limits: Limits, logits: Array, top: Array, log_normalizer: Array, *factors: Array) -> Array:
    existing, weights = exists(logits, limits), _product(*factors)
    below_top = existing * (top[..., None] / 2 - jnp.maximum(logits, limits.lowest) / 2)
    return existing * weights * log_normalizer[..., None] + 2 * weights * below_top


def _targets_that_exist(limits: Limits, logits: Array, *factors: Array) -> Array:
    return exists(logits, limits) * _product(*factors)


def _targets_ruled_out(logits: Array, limits: Limits, *factors: Array) -> Array:
    return (limits.one - exists(logits, limits)) * _product(*factors)


def _product(*factors: Array) -> Array:
    return functools.reduce(operator.mul, factors)
