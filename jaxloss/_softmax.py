"""The softmax of rows of logits in which -inf rules a class out: the kernel of everything with a class axis.

Logits are the largest array of most models, so that all there is here is one pass over the classes for each sum, and
one loop that writes the gradient; nothing of their size is kept. The passes read the logits as the caller gave them:
still in half precision, and with the rows that `where` excludes in them, which are masked afterwards. Derivatives are
taken of the same logits widened and shielded, elementwise, so that they add up in the compute dtype.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Integer

from ._core import (
    PROBABILITY,
    Mask,
    Scalar,
    are_probabilities,
    at_labels,
    check_values,
    label_mask,
    labelled_inputs,
    poison,
    rowwise_inputs,
    widened,
)


class Given(NamedTuple):
    """What the passes over the classes read, as the caller gave it.

    Attributes:
        where: Which rows count; None for all.
        logits: Unnormalised log-probabilities.
        probs: Class probabilities, if these are the labels.
    """

    where: Mask | None
    logits: Array
    probs: Array | None = None


class _Expected(NamedTuple):
    """Sums over the classes of a row that exist: -t log p, t, 1; and t over those that do not."""

    nll: Array
    targets: Array
    classes: Array
    missing: Array


def class_inputs(
    where: Mask | None, axis: int, ignore_index: ArrayLike | None, logits: ArrayLike, labels: ArrayLike
) -> tuple[Array, Array, Mask | None, Array | int]:
    """What `labelled_inputs` returns, also of labels that are probabilities: of these none is ignored or bad."""
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if are_probabilities(labels, logits):
        rows, probs = rowwise_inputs(where, axis, logits=logits, labels=labels)
        return rows, probs, where, 1
    return labelled_inputs(where, axis, ignore_index, logits=logits, labels=labels)


def unshielded(labels: Array, shielded: Array) -> Array:
    """Probabilities as they were given, with the check of the shielded ones: for passes that mask their rows later."""
    return check_values("labels", labels, PROBABILITY.contains(shielded), PROBABILITY.description)


def used(option: Scalar) -> bool:
    """Whether an option was given: a default of 0 is a constant, and its term left out of the program."""
    return not (isinstance(option, (int, float)) and option == 0)


def label_shares(labels: Array, class_weights: Array | None) -> Array | None:
    """What each row adds to the divisor of the mean, if not 1: the weight of its label."""
    if class_weights is None:
        return None
    if jnp.issubdtype(labels.dtype, jnp.integer):
        return at_labels(class_weights, labels)
    return jnp.sum(class_weights * widened(labels), axis=-1)


def cross_entropy_of_rows(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"] | Float[Array, "*batch classes"],
    given: Given,
    *,
    class_weights: Float[Array, "*ones classes"] | None = None,
    label_smoothing: Scalar = 0.0,
    z_loss_weight: Scalar = 0.0,
    scatter: bool = True,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"] | None]:
    """Cross-entropy of each row, with labels that are classes or with probabilities; and the row's share of a mean.

    `scatter` says how the gradient is written on CPU: the probabilities first, and then the labels' share added to
    them, which is fastest; or both in one loop, which can overwrite the logits.
    """
    top, log_normalizer = normalizer(logits, given)
    shares = label_shares(labels, class_weights)
    if given.probs is None:
        scores, impossible = finite(_scores(logits, labels, given, scatter=scatter))
        values = nll_terms(scores, top, log_normalizer, 1 if shares is None else shares)
    else:
        targets, factors = (
            (labels, (given.probs,))
            if class_weights is None
            else (class_weights * labels, (given.probs, class_weights))
        )
        values, _, _, missing = _expected(logits, targets, top, log_normalizer, given, factors)
        impossible = missing > 0
    if used(label_smoothing):
        weights = jnp.ones((1,) * logits.ndim, logits.dtype) if class_weights is None else class_weights
        spread = _expected(logits, weights, top, log_normalizer, given, (weights,))
        values = (1 - label_smoothing) * values + label_smoothing * spread.nll / spread.classes
    if used(z_loss_weight):
        log_z = top + log_normalizer
        values = values + z_loss_weight * log_z * log_z  # in this order the gradient overflows last
    return with_impossible(values, impossible, shares), shares


def nll_terms(scores: Array, top: Array, log_normalizer: Array, weights: Array | int) -> Array:
    """-w log p: neither term is negative, so nothing cancels; halves never differ by more than the dtype holds."""
    return weights * log_normalizer + 2 * weights * (top / 2 - scores / 2)


def log_softmax(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """Log-probabilities; a row whose classes are all ruled out stays at -inf, with gradient 0."""
    top, log_normalizer = normalizer(logits, Given(None, logits))
    return logits - top[..., None] - log_normalizer[..., None]


def nll_of_labels(logits: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]) -> Float[Array, "*batch"]:
    """-log p of the labels: two terms that never cancel."""
    top, log_normalizer = normalizer(logits, Given(None, logits))
    return log_normalizer - (at_labels(logits, labels) - top)


def finite(scores: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Array]:
    """Scores with those of ruled-out classes made 0, and which those are."""
    ruled_out = scores == -jnp.inf
    return jnp.where(ruled_out, 0, scores), ruled_out


def with_impossible(values: Array, impossible: Array, shares: Array | None) -> Array:
    """Losses with inf where a label that counts lies on a ruled-out class.

    It is added at the end and as a constant: before, a weight of 0 would make it NaN, and so would its gradient.
    """
    return values + jnp.where(impossible if shares is None else impossible & (shares > 0), jnp.inf, 0)


def count_classes(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch"]:
    """How many classes of each row exist; at least 1, as it is there to divide by."""
    return jnp.maximum(jnp.sum(logits != -jnp.inf, axis=-1), 1).astype(logits.dtype)


# --- odds -------------------------------------------------------------------------------------------------------------


def log_odds_of_labels(
    logits: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Bool[Array, "*batch"]]:
    """The log-odds of the labels, log p - log(1 - p), `bounded`; and which of them lie on ruled-out classes.

    Their sigmoid is p, and that of their negative 1 - p: both are exact however near to 0, as a difference from 1 is
    not.
    """
    scores = _selected_scores(logits, labels)
    others = jnp.where(label_mask(labels, logits.shape[-1]), -jnp.inf, logits)
    top, log_normalizer = normalizer(others, Given(None, others))
    # A normalizer of no classes is 0, not -inf.
    alone = jnp.all(others == -jnp.inf, axis=-1)
    finite_scores, impossible = finite(scores)
    odds = jnp.where(alone, jnp.inf, finite_scores - top - log_normalizer)
    return poison(scores < jnp.inf) * bounded(jnp.where(impossible, -jnp.inf, odds)), impossible


@jax.custom_jvp
def log_odds(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """The log-odds of every class, likewise; as low as can be for one that is ruled out."""
    top, leading = _leading(logits)
    scores, ruled_out = finite(logits)
    odds = scores - top - jnp.log(_sums_of_others(jnp.exp(logits - top), leading))
    return bounded(jnp.where(ruled_out, -jnp.inf, odds))


@log_odds.defjvp
def _log_odds_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (logits,), (tangent,) = primals, tangents
    odds = log_odds(logits)
    _, leading = _leading(logits)
    complements = jax.nn.sigmoid(-odds)
    vanishing = complements < jnp.finfo(odds.dtype).tiny
    others = _sums_of_others(jax.nn.sigmoid(odds) * tangent, leading)
    return odds, tangent - others / jnp.where(vanishing, 1, complements)


def bounded(scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scores with infinite ones made the largest numbers there are, with gradient 0."""
    largest = jnp.finfo(scores.dtype).max
    return jnp.clip(scores, -largest, largest)


