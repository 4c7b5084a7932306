"""Fenchel-Young: losses for probabilities that may be exactly 0, and the functions that compute them."""

from __future__ import annotations

import functools
from collections.abc import Callable

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
from .._math.arithmetic import finite, with_impossible
from .._math.dtypes import Scalar
from .._math.entmax import constant_or_traced, divergence, projected


@array_function()
def sparsemax(logits: Float[ArrayLike, "*batch classes"], *, axis: int = -1) -> Float[Array, "*batch classes"]:
    """The probabilities nearest to the logits: like softmax, but exactly 0 for classes with low logits.

        argminₚ ‖p - s‖²  over distributions p,  which is  max(0, s - τ)

    The threshold τ is the number for which the probabilities sum to 1. A logit of -inf gets 0, and a row with no other
    logits gets only zeros. At a logit that is exactly τ, the derivative is that for the other classes alone.

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


def _probabilities(logits: ArrayLike, alpha: Scalar, axis: int) -> Array:
    """`entmax` with any `axis`."""
    (rows,) = rowwise_inputs(None, axis, logits=logits)
    return jnp.moveaxis(projected(rows, constant_or_traced(alpha, rows.dtype)).probs, -1, axis)


@array_function(domains={"alpha": AT_LEAST_ONE})
def entmax(
    logits: Float[ArrayLike, "*batch classes"], *, alpha: Scalar = 1.5, axis: int = -1
) -> Float[Array, "*batch classes"]:
    """Probabilities that are sparser for a larger `alpha`: softmax at 1, `sparsemax` at 2.

        argmaxₚ Σₖ pₖ sₖ + Hₐ(p),  Hₐ(p) = Σₖ (pₖ - pₖᵃ) / (a (a - 1)),  which is  max(0, (a - 1)(s - τ))^(1/(a - 1))

    The threshold τ is the number for which the probabilities sum to 1. A logit of -inf gets 0, and a row with no other
    logits gets only zeros.

    Args:
        logits: Scores, shape (..., classes).
        alpha: The exponent a, at least 1. It may be learned: it has a derivative, and no new value compiles anew.
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
    """The loss that goes with `sparsemax`, as `cross_entropy` goes with softmax.

        ‖s - y‖²/2 - ‖s - sparsemax(s)‖²/2,  with gradient  sparsemax(s) - y

    For sparse probabilities and labels. It is 0 exactly where `sparsemax` gives the labels: for an integer label, as
    soon as its logit is larger than all others by 1. A class with a logit of -inf is left out, and a label on it makes
    the loss inf. Adding the same number to all logits of a row does not change the loss, even if the labels do not sum
    to exactly 1 because of rounding.

    optax calls this loss `multiclass_sparsemax_loss`. Its `sparsemax_loss` is the binary one, for logits (0, s).

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`; or floating class probabilities, of
            the shape of `logits`.
        ignore_index: Rows with this integer label do not count; None for no such label.
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
    values = divergence(logits, labels, constant_or_traced(2, logits.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)


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
    """The loss that goes with `entmax`, as `cross_entropy` goes with softmax.

        Σₖ (pₖ - yₖ) sₖ + Hₐ(p) - Hₐ(y),  p = entmax(s),  Hₐ(p) = Σₖ (pₖ - pₖᵃ) / (a (a - 1)),  with gradient  p - y

    For sparse probabilities and labels, such as those of the next word in a translation. It is 0 exactly where `entmax`
    gives the labels: for an integer label, as soon as its logit is larger than all others by 1/(a - 1). At `alpha` 1
    the loss is `cross_entropy` minus the entropy of the labels, which is 0 for integers. At 2 it is `sparsemax_loss`.
    A class with a logit of -inf is left out, and a label on it makes the loss inf. Adding the same number to all logits
    of a row does not change the loss, even if the labels do not sum to exactly 1 because of rounding.

    Args:
        logits: Scores, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`; or floating class probabilities, of
            the shape of `logits`.
        alpha: The exponent a, at least 1; a larger one is sparser. It may be learned.
        ignore_index: Rows with this integer label do not count; None for no such label.
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
    values = divergence(logits, labels, constant_or_traced(alpha, logits.dtype))
    return reduce(values, where=where, weights=weights, reduction=reduction)


def make_fenchel_young_loss(max_fun: Callable[[Array], Array]) -> Callable[..., Array]:
    """Makes a loss from a convex function that generalises the maximum.

        max_fun(s) - Σₖ yₖ sₖ,  with gradient  ∇max_fun(s) - y

    The gradient of `max_fun` is the prediction, and the loss is least where the prediction equals the targets. With
    `jax.nn.logsumexp` it is `cross_entropy`. It is of use for structured or perturbed maxima. On a logit of -inf, a
    target of 0 adds 0 to the loss, and any other target makes it inf.

    Args:
        max_fun: Takes an array of shape (n,) and returns a scalar. It may close over parameters, which are
            differentiated as usual. For this the loss is not compiled by itself, but runs in the caller's trace.

    Returns:
        A loss `fenchel_young_loss(logits, targets, *, axis=-1, where=None, weights=None, reduction="mean")`. Logits and
        targets have the same shape (..., n), and the loss has one value per row.

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
        empty = jnp.all(ruled_out, axis=-1)  # such a row has no maximum, and its gradient would be NaN
        highest = jnp.where(empty, 0, maxima(jnp.where(empty[..., None], 0, logits)))
        values = highest - jnp.sum(targets * scores, axis=-1)
        values = with_impossible(values, jnp.any(ruled_out & (targets != 0), axis=-1))
        return reduce(values, where=where, weights=weights, reduction=reduction)

    # The loss belongs to the module of `max_fun`, not to this library.
    fenchel_young_loss.__module__ = getattr(max_fun, "__module__", "__main__")
    fenchel_young_loss.__doc__ = f"The Fenchel-Young loss of {max_fun}: see `jaxloss.make_fenchel_young_loss`."
    return loss_function(compiled=False)(fenchel_young_loss)
