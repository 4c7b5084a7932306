"""Wrong arguments are refused in one line that names the loss, the argument and what was expected."""

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxloss

# What a type checker would refuse has to be refused at run time too.
untyped: Any = jaxloss

X = np.ones(3, np.float32)
ROWS = np.ones((3, 4), np.float32)
LABELS = np.array([0, 1, 2])


class Tensor:
    """An array of another library."""

    def __array__(self) -> np.ndarray:
        return X


def traced(loss: str, name: str, value: Any) -> Any:
    """A call with a static option that a `jit` around it traces."""
    return jax.jit(lambda value: getattr(untyped, loss)(ROWS, ROWS, **{name: value}))(value)


SHAPES: dict[str, Callable[[], Any]] = {
    "mse_loss: predictions (3, 1) and targets (3,) must have one shape: use predictions[..., 0]": (
        lambda: jaxloss.mse_loss(X[:, None], X)
    ),
    "mse_loss: predictions (3,) and targets () must have one shape": lambda: jaxloss.mse_loss(X, 1.0),
    "gaussian_nll_loss: means (3,) and targets (3,) and variances (1,) must have one shape": (
        lambda: jaxloss.gaussian_nll_loss(X, X, X[:1])
    ),
    "cross_entropy: labels (2,) must have the shape of logits (3, 4) without axis -1": (
        lambda: jaxloss.cross_entropy(ROWS, LABELS[:2])
    ),
    "cross_entropy: labels (3, 1) must have the shape of logits (3, 4) without axis -1: use labels[..., 0]": (
        lambda: jaxloss.cross_entropy(ROWS, LABELS[:, None])
    ),
    "cross_entropy: labels (3, 4) must have the shape of logits (3, 4) without axis -1: "
    "for one-hot or soft labels pass floats": lambda: jaxloss.cross_entropy(ROWS, ROWS.astype(int)),
    "cross_entropy: logits (3, 4) and labels (3, 3) must have one shape": (
        lambda: jaxloss.cross_entropy(ROWS, ROWS[:, :3])
    ),
    "cross_entropy: logits (3, 4) must have entries along axis 2": lambda: jaxloss.cross_entropy(ROWS, LABELS, axis=2),
    "cross_entropy: class_weights must have shape (4,), one entry per class, got (3,)": (
        lambda: jaxloss.cross_entropy(ROWS, LABELS, class_weights=X)
    ),
    "logit_adjusted_cross_entropy: log_prior must have shape (4,), one entry per class, got (3,)": (
        lambda: jaxloss.logit_adjusted_cross_entropy(ROWS, LABELS, log_prior=X)
    ),
    "sigmoid_focal_loss: alpha must be a scalar, got shape (3,)": (lambda: untyped.sigmoid_focal_loss(X, X, alpha=X)),
    "cosine_embedding_loss: targets (2,) must have the shape of x1 (3, 4) without axis -1": (
        lambda: jaxloss.cosine_embedding_loss(ROWS, ROWS, X[:2])
    ),
    "l1_loss: where must be a scalar or have the rank of the loss, which is (3, 3), got (3,): use where[:, None]": (
        lambda: jaxloss.l1_loss(ROWS[:, :3], ROWS[:, :3], where=X > 0)
    ),
    "l1_loss: weights must be a scalar or have the rank of the loss, which is (3, 4), got (4,): use weights[None, :]": (
        lambda: jaxloss.l1_loss(ROWS, ROWS, weights=ROWS[0])
    ),
    "l1_loss: weights must be a scalar or have the rank of the loss, which is (3,), got (2,)": (
        lambda: jaxloss.l1_loss(X, X, weights=X[:2])
    ),
    "cross_entropy: where must be a scalar or have the rank of the loss, which is (3,), got (3, 4)": (
        lambda: jaxloss.cross_entropy(ROWS, LABELS, where=ROWS > 0)
    ),
    "huber_loss: delta must be a scalar, got shape (3,)": lambda: untyped.huber_loss(X, X, delta=X),
    "l1_loss: reduction must be one of ('mean', 'sum', 'none'), got 'avg'": (
        lambda: untyped.l1_loss(X, X, reduction="avg")
    ),
    "triplet_margin_loss: p must be at least 1, got 0.5": lambda: jaxloss.triplet_margin_loss(ROWS, ROWS, ROWS, p=0.5),
    "triplet_margin_with_distance_loss: the distance must have shape (3,), one per triplet, got (3, 4)": (
        lambda: jaxloss.triplet_margin_with_distance_loss(ROWS, ROWS, ROWS, distance_function=lambda x, y: x - y)
    ),
    "sparsemax: logits (3, 4) must have entries along axis 2": lambda: jaxloss.sparsemax(ROWS, axis=2),
    "fenchel_young_loss: max_fun(logits) must have shape (), of one row, got (4,)": (
        lambda: jaxloss.make_fenchel_young_loss(jnp.square)(ROWS, ROWS)
    ),
    "ctc_loss: blank must be one of range(0, 4), got 9": (
        lambda: jaxloss.ctc_loss(ROWS[None], LABELS[None], LABELS[:1], LABELS[:1], blank=9)
    ),
    "ctc_loss: logit_lengths must have shape (1,), for logits (1, 3, 4), got (3,)": (
        lambda: jaxloss.ctc_loss(ROWS[None], LABELS[None], LABELS, LABELS[:1])
    ),
    "adaptive_log_softmax_with_loss: head must have shape (4, 3), for the features of hidden and cutoffs (2,), "
    "got (4, 2)": lambda: jaxloss.adaptive_log_softmax_with_loss(
        ROWS, LABELS, ROWS.T[:, :2], ((ROWS.T, ROWS),), cutoffs=(2,)
    ),
    "cross_entropy: labels (2, 3, 3) must have the shape of logits (2, 5, 3, 3) without axis -1: use axis=1": (
        lambda: jaxloss.cross_entropy(np.ones((2, 5, 3, 3)), np.zeros((2, 3, 3), int))
    ),
    "cross_entropy: weights must be a scalar or have the rank of the loss, which is (3,), got (4,): "
    "for one weight per class use class_weights": lambda: jaxloss.cross_entropy(ROWS, LABELS, weights=ROWS[0]),
    "cross_entropy: ignore_index must have shape (), one label, got (3,)": (
        lambda: untyped.cross_entropy(ROWS, LABELS, ignore_index=LABELS)
    ),
    "linear_cross_entropy: kernel must have shape (4, 4), for the features of hidden, got (7, 4): use kernel.T": (
        lambda: jaxloss.linear_cross_entropy(ROWS, np.ones((7, 4), np.float32), LABELS)
    ),
    "kl_div: reduction must be one of ('mean', 'sum', 'none'), got 'batchmean': "
    'what PyTorch calls "batchmean" is "mean" here': lambda: untyped.kl_div(ROWS, ROWS, reduction="batchmean"),
    "jaxloss: weights must be a scalar or have the rank of the loss, which is (3,), got (2,)": (
        lambda: jaxloss.reduce(jnp.ones(3), weights=X[:2])
    ),
}

