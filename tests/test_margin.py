"""Margin losses of vectors that vanish or coincide, of ruled-out classes, and of lists of labels."""

import math
from typing import Any

import jax
import numpy as np
import pytest

import jaxloss

INF = math.inf
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scales", [(1e-25, 1e-25), (1e25, 1e25), (1e-25, 1e25), (1, 1e-25)], ids=str)
def test_cosine_of_vectors_of_any_length(scales: tuple[float, float], sign: int) -> None:
    x1, x2 = np.array([3.0, 4.0, 0.0]), np.array([1.0, 2.0, 2.0])
    scaled = [np.float32(scale * x) for scale, x in zip(scales, (x1, x2), strict=True)]
    loss = jax.value_and_grad(jaxloss.cosine_embedding_loss, argnums=(0, 1))
    value, slopes = loss(*scaled, np.float32(sign))
    similarity = 11 / 15
    np.testing.assert_allclose(value, 1 - similarity if sign > 0 else similarity, rtol=1e-6)
    expected = -sign * (x2 / 15 - similarity * x1 / 25), -sign * (x1 / 15 - similarity * x2 / 9)
    for slope, scale, unscaled in zip(slopes, scales, expected, strict=True):
        np.testing.assert_allclose(np.asarray(slope, np.float64) * scale, unscaled, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("x2", [np.zeros(3), np.array([1.0, 2.0, 2.0])], ids=["zero", "other"])
def test_cosine_of_a_zero_vector_is_zero(x2: np.ndarray, sign: int) -> None:
    loss = jax.value_and_grad(jaxloss.cosine_embedding_loss, argnums=(0, 1))
    value, slopes = loss(np.zeros(3), x2, np.array(sign), margin=-0.5)
    assert value == (1 if sign > 0 else 0.5)
    assert not np.any(slopes)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, INF])
def test_triplets_of_coincident_points(p: float, swap: bool) -> None:
    point = np.array([0.5, -1.0, 2.0])

    def loss(*vectors: jax.Array) -> jax.Array:
        return jaxloss.triplet_margin_loss(*vectors, p=p, eps=0.0, margin=0.25, swap=swap)

    value, slopes = jax.value_and_grad(loss, argnums=(0, 1, 2))(point, point, point)
    assert value == 0.25
    assert not np.any(slopes)
    assert np.isfinite(jax.hessian(loss)(point, point, point)).all()


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 30.0, INF])
def test_triplets_of_any_size(p: float, scale: float) -> None:
    vectors = (scale * np.array([[1.0, 2.0, -1.0], [1.5, 0.0, 1.5], [0.0, 0.5, -1.5]])).astype(np.float32)
    anchor, positive, negative = np.array(vectors, np.float64)
    loss = jax.value_and_grad(jaxloss.triplet_margin_loss, argnums=(0, 1, 2))
    value, slopes = loss(*vectors, p=p, eps=0.0, margin=scale)

    def norm(x: np.ndarray) -> float:
        return float(scale * np.linalg.norm(x / scale, p))

    np.testing.assert_allclose(value / scale, (scale + norm(anchor - positive) - norm(anchor - negative)) / scale, 1e-5)

    def slope(x: np.ndarray) -> np.ndarray:
        shares = np.abs(x) / norm(x)
        return np.asarray(np.sign(x) * (shares == shares.max() if p == INF else shares ** (p - 1)))

    near, far = slope(anchor - positive), slope(anchor - negative)
    np.testing.assert_allclose(slopes, (near - far, -near, far), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("coordinates", [(0.0, 1.0), (1.0, 0.0)])
def test_a_coordinate_on_which_points_agree_has_subgradient_zero(coordinates: tuple[float, float]) -> None:
    arguments = np.zeros(2), np.array(coordinates), np.array([9.0, 9.0])
    slope = jax.grad(jaxloss.triplet_margin_loss, argnums=1)(*arguments, p=1.0, eps=0.0, margin=99.0)
    np.testing.assert_array_equal(slope, coordinates)


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


@pytest.mark.parametrize("target", [1, -1])
def test_ranking_of_equal_scores_has_the_gradient_of_the_slope(target: int) -> None:
    slopes = jax.grad(jaxloss.margin_ranking_loss, argnums=(0, 1))(np.float64(2), np.float64(2), np.int32(target))
    assert slopes == (-target, target)