def _leading(logits: Array) -> tuple[Array, Array]:
    """The largest logit of each row, or 0 if all classes are ruled out, and which classes have it."""
    top = jnp.max(logits, axis=-1, keepdims=True)
    top = jnp.where(top == -jnp.inf, 0, top)
    return top, logits == top


def _sums_of_others(terms: Array, leading: Array) -> Array:
    """The sum of the terms of all other classes, for each class.

    Those of the leading classes are summed apart, so that a class with nearly all of a sum is never subtracted from it.
    """
    first = jnp.sum(jnp.where(leading, terms, 0), axis=-1, keepdims=True)
    rest = jnp.sum(jnp.where(leading, 0, terms), axis=-1, keepdims=True)
    return jnp.where(leading, rest + (first - terms), first + (rest - terms))


# --- the passes -------------------------------------------------------------------------------------------------------


def normalizer(
    logits: Float[Array, "*batch classes"], given: Given
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The largest logit, held constant when differentiating, and log Σ exp(logits - largest), which is at least 0.

    Both are 0 for a row that is excluded, or whose classes are all ruled out.
    """
    top, total = _sum_of_exponentials(logits, given)
    return top, jnp.log(total)


@jax.custom_jvp
def _sum_of_exponentials(logits: Array, given: Given) -> tuple[Array, Array]:
    """The largest logit and Σ exp(logits - largest); 0 and 1 for a row that has none."""
    top = jnp.max(given.logits, axis=-1).astype(logits.dtype)
    top = _masked(jnp.where(top == -jnp.inf, 0, top), given.where)
    total = _class_sum(lambda logits, top: jnp.exp(logits - top[..., None]), given.logits, top)
    counted = total != 0 if given.where is None else given.where & (total != 0)
    return top, jnp.where(counted, total, 1)


# The rule computes the exponentials anew from the logits: plain autodiff keeps an array of their size instead. Over
# their sum they are the probabilities, to more digits than with its log in the exponent.
@_sum_of_exponentials.defjvp
def _sum_of_exponentials_jvp(
    primals: tuple[Array, Given], tangents: tuple[Array, Given]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    logits = primals[0]
    top, total = _sum_of_exponentials(*primals)
    slopes = jnp.exp(logits - top[..., None])
    return (top, total), (jnp.zeros_like(top), jnp.sum(slopes * tangents[0], axis=-1))


def _scores(logits: Array, labels: Array, given: Given, *, scatter: bool) -> Array:
    # Neither a mask nor a conversion fuses with a scatter before it.
    if scatter and given.logits.dtype == logits.dtype:
        return _masked(at_labels(given.logits, labels), given.where)
    return _selected_scores(logits, labels)


@jax.custom_jvp
def _selected_scores(logits: Array, labels: Array) -> Array:
    return at_labels(logits, labels)


@_selected_scores.defjvp
def _selected_scores_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    logits, labels = primals
    # A product, not a selection from zeros: a loop around it would carry those, an array of them.
    own = label_mask(labels, logits.shape[-1]).astype(logits.dtype)
    return _selected_scores(logits, labels), jnp.sum(own * tangents[0], axis=-1)


@jax.custom_jvp
def _expected(
    logits: Array, targets: Array, top: Array, log_normalizer: Array, given: Given, factors: tuple[Array, ...]
) -> _Expected:
    """The sum over the classes of -t log p, and what goes with it; `factors` are those of the targets, as given."""
    rows = top, log_normalizer, *factors
    nll = _masked(_class_sum(_nll_of_classes, given.logits, *rows), given.where)
    classes = logits.shape[-1]

    def all_exist() -> _Expected:
        total = _class_sum(_product, *factors) * (classes / targets.shape[-1])
        return _Expected(
            nll, jnp.zeros_like(nll) + _masked(total, given.where), jnp.full_like(nll, classes), jnp.zeros_like(nll)
        )

    def some_are_ruled_out() -> _Expected:
        one = jnp.ones((1,) * logits.ndim, logits.dtype)
        limits = _Limits(*(jnp.asarray(limit, logits.dtype) for limit in (jnp.finfo(logits.dtype).min, -1, 1)))
        # The order of operands tells the barriers of the last pass and of this one apart.
        total = _masked(_class_sum(_targets_that_exist, limits, given.logits, *factors), given.where)
        number = _masked(_class_sum(_targets_that_exist, limits, given.logits, one), given.where)
        return _Expected(
            _masked(_class_sum(_nll_of_existing, limits, given.logits, *rows), given.where),
            total,
            jnp.maximum(number, 1),
            _masked(_class_sum(_targets_ruled_out, given.logits, limits, *factors), given.where),
        )

    # A ruled-out class makes its term inf, or NaN if its target is 0.
    expected: _Expected = jax.lax.cond(jnp.all(jnp.isfinite(nll)), all_exist, some_are_ruled_out)
    return expected


def _expected_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[_Expected, _Expected]:
    logits, targets, top, log_normalizer, *_ = primals
    logits_tangent, targets_tangent, _, normalizer_tangent, *_ = tangents
    expected = _expected(*primals)
    scores, ruled_out = finite(logits)
    nll = targets_total = jnp.zeros_like(top)
    # What has no tangent must not cost a pass.
    if not isinstance(normalizer_tangent, SymbolicZero):
        nll = nll + expected.targets * normalizer_tangent
    if not isinstance(logits_tangent, SymbolicZero):
        nll = nll - jnp.sum((~ruled_out).astype(logits.dtype) * targets * logits_tangent, axis=-1)
    if not isinstance(targets_tangent, SymbolicZero):
        terms = nll_terms(scores, top[..., None], log_normalizer[..., None], 1)
        nll = nll + jnp.sum(jnp.where(ruled_out, 0, targets_tangent * terms), axis=-1)
        targets_total = jnp.sum(jnp.where(ruled_out, 0, targets_tangent), axis=-1)
    return expected, _Expected(nll, targets_total, jnp.zeros_like(top), jnp.zeros_like(top))


_expected.defjvp(_expected_jvp, symbolic_zeros=True)


def _class_sum(terms: Callable[..., Array], *operands: Any) -> Array:
    """The sum of terms over the classes, on CPU as a pass of its own.

    Behind a barrier XLA shares nothing of it with other passes. On CPU it would fuse none that share, but write out
    what they do: the logits in float32, their difference from the largest, even a constant.
    """
    own = jax.lax.platform_dependent(operands, cpu=jax.lax.optimization_barrier, default=lambda operands: operands)
    return jnp.sum(terms(*jax.tree.map(widened, own)), axis=-1)


def _nll_of_classes(logits: Array, top: Array, log_normalizer: Array, *factors: Array) -> Array:
    return nll_terms(logits, top[..., None], log_normalizer[..., None], _product(*factors))


def _nll_of_existing(limits: "_Limits", logits: Array, top: Array, log_normalizer: Array, *factors: Array) -> Array:
    exists, weights = _exists(logits, limits), _product(*factors)
    below_top = exists * (top[..., None] / 2 - jnp.maximum(logits, limits.lowest) / 2)
    return exists * weights * log_normalizer[..., None] + 2 * weights * below_top


def _targets_that_exist(limits: "_Limits", logits: Array, *factors: Array) -> Array:
    return _exists(logits, limits) * _product(*factors)


def _targets_ruled_out(logits: Array, limits: "_Limits", *factors: Array) -> Array:
    return (limits.one - _exists(logits, limits)) * _product(*factors)


class _Limits(NamedTuple):
    lowest: Array
    minus_one: Array
    one: Array


def _exists(logits: Array, limits: _Limits) -> Array:
    """1, or 0 for -inf: by arithmetic, as XLA does not fuse a comparison into a sum on CPU."""
    return jnp.minimum(limits.lowest / jnp.minimum(logits, limits.minus_one), limits.one)


def _product(*factors: Array) -> Array:
    return functools.reduce(operator.mul, factors)


def _masked(values: Array, mask: Mask | None) -> Array:
    return values if mask is None else jnp.where(mask, values, 0)