TYPES: dict[str, Callable[[], Any]] = {
    "l1_loss: predictions must be floating (16, 32 or 64 bits), got int64: use predictions.astype(jnp.float32)": (
        lambda: jaxloss.l1_loss(LABELS, X)
    ),
    "l1_loss: predictions must be floating (16, 32 or 64 bits), got bool: use predictions.astype(jnp.float32)": (
        lambda: jaxloss.l1_loss(X > 0, X)
    ),
    "l1_loss: predictions must be floating (16, 32 or 64 bits), got complex64": (
        lambda: jaxloss.l1_loss(X.astype(np.complex64), X)
    ),
    "l1_loss: predictions must be floating (16, 32 or 64 bits), got float8_e4m3fn": (
        lambda: jaxloss.l1_loss(jnp.ones(3, jnp.float8_e4m3fn), X)
    ),
    "l1_loss: targets must be real numbers, got complex64": lambda: jaxloss.l1_loss(X, X.astype(np.complex64)),
    "l1_loss: predictions must be an array, got list: use jnp.array(predictions)": lambda: untyped.l1_loss(
        [1.0, 2.0], X
    ),
    "l1_loss: targets must be an array, got tuple: use jnp.array(targets)": lambda: untyped.l1_loss(X, (1.0, 2.0)),
    "l1_loss: targets must be an array, got NoneType": lambda: untyped.l1_loss(X, None),
    "l1_loss: where must be boolean, got float32: use where.astype(bool)": lambda: jaxloss.l1_loss(X, X, where=X),
    "l1_loss: weights must be real numbers, got complex64": (
        lambda: jaxloss.l1_loss(X, X, weights=X.astype(np.complex64))
    ),
    "l1_loss: missing a required argument: 'targets'": lambda: untyped.l1_loss(X),
    "l1_loss: got an unexpected keyword argument 'mask': use where": lambda: untyped.l1_loss(X, X, mask=X),
    "cross_entropy: labels must be integers, or probabilities with a class axis, got float32": (
        lambda: jaxloss.cross_entropy(ROWS, X)
    ),
    "cross_entropy: labels must be integers, got bool: for one-hot labels pass floats": (
        lambda: jaxloss.cross_entropy(ROWS, X > 0)
    ),
    "cross_entropy: ignore_index must be integers, got float64": (
        lambda: untyped.cross_entropy(ROWS, LABELS, ignore_index=np.array(0.5))
    ),
    "nll_loss: labels must be integers, got float32": lambda: jaxloss.nll_loss(ROWS, X),
    "l1_loss: predictions must be an array, got Tensor: use np.asarray(predictions)": lambda: untyped.l1_loss(
        Tensor(), X
    ),
    "l1_loss: predictions must be an array, got str": lambda: untyped.l1_loss("1", X),
    "l1_loss: predictions must be an array of numbers, got dtype object": (
        lambda: jaxloss.l1_loss(np.array([1.0, None, "x"], object), X)
    ),
    "l1_loss: predictions must be an array, got function: pass what it returns": lambda: untyped.l1_loss(traced, X),
    "huber_loss: delta must be a number, got str": lambda: untyped.huber_loss(X, X, delta="1"),
    "huber_loss: delta must be a number, got NoneType": lambda: untyped.huber_loss(X, X, delta=None),
    "cross_entropy: axis must be of type int, got '-1'": lambda: untyped.cross_entropy(ROWS, LABELS, axis="-1"),
    "cross_entropy: axis must be of type int, got (1, 3)": lambda: untyped.cross_entropy(ROWS, LABELS, axis=(1, 3)),
    "cross_entropy: axis must be of type int, got True": lambda: jaxloss.cross_entropy(ROWS, LABELS, axis=True),
    "triplet_margin_loss: p must be of type float, got '2'": lambda: untyped.triplet_margin_loss(
        ROWS, ROWS, ROWS, p="2"
    ),
    "triplet_margin_loss: swap must be of type bool, got 1": (
        lambda: untyped.triplet_margin_loss(ROWS, ROWS, ROWS, swap=1)
    ),
    "dice_loss: space must be of type int or tuple, got '0'": lambda: untyped.dice_loss(ROWS, LABELS, space="0"),
    **{
        f"{loss}: {name} changes the program and cannot be traced: pass a Python value, and if a jit is around the "
        "call name it in static_argnames": functools.partial(traced, loss, name, value)
        for loss, name, value in [
            ("mse_loss", "reduction", 1),
            ("cosine_distance", "axis", -1),
            ("kl_div", "log_target", True),
        ]
    },
    "huber_loss: too many positional arguments: options are passed by name": lambda: untyped.huber_loss(X, X, 1.0),
    "cross_entropy: got an unexpected keyword argument 'weight': use weights, or class_weights for one per class": (
        lambda: untyped.cross_entropy(ROWS, LABELS, weight=ROWS[0])
    ),
    "cross_entropy: got an unexpected keyword argument 'sample_weight': use weights": (
        lambda: untyped.cross_entropy(ROWS, LABELS, sample_weight=X)
    ),
    "cross_entropy: got an unexpected keyword argument 'label_smothing': did you mean label_smoothing?": (
        lambda: untyped.cross_entropy(ROWS, LABELS, label_smothing=0.1)
    ),
    "l1_loss: got an unexpected keyword argument 'quux': it takes predictions, targets, where, weights, reduction": (
        lambda: untyped.l1_loss(X, X, quux=1)
    ),
    "triplet_margin_with_distance_loss: distance_function must be a function, got int": (
        lambda: untyped.triplet_margin_with_distance_loss(ROWS, ROWS, ROWS, distance_function=2)
    ),
    "partial_mean(l1_loss) is a mean: it takes no reduction": (
        lambda: jaxloss.partial_mean(jaxloss.l1_loss)(X, X, reduction="sum")
    ),
}


@pytest.mark.parametrize("message", SHAPES)
def test_wrong_shapes_and_options_are_value_errors(message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        SHAPES[message]()
    assert str(error.value) == message  # and nothing else; jax may add a note


@pytest.mark.parametrize("message", TYPES)
def test_wrong_dtypes_are_type_errors(message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)) as error:
        TYPES[message]()
    assert str(error.value) == message


def test_partial_mean_takes_only_losses() -> None:
    with pytest.raises(TypeError, match=r"^partial_mean: expected a loss made with loss_function, innermost, got"):
        jaxloss.partial_mean(jnp.sum)
