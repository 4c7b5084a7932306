"""keras.losses, by jaxloss: the functions, and the reduction that the classes share."""

import jax.numpy as jnp
import keras.src.losses.loss as loss_module
from keras.src import backend
from keras.src.losses import losses

from .adapting import LOSSES, ByDesign, floating, install

TESTS = ["keras/src/losses/losses_test.py", "keras/src/losses/loss_test.py"]
NONE = {"reduction": "none"}
same_rank, to_hinge = losses.squeeze_or_expand_to_same_rank, losses.convert_binary_labels_to_hinge
keras_circle = losses.circle
EPSILON = 1e-7  # Keras clips probabilities there; jaxloss takes them as they are


def pair(y_true, y_pred):
    y_pred = floating(y_pred)
    y_true, y_pred = same_rank(jnp.asarray(y_true), y_pred)
    return y_pred, floating(y_true, y_pred)


def elementwise(name, change=lambda y: y):
    def function(y_true, y_pred, **options):
        y_pred, y_true = pair(y_true, y_pred)
        return jnp.mean(getattr(LOSSES, name)(y_pred, change(y_true), **options, **NONE), axis=-1)

    return function


def log_of(probs, axis=-1):
    probs = probs / jnp.sum(probs, axis, keepdims=True)
    return jnp.log(jnp.clip(probs, EPSILON, 1 - EPSILON))


