"""Cross-entropies that weigh examples by how well they are predicted."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Real

from ._core import (
    NON_NEGATIVE,
    PROBABILITY,
    Mask,
    Reduction,
    Scalar,
    Weights,
    elementwise_inputs,
    labelled_inputs,
    loss_function,
    per_class,
    reduce,
    require_shape,
)
from ._softmax import bounded, class_inputs, label_shares, log_odds, log_odds_of_labels, with_impossible
from ._special import exponential_growth


@loss_function(domains={"targets": PROBABILITY, "alpha": PROBABILITY, "gamma": NON_NEGATIVE})
def sigmoid_focal_loss(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    alpha: Scalar | None = None,
    gamma: Scalar = 2.0,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Binary cross-entropy that fades for entries which are predicted well.

        αₜ (1 - pₜ)^gamma (-y log σ(s) - (1 - y) log σ(-s))
        pₜ = y σ(s) + (1 - y) σ(-s)
        αₜ = y alpha + (1 - y) (1 - alpha), or 1

    The loss of dense detectors, where easy negatives outnumber all else. `gamma = 0` is
    `binary_cross_entropy_with_logits`. optax has the same defaults; torchvision and Keras have an `alpha` of 0.25.

    Args:
        logits: Log-odds of yes, any shape.
        targets: Probabilities, or 0 and 1, of the shape of `logits`.
        alpha: Weight of yes, in [0, 1], that of no being 1 - alpha; None to weigh both by 1.
        gamma: How fast well predicted entries fade; not negative.
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `logits`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.sigmoid_focal_loss(jnp.array([0.0, 100.0]), jnp.array([1, 0]), alpha=0.25)
        Array(37.52166, dtype=float32)

    References:
        Lin et al., Focal loss for dense object detection, 2017.
    """
    logits, targets = elementwise_inputs(where, logits=logits, targets=targets)
    certain = jnp.isinf(logits)
    scores, yes, no = jnp.where(certain, 0, logits), targets, 1 - targets
    nll = yes * jax.nn.softplus(-scores) + no * jax.nn.softplus(scores)
    held = _held(scores)
    complements = yes * jax.nn.sigmoid(-held) + no * jax.nn.sigmoid(held)
    vanishing = complements < jnp.finfo(scores.dtype).tiny
    # Only where a huge logit agrees with a target of 0 or 1.
    logs = jnp.where(vanishing, -jnp.abs(held), jnp.log(jnp.where(vanishing, 1, complements)))
    values = jnp.where(certain, 0, _power(complements, logs, gamma) * nll)
    impossible = certain & (jnp.where(logits > 0, no, yes) > 0)
    shares = None
    if alpha is not None:
        require_shape("alpha", alpha, (), "one weight of yes for all entries")
        shares = alpha * yes + (1 - alpha) * no
        values = shares * values
    values = with_impossible(values, impossible, shares)
    return reduce(values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("axis",), domains={"labels": PROBABILITY, "gamma": NON_NEGATIVE})
