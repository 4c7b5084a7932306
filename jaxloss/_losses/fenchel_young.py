"""Fenchel-Young: losses whose probabilities may be exactly 0, and the maps onto the simplex that they learn."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Real

from .._kit import (
    AT_LEAST_ONE,
    PROBABILITY,
    Label,
    Mask,
    Reduction,
    Weights,
    array_function,
    class_inputs,
    loss_function,
    reduce,
    require_shape,
    rowwise_inputs,
)
from .._math.arithmetic import finite, polynomial, with_impossible
from .._math.dtypes import Scalar
from .._math.passes import label_mask
from .._math.simplex import (
    Alpha,
    Constant,
    Projection,
    constant_or_traced,
    nonzero,
    projected,
    score_drift,
    slopes_and_shares,
)
from .._math.special import close_log_ratio, exponential_growth

_TERMS = 16  # of the series of exp(x) - 1 - x, for all digits up to an x of 1


@array_function()
def sparsemax(logits: Float[ArrayLike, "*batch classes"], *, axis: int = -1) -> Float[Array, "*batch classes"]:
    """The distribution nearest to the logits: a softmax that gives low classes exactly 0.

        argminₚ ‖p - s‖²  over distributions p,  which is  max(0, s - τ)

    A logit of -inf gets 0; a row of them only gets zeros. Where a class comes in, the derivative is that without it.

    Args:
        logits: Scores, shape (..., classes).
        axis: The class axis.

    Returns:
        Probabilities of the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.sparsemax(jnp.array([1.0, 0.5, -1.0]))
        Array([0.75, 0.25, 0.  ], dtype=float32)

    References:
        Martins and Astudillo, From softmax to sparsemax, 2016.
    """
    return _probabilities(logits, 2, axis)


@array_function(domains={"alpha": AT_LEAST_ONE})
def entmax(
    logits: Float[ArrayLike, "*batch classes"], *, alpha: Scalar = 1.5, axis: int = -1
) -> Float[Array, "*batch classes"]:
    """Softmax at `alpha` 1, `sparsemax` at 2, and what lies between and beyond: the larger, the sparser.

        argmaxₚ Σₖ pₖ sₖ + Hₐ(p),  Hₐ(p) = Σₖ (pₖ - pₖᵃ) / (a (a - 1)),  which is  max(0, (a - 1)(s - τ))^(1/(a - 1))

    A logit of -inf gets 0; a row of them only gets zeros.

    Args:
        logits: Scores, shape (..., classes).
        alpha: The exponent a, at least 1. It may be learned.
        axis: The class axis.

    Returns:
        Probabilities of the shape of `logits`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.entmax(jnp.array([2.0, 2.0, -1.0]))
        Array([0.5, 0.5, 0. ], dtype=float32)

    References:
        Peters, Niculae and Martins, Sparse sequence-to-sequence models, 2019.
    """
    return _probabilities(logits, alpha, axis)


@loss_function(domains={"labels": PROBABILITY})
def sparsemax_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """What `cross_entropy` is for softmax, for `sparsemax`: 0 exactly where that gives the labels.

        ‖s - y‖²/2 - ‖s - sparsemax(s)‖²/2,  with gradient  sparsemax(s) - y

    For sparse probabilities and labels. It ends at a margin: 0 once the label is 1 ahead of all others. A class ruled
    out by a logit of -inf takes no part; a label on one makes the loss inf. A common shift of the logits changes
    nothing, even if the labels' sum is rounded.

    optax calls this one `multiclass_sparsemax_loss`, and `sparsemax_loss` the binary one: that of logits (0, s).

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes) of the shape of `logits` without `axis`; or floating class probabilities of
            the shape of `logits`.
        ignore_index: Integer label of rows that do not count; None if no label means that.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> logits = jnp.array([[1.0, 0.5, -1.0], [0.0, 2.0, 1.0]])
        >>> jaxloss.sparsemax_loss(logits, jnp.array([1, 1]))
        Array(0.28125, dtype=float32)
        >>> jaxloss.sparsemax_loss(logits, jnp.array([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]]))
        Array(0.125, dtype=float32)

    References:
        Martins and Astudillo, From softmax to sparsemax, 2016.
        Blondel, Martins and Niculae, Learning with Fenchel-Young losses, 2020.
    """
    logits, labels, where = class_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    return reduce(
        _fenchel_young(logits, labels, constant_or_traced(2, logits.dtype)),
        where=where,
        weights=weights,
        reduction=reduction,
    )


@loss_function(domains={"labels": PROBABILITY, "alpha": AT_LEAST_ONE})
def entmax_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    alpha: Scalar = 1.5,
    ignore_index: Label | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """What `cross_entropy` is for softmax, for `entmax`: 0 exactly where that gives the labels.

        Σₖ (pₖ - yₖ) sₖ + Hₐ(p) - Hₐ(y),  p = entmax(s),  Hₐ(p) = Σₖ (pₖ - pₖᵃ) / (a (a - 1)),  with gradient  p - y

    For sparse probabilities and labels, as over the words of a translation. It ends at a margin: 0 once the label is
    1/(a - 1) ahead of all others. At `alpha` 1 it is `cross_entropy` less the entropy of the labels, which is 0 for
    integers; at 2 it is `sparsemax_loss`. A class ruled out by a logit of -inf takes no part; a label on one makes the
    loss inf. A common shift of the logits changes nothing, even if the labels' sum is rounded.

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes) of the shape of `logits` without `axis`; or floating class probabilities of
            the shape of `logits`.
        alpha: The exponent a, at least 1: the larger, the sparser. It may be learned.
        ignore_index: Integer label of rows that do not count; None if no label means that.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> logits = jnp.array([[2.0, 2.0, -1.0], [0.0, 3.0, 1.0]])
        >>> jaxloss.entmax_loss(logits, jnp.array([1, 1]))
        Array(0.19526, dtype=float32)
        >>> jaxloss.entmax_loss(logits, jnp.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]))
        Array(0., dtype=float32)

    References:
        Peters, Niculae and Martins, Sparse sequence-to-sequence models, 2019.
        Blondel, Martins and Niculae, Learning with Fenchel-Young losses, 2020.
    """
    logits, labels, where = class_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    return reduce(
        _fenchel_young(logits, labels, constant_or_traced(alpha, logits.dtype)),
        where=where,
        weights=weights,
        reduction=reduction,
    )


@jax.custom_jvp
def _fenchel_young(logits: Array, labels: Array, alpha: Alpha) -> Array:
    """The loss as a sum of terms none of which is negative, so that nothing cancels.

    These are the Bregman divergences of labels from probabilities, and labels times shortfalls.
    """
    projection = projected(logits, alpha)
    targets, errors = _targets(labels, projection.probs)
    ruled_out = logits == -jnp.inf
    terms = _divergences(targets, errors, projection, alpha)
    terms = terms + jnp.where(targets == 0, 0, targets * _shortfalls(projection.scores, alpha))
    values = jnp.sum(jnp.where(ruled_out, 0, terms), axis=-1)
    return with_impossible(values, jnp.any(ruled_out & (targets > 0), axis=-1))


# The derivative of a maximum is that with the maximiser held constant.
@_fenchel_young.defjvp
def _fenchel_young_jvp(primals: tuple[Array, Array, Alpha], tangents: tuple[Array, Any, Any]) -> tuple[Array, Array]:
    logits, labels, alpha = primals
    projection = projected(logits, alpha)
    probs = projection.probs
    targets, errors = _targets(labels, probs)
    exists = logits != -jnp.inf
    tangent = jnp.sum(jnp.where(exists, -errors, 0) * tangents[0], axis=-1)
    if not isinstance(alpha, Constant):
        entropies = [
            jax.jvp(functools.partial(_entropies, numbers), (alpha,), (tangents[2],))[1] for numbers in (probs, targets)
        ]
        tangent = tangent + jnp.sum(entropies[0] - entropies[1], axis=-1)
    if labels.ndim == logits.ndim:
        # The labels' sum may be rounded: without its excess the gradient would move all logits together.
        excess = jnp.sum(targets, axis=-1) - 1
        _, shares = slopes_and_shares(probs, alpha)
        tangent = tangent + excess * jnp.sum(shares * (tangents[0] - score_drift(probs, alpha, tangents[2])), axis=-1)
        if not isinstance(alpha, Constant):
            tangent = tangent + excess * tangents[2] / jnp.square(alpha)
        slopes = _differences(targets, errors, projection, alpha) + _shortfalls(projection.scores, alpha)
        tangent = tangent + jnp.sum(jnp.where(exists, slopes, 0) * tangents[1], axis=-1)
    return _fenchel_young(logits, labels, alpha), tangent


def _targets(labels: Array, probs: Array) -> tuple[Array, Array]:
    """Labels as probabilities, and how much larger they are than those predicted."""
    if labels.ndim == probs.ndim:
        return labels, labels - probs
    own = label_mask(labels, probs.shape[-1])
    missing = jnp.sum(jnp.where(own, 0, probs), axis=-1, keepdims=True)  # 1 - p, of which little may be left
    return own.astype(probs.dtype), jnp.where(own, missing, -probs)


def _entropies(probs: Array, alpha: Array) -> Array:
    """(p - pᵃ) / (a (a - 1)), and -p log p at 1."""
    return -probs * exponential_growth(jnp.log(jnp.where(probs > 0, probs, 1)), alpha - 1) / alpha


def _divergences(targets: Array, errors: Array, projection: Projection, alpha: Alpha) -> Array:
    """(yᵃ - pᵃ - a pᵃ⁻¹ (y - p)) / (a (a - 1)), and y log(y/p) - (y - p) at 1."""
    if isinstance(alpha, Constant) and alpha == 2:
        return jnp.square(errors) / 2
    if isinstance(alpha, Constant):
        root, expected = jnp.sqrt(targets), jnp.sqrt(projection.probs)
        total = root + expected
        return jnp.square(errors / jnp.where(total == 0, 1, total)) * (2 * root + expected) * (2 / 3)
    powers = _powers(projection, alpha)
    far = jnp.where(targets == 0, 0, targets * _differences(targets, errors, projection, alpha)) - powers * errors
    # pᵃ (rᵃ - 1 - a (r - 1)) / (a (a - 1)) with r = y/p: the series of the powers of log r, less the terms that cancel.
    logs, near = _log_ratios(targets, errors, projection.probs, alpha)
    sums = [jnp.ones_like(alpha)]
    for _ in range(_TERMS):
        sums.append(1 + sums[-1] / alpha)
    series = polynomial([total / float(math.factorial(n)) for n, total in enumerate(sums, 2)], alpha * logs)
    return jnp.where(near, projection.probs * powers * jnp.square(logs) * series, jnp.maximum(far, 0) / alpha)


def _differences(targets: Array, errors: Array, projection: Projection, alpha: Alpha) -> Array:
    """(yᵃ⁻¹ - pᵃ⁻¹) / (a - 1), and log(y/p) at 1: there 0 for a target of 0, as in `kl_div`."""
    powers = _powers(projection, alpha)
    logs, near = _log_ratios(targets, errors, projection.probs, alpha)
    present = targets > 0
    expected = jnp.maximum(projection.scores, _lowest_score(alpha))
    far = exponential_growth(jnp.log(jnp.where(present, targets, 1)), alpha - 1) - expected
    absent = jnp.where(jnp.equal(alpha, 1), 0, powers * _lowest_score(alpha))
    return jnp.where(near, powers * exponential_growth(logs, alpha - 1), jnp.where(present, far, absent))


def _log_ratios(targets: Array, errors: Array, probs: Array, alpha: Alpha) -> tuple[Array, Array]:
    """log(y/p) where it is small, else 0; and where that is."""
    exist = (targets > 0) & (probs > 0)
    safe_targets, safe_probs = jnp.where(exist, targets, 1), jnp.where(exist, probs, 1)
    logs = close_log_ratio(safe_targets, safe_probs, jnp.where(exist, errors, 0))
    near = exist & (alpha * jnp.abs(logs) < 1)
    return jnp.where(near, logs, 0), near


def _powers(projection: Projection, alpha: Alpha) -> Array:
    """pᵃ⁻¹, also of a probability that is below all numbers."""
    present = projection.probs > 0
    vanishing = jnp.maximum(0, 1 + (alpha - 1) * projection.scores)
    return jnp.where(present, jnp.where(present, projection.probs, 1) ** (alpha - 1), vanishing)


def _shortfalls(scores: Array, alpha: Alpha) -> Array:
    """How far logits lie below the threshold."""
    return jnp.maximum(0, _lowest_score(alpha) - scores)


def _lowest_score(alpha: Alpha) -> Array | float:
    """That of a probability of 0."""
    return -1 / (float(alpha) - 1 if isinstance(alpha, Constant) else nonzero(alpha - 1))


def _probabilities(logits: ArrayLike, alpha: Scalar, axis: int) -> Array:
    (rows,) = rowwise_inputs(None, axis, logits=logits)
    return jnp.moveaxis(projected(rows, constant_or_traced(alpha, rows.dtype)).probs, -1, axis)


def make_fenchel_young_loss(max_fun: Callable[[Array], Array]) -> Callable[..., Array]:
    """Makes a loss of a convex function that generalises the maximum.

        max_fun(s) - Σₖ yₖ sₖ,  with gradient  ∇max_fun(s) - y

    The gradient of `max_fun` is a prediction, and the loss is least where that equals the targets: with
    `jax.nn.logsumexp` it is `cross_entropy`. For structured or perturbed maxima. A target of 0 on a logit of -inf
    counts 0, any other makes the loss inf.

    Args:
        max_fun: Takes an array of shape (n,), returns a scalar. It may close over parameters, which are differentiated
            as usual: it runs in the caller's trace, and so does the loss, which is not compiled by itself.

    Returns:
        A loss `fenchel_young_loss(logits, targets, *, axis=-1, where=None, weights=None, reduction="mean")` with one
        value per row, of logits and targets of one shape (..., n).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> loss = jaxloss.make_fenchel_young_loss(jax.nn.logsumexp)
        >>> loss(jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]]))
        Array(0.6931, dtype=float32)

    References:
        Blondel, Martins and Niculae, Learning with Fenchel-Young losses, 2020.
    """

    @functools.partial(jnp.vectorize, signature="(n)->()")
    def maxima(logits: Array) -> Array:
        maximum = max_fun(logits)
        require_shape("max_fun(logits)", maximum, (), "of one row")
        return maximum

    def fenchel_young_loss(
        logits: Float[ArrayLike, "*batch n"],
        targets: Real[ArrayLike, "*batch n"],
        *,
        axis: int = -1,
        where: Mask | None = None,
        weights: Weights | None = None,
        reduction: Reduction = "mean",
    ) -> Float[Array, "..."]:
        logits, targets = rowwise_inputs(where, axis, logits=logits, targets=targets)
        scores, ruled_out = finite(logits)
        empty = jnp.all(ruled_out, axis=-1)  # of nothing there is no maximum, and no gradient of one
        highest = jnp.where(empty, 0, maxima(jnp.where(empty[..., None], 0, logits)))
        values = highest - jnp.sum(targets * scores, axis=-1)
        values = with_impossible(values, jnp.any(ruled_out & (targets != 0), axis=-1))
        return reduce(values, where=where, weights=weights, reduction=reduction)

    # It is a loss of whoever made the function, not one of this library.
    fenchel_young_loss.__module__ = getattr(max_fun, "__module__", "__main__")
    fenchel_young_loss.__doc__ = f"The Fenchel-Young loss of {max_fun}: see `jaxloss.make_fenchel_young_loss`."
    return loss_function(compiled=False)(fenchel_young_loss)