def binary(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    y_pred, y_true = floating(y_pred), floating(y_true)
    if from_logits:
        return jnp.mean(
            LOSSES.binary_cross_entropy_with_logits(y_pred, y_true, label_smoothing=label_smoothing, **NONE), axis
        )
    y_true = y_true * (1 - label_smoothing) + label_smoothing / 2
    return jnp.mean(LOSSES.binary_cross_entropy(jnp.clip(y_pred, EPSILON, 1 - EPSILON), y_true, **NONE), axis)


def binary_focal(
    y_true, y_pred, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1
):
    y_pred, y_true = floating(y_pred), floating(y_true)
    logits = y_pred if from_logits else jnp.log(y_pred) - jnp.log1p(-y_pred)  # infinite at 0 and 1
    y_true = y_true * (1 - label_smoothing) + label_smoothing / 2
    return jnp.mean(
        LOSSES.sigmoid_focal_loss(logits, y_true, alpha=alpha if apply_class_balancing else None, gamma=gamma, **NONE),
        axis,
    )


def categorical(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    y_pred, y_true = floating(y_pred), floating(y_true)
    logits = y_pred if from_logits else log_of(y_pred, axis)
    return LOSSES.cross_entropy(logits, y_true, label_smoothing=label_smoothing, axis=axis, **NONE)


def sparse(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1):
    y_pred, y_true = floating(y_pred), jnp.asarray(y_true).astype(jnp.int32)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    logits = y_pred if from_logits else log_of(y_pred, axis)
    return LOSSES.cross_entropy(logits, y_true, ignore_index=ignore_class, axis=axis, **NONE)


def categorical_focal(y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1):
    y_pred, y_true = floating(y_pred), floating(y_true)
    logits = y_pred if from_logits else log_of(y_pred, axis)
    if label_smoothing:
        y_true = LOSSES.smooth_labels(y_true, label_smoothing=label_smoothing)
    alphas = jnp.broadcast_to(jnp.asarray(alpha, jnp.float32), (y_pred.shape[axis],))
    return LOSSES.softmax_focal_loss(logits, y_true, gamma=gamma, class_weights=alphas, axis=axis, **NONE)


def generalized(y_true, y_pred, q):
    y_pred = floating(y_pred)
    return LOSSES.generalized_cross_entropy(jnp.log(y_pred), jnp.asarray(y_true).astype(jnp.int32), q=q, **NONE)


def categorical_hinge(y_true, y_pred):
    return LOSSES.multiclass_hinge_loss(floating(y_pred), jnp.argmax(jnp.asarray(y_true), -1), **NONE)


def regions(y_true, y_pred, axis):
    """Images of one class: Keras sums over all the axes, or over all but the first."""
    y_pred, y_true = floating(y_pred), floating(y_true)
    images = 1 if axis is None else y_pred.shape[0]
    assert axis is None or tuple(axis) == tuple(range(1, y_pred.ndim))
    return y_pred.reshape(images, -1, 1), y_true.reshape(images, -1, 1), axis is not None


def dice(y_true, y_pred, axis=None):
    probs, labels, batched = regions(y_true, y_pred, axis)
    values = LOSSES.dice_loss(probs, labels, smooth_nr=0.0, smooth_dr=EPSILON, **NONE)
    return values if batched else values[0]


def tversky(y_true, y_pred, alpha=0.5, beta=0.5, axis=None):
    probs, labels, batched = regions(y_true, y_pred, axis)
    values = LOSSES.tversky_loss(probs, labels, alpha=beta, beta=alpha, smooth_nr=0.0, smooth_dr=EPSILON, **NONE)
    return values if batched else values[0]


def ctc(y_true, y_pred):
    y_pred, labels = floating(y_pred), jnp.asarray(y_true).astype(jnp.int32)
    frames = jnp.full(y_pred.shape[:1], y_pred.shape[1], jnp.int32)
    return LOSSES.ctc_loss(y_pred, labels, frames, jnp.sum(labels != 0, -1), blank=0, **NONE)


def circle(y_true, y_pred, ref_labels=None, ref_embeddings=None, remove_diagonal=True, gamma=80.0, margin=0.4):
    if ref_embeddings is not None:
        return keras_circle(
            y_true, y_pred, ref_labels, ref_embeddings, remove_diagonal, gamma, margin
        )  # jaxloss has none
    y_true = jnp.asarray(y_true).astype(jnp.int32)
    values = LOSSES.circle_loss(floating(y_pred), y_true, gamma=float(gamma), margin=margin, **NONE)
    mean = LOSSES.circle_loss(floating(y_pred), y_true, gamma=float(gamma), margin=margin)
    assert jnp.allclose(mean, jnp.sum(values) / jnp.sum(values > 0), rtol=1e-5)
    backend.set_keras_mask(values, values > 0)
    return values


def reduce(values, sample_weight=None, mask=None, reduction="sum_over_batch_size", dtype=None):
    reduction = loss_module.standardize_reduction(reduction)
    values = jnp.asarray(values)
    if values.ndim == 0 and reduction != "none":  # Keras leaves what is reduced already
        return LOSSES.reduce(values, weights=sample_weight, reduction="sum")
    if sample_weight is not None:
        values, sample_weight = same_rank(values, jnp.asarray(sample_weight))
    if mask is not None:
        values, mask = same_rank(values, jnp.asarray(mask).astype(bool))
        counted = jnp.broadcast_to(mask, values.shape)
        sample_weight = sample_weight if sample_weight is None else same_rank(values, sample_weight)[1]
    if reduction in (None, "none"):
        return LOSSES.reduce(values, where=mask, weights=sample_weight, reduction="none")
    if reduction == "mean_with_sample_weight":
        return LOSSES.reduce(values, where=mask, weights=sample_weight, reduction="mean")
    total = LOSSES.reduce(values, where=mask, weights=sample_weight, reduction="sum")
    if reduction == "sum":
        return total
    count = jnp.maximum(jnp.sum(counted), 1) if mask is not None else max(values.size, 1)
    return total / count


install(
    losses,
    {
        "mean_squared_error": elementwise("mse_loss"),
        "mean_absolute_error": elementwise("l1_loss"),
        "mean_absolute_percentage_error": elementwise("mape_loss"),
        "mean_squared_logarithmic_error": lambda t, p: elementwise("msle_loss")(
            jnp.maximum(t, EPSILON), jnp.maximum(p, EPSILON)
        ),
        "hinge": lambda t, p: elementwise("hinge_loss", lambda y: floating(to_hinge(y)))(t, p),
        "squared_hinge": lambda t, p: elementwise("squared_hinge_loss", lambda y: floating(to_hinge(y)))(t, p),
        "categorical_hinge": categorical_hinge,
        "cosine_similarity": lambda t, p, axis=-1: LOSSES.cosine_distance(*pair(t, p), axis=axis, **NONE) - 1,
        "huber": elementwise("huber_loss"),
        "log_cosh": elementwise("log_cosh_loss"),
        "kl_divergence": lambda t, p: LOSSES.kl_div(jnp.log(floating(p)), floating(t), **NONE),
        "poisson": lambda t, p: elementwise("poisson_nll_loss")(t, p, log_input=False),
        "binary_crossentropy": binary,
        "binary_focal_crossentropy": binary_focal,
        "categorical_crossentropy": categorical,
        "categorical_focal_crossentropy": categorical_focal,
        "sparse_categorical_crossentropy": sparse,
        "categorical_generalized_cross_entropy": generalized,
        "dice": dice,
        "tversky": tversky,
        "ctc": ctc,
        "circle": circle,
    },
)
install(loss_module, {"reduce_weighted_values": reduce})

HALF = "half precision is computed and returned in float32"
KERAS_PAGE = "coming_from_keras.md"
BY_DESIGN = [
    ByDesign("test_dtype_arg", HALF, KERAS_PAGE),
    ByDesign("test_default_dtype", HALF, KERAS_PAGE),
    ByDesign("test_shape_mismatch", "a ValueError too, in other words", "messages.md"),
    ByDesign("segmentation_different_axis", "an `axis` at which Keras raises on JAX is computed", KERAS_PAGE),
    ByDesign("CategoricalHingeTest::test_unweighted", "labels are integers: no row is without a class", KERAS_PAGE),
    ByDesign("CTCTest::test_correctness", "a blank among the labels makes the loss NaN", KERAS_PAGE),
]
NOT_APPLICABLE = {"LossTest::test_pickle": "pickles the function that the adapter replaced"}