def softmax_focal_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    gamma: Scalar = 2.0,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    ignore_index: int | Array | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy that fades for rows which are predicted well.

        -Σₖ wₖ yₖ (1 - pₖ)^gamma log pₖ,  p = softmax(s)

    For many classes what `sigmoid_focal_loss` is for two, with class weights for its `alpha`; `gamma = 0` is
    `cross_entropy`. A class ruled out by a logit of -inf takes no part; a label on one makes the loss inf and leaves
    its gradient finite. A label that is neither a class nor `ignore_index` makes the loss and its gradient NaN.

    Keras' `CategoricalFocalCrossentropy` takes one-hot labels, clips probabilities at 1e-7, and multiplies by 0.25.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes) of the shape of `logits` without `axis`; or floating class probabilities of
            the shape of `logits`.
        gamma: How fast well predicted rows fade; not negative.
        class_weights: Multiplier of each class, shape (classes,). A row counts in the mean with the weight of its
            label.
        ignore_index: Label of rows that do not count; None if no label means that.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.softmax_focal_loss(jnp.array([[0.0, 0.0], [9.0, 0.0]]), jnp.array([1, 0]))
        Array(0.0866, dtype=float32)

    References:
        Lin et al., Focal loss for dense object detection, 2017.
    """
    logits, labels, where, validity = class_inputs(where, axis, ignore_index, logits, labels)
    class_weights = per_class(logits, class_weights=class_weights)
    values, shares = _over_labels(lambda odds: _focal(odds, gamma), logits, labels, class_weights)
    return reduce(validity * values, where=where, weights=weights, normalizer=shares, reduction=reduction)


@loss_function(static=("axis",), domains={"labels": PROBABILITY})
def poly_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    poly_weight: Scalar = 2.0,
    ignore_index: int | Array | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy with another weight for the first term of its expansion in 1 - p.

        Σₖ yₖ (-log pₖ + poly_weight (1 - pₖ)),  p = softmax(s)

    The series of -log p is (1 - p) + (1 - p)²/2 + …; a larger first term moves rows that are predicted well more, a
    smaller one less. `poly_weight = 0` is `cross_entropy`. A class ruled out by a logit of -inf takes no part; a label
    on one makes the loss inf and leaves its gradient finite. A label that is neither a class nor `ignore_index` makes
    the loss and its gradient NaN. optax takes probabilities, and calls the weight `epsilon`.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes) of the shape of `logits` without `axis`; or floating class probabilities of
            the shape of `logits`.
        poly_weight: What is added to the weight of the first term; at least -1, lest the loss reward mistakes.
        ignore_index: Label of rows that do not count; None if no label means that.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `logits` without `axis`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.poly_cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1]))
        Array(1.6931, dtype=float32)

    References:
        Leng et al., PolyLoss: a polynomial expansion perspective of classification loss functions, 2022.
    """
    logits, labels, where, validity = class_inputs(where, axis, ignore_index, logits, labels)

    def term(odds: Array) -> Array:
        return jax.nn.softplus(-odds) + poly_weight * jax.nn.sigmoid(-odds)

    values, _ = _over_labels(term, logits, labels)
    return reduce(validity * values, where=where, weights=weights, reduction=reduction)


@loss_function(static=("axis",), domains={"q": PROBABILITY})
def generalized_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    q: Scalar = 0.7,
    ignore_index: int | Array | None = -100,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Between cross-entropy and the probability of being wrong, against wrong labels.

        (1 - pᵧ^q) / q,  p = softmax(s)

    At most 1/q, so that no single label counts too much. `q = 0` is `cross_entropy`, `q = 1` is 1 - pᵧ. A class ruled
    out by a logit of -inf takes no part; a label on one has the loss 1/q, for `q = 0` inf, and gradient 0. A label that
    is neither a class nor `ignore_index` makes the loss and its gradient NaN. Keras takes probabilities, and a `q`
    of 0.5.

    Args:
        logits: Unnormalised log-probabilities, shape (..., classes).
        labels: Integers in [0, classes), of the shape of `logits` without `axis`.
        q: How much a label that looks wrong is doubted, in [0, 1].
        ignore_index: Label of rows that do not count; None if no label means that.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.generalized_cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1]), q=0.5)
        Array(0.5858, dtype=float32)

    References:
        Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks with noisy labels, 2018.
    """
    logits, labels, where, validity = labelled_inputs(where, axis, ignore_index, logits=logits, labels=labels)
    odds, impossible = log_odds_of_labels(logits, labels)
    values = exponential_growth(jax.nn.softplus(-odds), -jnp.asarray(q, odds.dtype))
    values = with_impossible(values, impossible & jnp.equal(q, 0), None)
    return reduce(validity * values, where=where, weights=weights, reduction=reduction)


@loss_function(
    domains={"targets": PROBABILITY, "gamma_neg": NON_NEGATIVE, "gamma_pos": NON_NEGATIVE, "clip": PROBABILITY}
)
def asymmetric_loss(
    logits: Float[ArrayLike, "*shape"],
    targets: Real[ArrayLike, "*shape"],
    *,
    gamma_neg: Scalar = 4.0,
    gamma_pos: Scalar = 1.0,
    clip: Scalar = 0.05,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Binary cross-entropy that fades for well predicted entries, for negatives sooner than for positives.

        -y (1 - p)^gamma_pos log p - (1 - y) m^gamma_neg log(1 - m)
        p = σ(s),  m = max(0, p - clip)

    For images with a few of many labels, where nearly all entries are negatives: those below `clip` do not count at
    all. At p = clip the gradient is 0. The authors' code bounds the argument of each log from below by 1e-8, takes the
    sum, and gives a target between 0 and 1 one exponent between the two.

    Args:
        logits: Log-odds of yes, any shape.
        targets: Probabilities, or 0 and 1, of the shape of `logits`.
        gamma_neg: How fast well predicted negatives fade; not negative.
        gamma_pos: How fast well predicted positives fade; not negative.
        clip: Probability up to which a negative costs nothing, in [0, 1].
        where, weights, reduction: As in `jaxloss.reduce`, per entry.

    Returns:
        A scalar, or with reduction "none" the shape of `logits`; float32, or float64 if an input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.asymmetric_loss(jnp.array([0.0, -3.0]), jnp.array([1, 0]))
        Array(0.1733, dtype=float32)

    References:
        Ben-Baruch et al., Asymmetric loss for multi-label classification, 2021.
    """
    logits, targets = elementwise_inputs(where, logits=logits, targets=targets)
    scores, yes, no = bounded(logits), targets, 1 - targets
    # Shifted, a negative is never predicted to be impossible.
    never_yes, never_no = logits == -jnp.inf, (logits == jnp.inf) & jnp.equal(clip, 0)
    positive = jnp.where(never_yes, 0, _focal(scores, gamma_pos))
    negative = jnp.where(never_no, 0, _shifted_focal(scores, gamma_neg, clip))
    impossible = (never_yes & (yes > 0)) | (never_no & (no > 0))
    values = with_impossible(yes * positive + no * negative, impossible, None)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _over_labels(
    term: Callable[[Array], Array], logits: Array, labels: Array, class_weights: Array | None = None
) -> tuple[Array, Array | None]:
    """The sum over the labels of a term of their log-odds, and the row's share of a mean."""
    shares = label_shares(labels, class_weights)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        odds, impossible = log_odds_of_labels(logits, labels)
        values = term(odds) if shares is None else shares * term(odds)
    else:
        targets, ruled_out = labels if class_weights is None else class_weights * labels, logits == -jnp.inf
        values = jnp.sum(jnp.where(ruled_out, 0, targets * term(log_odds(logits))), axis=-1)
        impossible = jnp.any(ruled_out & (targets > 0), axis=-1)
    return with_impossible(values, impossible, shares), shares


