"""Hinges on classes that are ruled out, on lists of labels, and on huge scores."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import jaxloss

INF = math.inf
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("p", [1, 2, 1.5])
@pytest.mark.parametrize("ruled_out", [0, 3])
def test_multi_margin_without_a_class(ruled_out: int, p: float) -> None:
    scores = RANDOM.normal(size=4)
    logits = scores.copy()
    logits[ruled_out] = -INF
    value, slopes = jax.value_and_grad(jaxloss.multi_margin_loss)(logits, np.array(1), p=p)
    rest = [k for k in range(4) if k not in (1, ruled_out)]
    expected = math.fsum(max(0.0, 1 - scores[1] + scores[k]) ** p for k in rest) / 3
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert np.isfinite(slopes).all()
    assert slopes[ruled_out] == 0


@pytest.mark.parametrize("logits", [[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]], ids=["violated", "kept"])
@pytest.mark.parametrize("label", [-1, 3])
def test_multi_margin_of_a_label_that_is_no_class(label: int, logits: list[float]) -> None:
    value, slopes = jax.value_and_grad(jaxloss.multi_margin_loss)(np.array(logits), np.array(label))
    assert np.isnan(value)
    assert np.isnan(slopes).any()


@pytest.mark.parametrize("options", [{}, {"p": 2}, {"class_weights": np.ones(3)}], ids=str)
def test_multi_margin_of_a_label_ruled_out(options: dict[str, Any]) -> None:
    logits = np.array([0.0, -INF, 1.0])
    value, slopes = jax.value_and_grad(jaxloss.multi_margin_loss)(logits, np.array(1), **options)
    assert value == INF
    assert np.isfinite(slopes).all()


def test_multi_margin_of_a_ruled_out_label_of_weight_zero_costs_nothing() -> None:
    logits, class_weights = np.array([0.0, -INF, 1.0]), np.array([1.0, 0.0, 1.0])
    assert jaxloss.multi_margin_loss(logits, np.array(1), class_weights=class_weights, reduction="sum") == 0


@pytest.mark.parametrize("weight", [0.0, 1e-30])
def test_multi_margin_weighs_before_it_squares(weight: float) -> None:
    logits, class_weights = np.array([1e30, 0.0], np.float32), np.array([1.0, weight], np.float32)
    loss = jax.value_and_grad(jaxloss.multi_margin_loss)
    value, slopes = loss(logits, np.array(1), p=2, class_weights=class_weights, reduction="sum")
    np.testing.assert_allclose(value, weight * 5e59, rtol=1e-6)
    np.testing.assert_allclose(slopes, [weight * 1e30, -weight * 1e30], rtol=1e-6)


def multilabel_margin(logits: list[float], labels: list[int]) -> float:
    """The definition, pair by pair."""
    listed = labels[: labels.index(-1)] if -1 in labels else labels
    exist = [k for k, logit in enumerate(logits) if logit > -INF]
    pairs = [(y, k) for y in listed for k in exist if k not in listed]
    return math.fsum(max(0.0, 1 - logits[y] + logits[k]) for y, k in pairs) / len(exist)


@pytest.mark.parametrize(
    "labels",
    [
        [3, 0, -1, 1],
        [-1, 2, 1, 0],
        [2, 2, -1, -1],
        [3, -1, 99, -7],
        [0, -1, 3, -1],
        [0, 2, 3, -1],
    ],
    ids=str,
)
@pytest.mark.parametrize("ruled_out", [False, True])
def test_multilabel_margin_of_lists(labels: list[int], ruled_out: bool) -> None:
    logits = [0.1, 0.7, 0.4, 0.8]
    if ruled_out:
        logits[1] = -INF
    value, slopes = jax.value_and_grad(jaxloss.multilabel_margin_loss)(np.array(logits), np.array(labels))
    np.testing.assert_allclose(value, multilabel_margin(logits, labels), rtol=1e-12)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("labels", [[4, -1, 0, 0], [0, -2, -1, 0], [1, 2, 3, 100]], ids=str)
def test_multilabel_margin_of_a_label_that_is_no_class(labels: list[int]) -> None:
    logits = np.array([0.1, 0.2, 0.4, 0.8])
    value, slopes = jax.value_and_grad(jaxloss.multilabel_margin_loss)(logits, np.array(labels))
    assert np.isnan(value)
    assert np.isnan(slopes).any()


def test_multilabel_margin_of_all_classes_is_zero() -> None:
    value, slopes = jax.value_and_grad(jaxloss.multilabel_margin_loss)(RANDOM.normal(size=4), np.array([2, 0, 3, 1]))
    assert value == 0
    assert not slopes.any()


def test_multilabel_margin_of_a_label_ruled_out() -> None:
    logits, labels = np.array([0.1, -INF, 0.4]), np.array([1, -1, 0])
    value, slopes = jax.value_and_grad(jaxloss.multilabel_margin_loss)(logits, labels)
    assert value == INF
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("size", [1.0, 1e4, 1e38])
def test_soft_margin_of_any_size(size: float) -> None:
    loss = jax.value_and_grad(jaxloss.soft_margin_loss)
    right, wrong = loss(np.float32(size), np.float32(1)), loss(np.float32(size), np.float32(-1))
    forgotten = math.log1p(math.exp(-size)) if size < 99 else 0
    np.testing.assert_allclose(right[0], forgotten, rtol=1e-6)
    np.testing.assert_allclose(wrong[0], size + forgotten, rtol=1e-6)
    np.testing.assert_allclose(wrong[1] - right[1], 1, rtol=1e-6)


def differentiated(loss: Callable[..., jax.Array], *arguments: Any) -> tuple[float, Any]:
    value, slopes = jax.value_and_grad(loss)(*arguments)
    return float(value), np.asarray(slopes).tolist()


@pytest.mark.parametrize("target", [1, -1])
def test_at_the_hinge_the_gradient_is_that_of_the_slope(target: int) -> None:
    assert differentiated(jaxloss.hinge_loss, np.float64(target), np.array(target)) == (0, -target)
    assert differentiated(jaxloss.perceptron_loss, np.float64(0), np.array(target)) == (0, -target)
    assert differentiated(jaxloss.squared_hinge_loss, np.float64(target), np.array(target)) == (0, 0)


def test_ties_share_the_gradient() -> None:
    logits, label = np.array([2.0, 1.0, 1.0, 0.0]), np.array(0)
    assert differentiated(jaxloss.multiclass_hinge_loss, logits, label) == (0, [-1, 0.5, 0.5, 0])
    assert differentiated(jaxloss.multiclass_perceptron_loss, logits, np.array(1)) == (1, [1, -1, 0, 0])
    assert differentiated(jaxloss.multiclass_perceptron_loss, np.zeros(4), label) == (0, [-0.75, 0.25, 0.25, 0.25])


MULTICLASS = pytest.mark.parametrize(
    ("loss", "margin"), [(jaxloss.multiclass_hinge_loss, 1), (jaxloss.multiclass_perceptron_loss, 0)]
)


@MULTICLASS
def test_a_class_ruled_out_is_no_rival(loss: Callable[..., jax.Array], margin: float) -> None:
    assert differentiated(loss, np.array([0.5, -INF, 1.0]), np.array(0)) == (margin + 0.5, [-1, 0, 1])
    assert differentiated(loss, np.array([0.5, -INF, -INF]), np.array(0)) == (0, [0, 0, 0])


@MULTICLASS
@pytest.mark.parametrize("others", [-INF, 1.0])
def test_a_multiclass_label_ruled_out(loss: Callable[..., jax.Array], margin: float, others: float) -> None:
    value, slopes = differentiated(loss, np.array([others, -INF, others]), np.array(1))
    assert value == INF
    assert np.isfinite(slopes).all()


@MULTICLASS
@pytest.mark.parametrize("logits", [np.array([np.nan, -INF]), np.array([np.nan])], ids=str)
def test_a_nan_without_a_rival_shows(loss: Callable[..., jax.Array], margin: float, logits: np.ndarray) -> None:
    assert np.isnan(loss(logits, np.array(0)))


def test_a_margin_is_seen_beside_huge_scores() -> None:
    logits, label = np.full(2, 1e9, np.float32), np.array(0)
    assert jaxloss.multiclass_hinge_loss(logits, label) == 1
    assert jaxloss.multi_margin_loss(logits, label) == 0.5
    assert jaxloss.multilabel_margin_loss(logits, np.array([0, -1])) == 0.5


def test_a_mean_over_classes_overflows_only_if_it_is_too_large() -> None:
    scores = np.array([[1e38, 1e38, 1e38, 1e38, 0]], np.float32)
    np.testing.assert_allclose(jaxloss.multi_margin_loss(scores, np.array([4])), 8e37, rtol=1e-6)
    labels = np.array([[4, -1, -1, -1, -1]])
    np.testing.assert_allclose(jaxloss.multilabel_margin_loss(scores, labels), 8e37, rtol=1e-6)
    slopes = jax.grad(
        lambda x: jaxloss.multi_margin_loss(x, np.array([4]), p=2, margin=0.5, class_weights=np.full(5, 3.0))
    )(scores)
    # The weighted mean divides by the weight.
    np.testing.assert_allclose(slopes, 4e37 * np.array([[1, 1, 1, 1, -4]]), rtol=1e-6)
