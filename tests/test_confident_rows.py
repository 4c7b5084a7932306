"""Rows that are predicted well keep the digits of their loss, of its gradient and of its curvature."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import MP

import jaxloss
from jaxloss._math.softmax import log_softmax

EPS = float(np.finfo(np.float32).eps)
CLASSES = 6


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Logits with margins from -40 to 60 between a label and the best of the others, and with ties."""
    rng = np.random.default_rng(0)
    margins = np.concatenate([np.linspace(-40, 60, 201), np.zeros(10)])
    labels = rng.integers(0, CLASSES, len(margins))
    others = rng.normal(scale=3, size=(len(margins), CLASSES))
    others[::3, 1:3] = others[::3, :1]  # equal ones
    row = np.arange(len(margins))
    others[row, labels] = -np.inf
    others[row, labels] = others.max(axis=-1) + margins
    return others.astype(np.float32), labels.astype(np.int32)


LOGITS, LABELS = rows()
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[LABELS]
SMOOTH = (np.float32(0.9) * ONE_HOT + np.float32(0.1) / CLASSES).astype(np.float32)
# 4 units in the last place, and half a unit for each unit that a logit, or of a label the best other, is below the top.
BELOW = LOGITS.max(axis=-1, keepdims=True) - LOGITS
BELOW = np.maximum(BELOW, ONE_HOT * np.min(np.where(ONE_HOT > 0, np.inf, BELOW), axis=-1, keepdims=True))
ALLOWED = EPS * (4 + BELOW / 2)
OF_VALUES = np.take_along_axis(ALLOWED, LABELS[:, None], axis=-1)[:, 0]


def exact(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The cross-entropy of a row, its gradient and its second derivatives by each logit, in 200 digits."""
    x, t = [MP.mpf(float(logit)) for logit in logits], [MP.mpf(float(target)) for target in targets]
    total, whole = sum(map(MP.exp, x)), sum(t)
    p = [MP.exp(logit) / total for logit in x]
    value = sum(target * (MP.ln(total) - logit) for logit, target in zip(x, t, strict=True))
    slopes = [whole * share - target for share, target in zip(p, t, strict=True)]
    curvatures = [whole * share * (1 - share) for share in p]
    return float(value), np.array(slopes, float), np.array(curvatures, float)


def truth(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = [exact(*row) for row in zip(LOGITS, targets, strict=True)]
    values, slopes, curvatures = (np.stack([row[k] for row in found]) for k in range(3))
    return values, slopes, curvatures


def of_logits(**options: Any) -> Callable[..., jax.Array]:
    return lambda logits, labels: jaxloss.cross_entropy(logits, labels, reduction="none", **options)


def linear(logits: Any, labels: Any) -> jax.Array:
    """The logits as a linear layer's, of which each row has its own."""
    eye = jnp.eye(CLASSES, dtype=logits.dtype)
    return jaxloss.linear_cross_entropy(logits, eye, labels, precision="highest", reduction="none")


def adjusted(logits: Any, labels: Any) -> jax.Array:
    prior = jnp.zeros(CLASSES, logits.dtype)
    return jaxloss.logit_adjusted_cross_entropy(logits, labels, log_prior=prior, reduction="none")


def by_log_softmax(logits: Any, labels: Any) -> jax.Array:
    return -jnp.take_along_axis(log_softmax(logits), labels[:, None], axis=-1)[:, 0]


def by_nll_loss(logits: Any, labels: Any) -> jax.Array:
    return jaxloss.nll_loss(log_softmax(logits), labels, reduction="none")


CASES = {
    "labels": (of_logits(), LABELS, ONE_HOT),
    "one-hot": (of_logits(), ONE_HOT, ONE_HOT),
    "soft": (of_logits(), SMOOTH, SMOOTH),
    "weights of 1": (of_logits(class_weights=np.ones(CLASSES, np.float32)), LABELS, ONE_HOT),
    "no smoothing": (of_logits(label_smoothing=jnp.float32(0)), LABELS, ONE_HOT),
    "a mask": (of_logits(where=np.ones(len(LABELS), bool)), ONE_HOT, ONE_HOT),
    "linear": (linear, LABELS, ONE_HOT),
    "logit-adjusted": (adjusted, LABELS, ONE_HOT),
    "log-softmax": (by_log_softmax, LABELS, ONE_HOT),
    "nll_loss": (by_nll_loss, LABELS, ONE_HOT),
    "linear, one-hot": (linear, ONE_HOT, ONE_HOT),
}


@pytest.mark.parametrize("case", CASES)
def test_a_confident_row_keeps_its_digits(case: str) -> None:
    loss, labels, targets = CASES[case]

    @jax.jit
    def outcome(logits: Any) -> Any:
        gradient = jax.grad(lambda logits: jnp.sum(loss(logits, labels)))
        along = [jnp.zeros_like(logits).at[:, k].set(1) for k in range(CLASSES)]
        second = [jax.jvp(gradient, (logits,), (direction,))[1][:, k] for k, direction in enumerate(along)]
        return loss(logits, labels), gradient(logits), jnp.stack(second, axis=-1)

    with jax.numpy_rank_promotion("allow"):
        values, slopes, curvatures = jax.device_get(outcome(jnp.asarray(LOGITS)))
    true_values, true_slopes, true_curvatures = truth(targets)
    assert (np.abs(values - true_values) <= OF_VALUES * true_values).all()
    terms = np.abs(true_slopes) + 2 * targets * (case == "soft")  # p and t may be close to each other
    assert (np.abs(slopes - true_slopes) <= ALLOWED * terms).all()
    assert (np.abs(slopes.sum(axis=-1)) <= 4 * EPS * np.abs(slopes).sum(axis=-1)).all()
    assert (np.abs(curvatures - true_curvatures) <= 2 * ALLOWED * true_curvatures).all()


def test_the_example_of_the_docs() -> None:
    value, slopes = jax.value_and_grad(jaxloss.cross_entropy)(jnp.array([20.0, 0.0], jnp.float32), jnp.array(0))
    np.testing.assert_allclose(value, 2.0611536e-9, rtol=1e-6)
    np.testing.assert_allclose(slopes, [-2.0611536e-9, 2.0611536e-9], rtol=1e-6)