def _focal(odds: Array, gamma: Scalar) -> Array:
    """(1 - p)^gamma (-log p) of log-odds."""
    held = _held(odds)
    return _power(jax.nn.sigmoid(-held), -jax.nn.softplus(held), gamma) * jax.nn.softplus(-odds)


def _shifted_focal(scores: Array, gamma: Scalar, clip: Scalar) -> Array:
    """m^gamma (-log(1 - m)) of m = max(0, p - clip), of log-odds."""
    held = _held(scores)
    complements = jax.nn.sigmoid(-held)
    # Of a sigmoid near 1 the derivative is inexact: there it is that of the other.
    shifted = jnp.where(held > 0, (1 - clip) - complements, jax.nn.sigmoid(held) - clip)
    idle = shifted <= 0
    shifted = jnp.where(idle, 0.5, shifted)
    near = shifted < 0.5
    remaining = complements + clip
    # Without a shift 1 - m may vanish: then its log is that of exp(-s).
    vanishing = remaining < jnp.finfo(scores.dtype).tiny
    far = jnp.where(vanishing, scores, -jnp.log(jnp.where(vanishing, 1, remaining)))
    nll = jnp.where(near, -jnp.log1p(-jnp.where(near, shifted, 0)), far)
    return jnp.where(idle, 0, _power(shifted, jnp.log(shifted), gamma) * nll)


def _held(scores: Array) -> Array:
    """Scores, constant where their sigmoid is.

    Otherwise a huge loss times gamma would overflow before it meets a slope of 0.
    """
    settled = jnp.abs(scores) > -2 * math.log(jnp.finfo(scores.dtype).tiny)
    return jnp.where(settled, jax.lax.stop_gradient(scores), scores)


def _power(base: Array, log: Array, exponent: Scalar) -> Array:
    """A base in [0, 1], of which the log is given too, to a power."""
    return _exact_power(base, log, jnp.asarray(exponent, base.dtype))


@jax.custom_jvp
def _exact_power(base: Array, log: Array, exponent: Array) -> Array:
    vanishing = base < jnp.finfo(base.dtype).tiny
    return jnp.where(vanishing, jnp.exp(exponent * log), jnp.where(vanishing, 1, base) ** exponent)


# A power is more exact than the exponential of a product, but of a base near 0 only the log has finite derivatives.
@_exact_power.defjvp
def _exact_power_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    _, log, exponent = primals
    _, log_tangent, exponent_tangent = tangents
    power = _exact_power(*primals)
    return power, power * (exponent * log_tangent + log * exponent_tangent)
