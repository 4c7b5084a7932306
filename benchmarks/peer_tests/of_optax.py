"""optax.losses, by jaxloss."""

import jax
import jax.numpy as jnp
from optax.losses import (
    _classification,
    _fenchel_young,
    _ranking,
    _regression,
    _segmentation,
    _self_supervised,
    _smoothing,
)

from .adapting import LOSSES, ByDesign, floating, install

TESTS = [
    f"optax/losses/_{n}_test.py"
    for n in (
        "classification",
        "regression",
        "ranking",
        "self_supervised",
        "segmentation",
        "fenchel_young",
        "smoothing",
    )
]
COMPILES = True
NONE = {"reduction": "none"}
forward_probs = _classification.ctc_loss_with_forward_probs


def zeros(predictions, targets):
    return jnp.zeros_like(jnp.asarray(predictions)) if targets is None else targets


def rows_and_classes(logits, where, axis):
    """The `where` of optax: of rows, or of classes; here rows that count, and classes that exist."""
    if where is None or jnp.ndim(where) != jnp.ndim(logits):
        return where, None
    where = jnp.broadcast_to(where, jnp.shape(logits))
    return jnp.any(where, axis), where


def ruled_out(logits, labels, where, axis):
    rows, exists = rows_and_classes(logits, where, axis)
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if exists is not None:
        logits = jnp.where(exists, logits, -jnp.inf)
        labels = jnp.where(exists, labels, 0) if labels.ndim == logits.ndim else labels
    return logits, labels, rows


def softmax_cross_entropy(logits, labels, axis=-1, where=None):
    logits, labels, where = ruled_out(logits, floating(labels), where, axis)
    return LOSSES.cross_entropy(logits, labels, axis=axis, where=where, **NONE)


def integer_cross_entropy(logits, labels, axis=-1, where=None):
    logits = jnp.asarray(logits)
    if isinstance(axis, tuple):  # jaxloss has one class axis
        axes = [a % logits.ndim for a in axis]
        rest = [a for a in range(logits.ndim) if a not in axes]
        logits = logits.transpose(rest + axes).reshape([logits.shape[a] for a in rest] + [-1])
        axis = -1
    rows, exists = rows_and_classes(logits, where, axis)
    if exists is not None:
        logits = jnp.where(exists, logits, -jnp.inf)
    return LOSSES.cross_entropy(logits, jnp.asarray(labels), axis=axis, where=rows, **NONE)


def poly(logits, labels, epsilon=2.0, axis=-1, where=None):
    logits, labels, where = ruled_out(logits, floating(labels), where, axis)
    return LOSSES.poly_cross_entropy(logits, labels, poly_weight=epsilon, axis=axis, where=where, **NONE)


def kl_divergence(log_predictions, targets, axis=-1, where=None):
    targets = targets if where is None else jnp.where(where, targets, 0)
    return LOSSES.kl_div(log_predictions, targets, axis=axis, **NONE)


def kl_with_log_targets(log_predictions, log_targets, axis=-1, where=None):
    log_targets = log_targets if where is None else jnp.where(where, log_targets, -jnp.inf)
    return LOSSES.kl_div(log_predictions, log_targets, log_target=True, axis=axis, **NONE)


def generalized_kl(log_predictions, targets, axis=-1, where=None):
    if where is not None:
        log_predictions, targets = jnp.where(where, log_predictions, -jnp.inf), jnp.where(where, targets, 0)
    return LOSSES.generalized_kl_div(log_predictions, targets, axis=axis, **NONE)


def ctc(logits, logit_paddings, labels, label_paddings, blank_id=0, log_epsilon=-1e5):
    lengths = [jnp.sum(jnp.asarray(p) == 0, axis=1) for p in (logit_paddings, label_paddings)]
    return LOSSES.ctc_loss(logits, labels, *lengths, blank=blank_id, **NONE)


def ctc_with_forward_probs(*args, **kwargs):
    return ctc(*args, **kwargs), *forward_probs(*args, **kwargs)[1:]


def cosine(name):
    def function(predictions, targets, epsilon=0.0, axis=-1, where=None):
        if where is not None:
            predictions, targets = jnp.where(where, predictions, 0), jnp.where(where, targets, 0)
        none = NONE if name == "cosine_distance" else {}
        return getattr(LOSSES, name)(predictions, targets, eps=epsilon**0.5, axis=axis, **none)

    return function


def sparsemax(logits, labels):
    logits = jnp.asarray(logits)
    return LOSSES.sparsemax_loss(jnp.stack([jnp.zeros_like(logits), logits], -1), labels, **NONE)


def fenchel_young(max_fun, **kwargs):
    loss = LOSSES.make_fenchel_young_loss(max_fun)
    return lambda scores, targets: loss(scores, targets, **NONE)


def ranking(logits, labels, *, where=None, weights=None, reduce_fn=jnp.mean):
    labels = labels if weights is None else labels * weights
    reduction = {jnp.mean: "mean", jnp.sum: "sum", None: "none"}[reduce_fn]
    return LOSSES.ranking_softmax_loss(logits, labels, valid=where, reduction=reduction)


def triplet(anchors, positives, negatives, axis=-1, norm_degree=2, margin=1.0, eps=1e-6):
    return LOSSES.triplet_margin_loss(
        anchors, positives, negatives, axis=axis, p=norm_degree, margin=margin, eps=eps, **NONE
    )


def dice(
    predictions,
    targets,
    *,
    class_weights=None,
    smooth=1.0,
    alpha=0.5,
    beta=0.5,
    apply_softmax=True,
    reduction="mean",
    ignore_background=False,
    axis=None,
):
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if predictions.ndim == targets.ndim - 1:
        predictions = predictions[..., None]
    if targets.ndim == predictions.ndim - 1:
        targets = targets[..., None]
    targets, probs = floating(targets), predictions
    if apply_softmax:
        probs = jax.nn.sigmoid(probs) if probs.shape[-1] == 1 else jax.nn.softmax(probs, axis=-1)
    if ignore_background and probs.shape[-1] > 1:
        probs, targets = probs[..., 1:], targets[..., 1:]
        class_weights = None if class_weights is None else class_weights[1:]
    space = tuple(range(1, probs.ndim - 1)) if axis is None else axis

    def loss(probs, targets, **options):
        if alpha == beta == 0.5:  # the same loss, by the other name
            return LOSSES.dice_loss(
                probs, targets, smooth_nr=2.0 * smooth, smooth_dr=2.0 * smooth, space=space, **options, **NONE
            )
        return LOSSES.tversky_loss(
            probs, targets, alpha=alpha, beta=beta, smooth_nr=smooth, smooth_dr=smooth, space=space, **options, **NONE
        )

    k = probs.shape[-1]
    weights = jnp.ones(k) if class_weights is None else jnp.asarray(class_weights)
    if reduction == "none":
        classes = [loss(probs[..., i : i + 1], targets[..., i : i + 1]) for i in range(k)]
        return jnp.stack(classes, -1) * weights
    mean = loss(probs, targets, class_weights=class_weights) * (weights.sum() / k)  # optax divides by the classes
    return mean * k if reduction == "sum" else mean


def half(predictions, targets=None):
    return LOSSES.mse_loss(predictions, zeros(predictions, targets), **NONE) / 2


install(
    _classification,
    {
        "softmax_cross_entropy": softmax_cross_entropy,
        "safe_softmax_cross_entropy": softmax_cross_entropy,
        "softmax_cross_entropy_with_integer_labels": integer_cross_entropy,
        "poly_loss_cross_entropy": poly,
        "sigmoid_binary_cross_entropy": lambda x, y: LOSSES.binary_cross_entropy_with_logits(x, y, **NONE),
        "hinge_loss": lambda x, y: LOSSES.hinge_loss(x, y, **NONE),
        "perceptron_loss": lambda x, y: LOSSES.perceptron_loss(x, y, **NONE),
        "multiclass_hinge_loss": lambda x, y: LOSSES.multiclass_hinge_loss(x, y, **NONE),
        "multiclass_perceptron_loss": lambda x, y: LOSSES.multiclass_perceptron_loss(x, y, **NONE),
        "multiclass_sparsemax_loss": lambda x, y: LOSSES.sparsemax_loss(x, y, **NONE),
        "sparsemax_loss": sparsemax,
        "kl_divergence": kl_divergence,
        "kl_divergence_with_log_targets": kl_with_log_targets,
        "generalized_kl_divergence": generalized_kl,
        "ctc_loss": ctc,
        "ctc_loss_with_forward_probs": ctc_with_forward_probs,
        "sigmoid_focal_loss": lambda x, y, alpha=None, gamma=2.0: LOSSES.sigmoid_focal_loss(
            x, y, alpha=alpha, gamma=gamma, **NONE
        ),
    },
)
install(
    _regression,
    {
        "squared_error": lambda p, t=None: LOSSES.mse_loss(p, zeros(p, t), **NONE),
        "l2_loss": half,
        "huber_loss": lambda p, t=None, delta=1.0: LOSSES.huber_loss(p, zeros(p, t), delta=delta, **NONE),
        "log_cosh": lambda p, t=None: LOSSES.log_cosh_loss(p, zeros(p, t), **NONE),
        "cosine_similarity": cosine("cosine_similarity"),
        "cosine_distance": cosine("cosine_distance"),
    },
)
install(
    _self_supervised,
    {
        "ntxent": lambda x, y, temperature=0.07: LOSSES.nt_xent_loss(x, y, temperature=temperature),
        "triplet_margin_loss": triplet,
    },
)
install(_smoothing, {"smooth_labels": lambda labels, alpha: LOSSES.smooth_labels(labels, label_smoothing=alpha)})
install(_fenchel_young, {"make_fenchel_young_loss": fenchel_young})
install(_ranking, {"ranking_softmax_loss": ranking})
install(_segmentation, {"dice_loss": dice})  # the other two call it

BY_DESIGN = [
    ByDesign(
        "test_probability_validation",
        "probabilities of classes need not sum to 1, as regions may overlap",
        "`help(jaxloss.dice_loss)`",
    )
]
