"""Margin losses of vectors that vanish or coincide, of any length, and of equal scores."""

import math
from typing import Any

import jax
import jaxlib
import numpy as np
import pytest

import jaxloss

INF = math.inf


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

    derivatives = jax.jit(lambda *vectors: (jax.value_and_grad(loss, (0, 1, 2))(*vectors), jax.hessian(loss)(*vectors)))
    (value, slopes), hessian = derivatives(point, point, point)
    assert value == 0.25
    assert not np.any(slopes)
    assert np.isfinite(hessian).all()


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


def test_the_smallest_difference_keeps_its_sign_in_a_sum() -> None:
    positive, negative = np.array([[1e-30, 1e30], [2e-30, 0.0]], np.float32)
    loss = jax.grad(jaxloss.triplet_margin_loss, argnums=(0, 1, 2))
    slopes = loss(np.zeros(2, np.float32), positive, negative, p=1.0, eps=0.0)
    np.testing.assert_array_equal(slopes, [[0, -1], [1, 1], [-1, 0]])


@pytest.mark.parametrize("coordinates", [(0.0, 1.0), (1.0, 0.0)])
def test_a_coordinate_on_which_points_agree_has_subgradient_zero(coordinates: tuple[float, float]) -> None:
    arguments = np.zeros(2), np.array(coordinates), np.array([9.0, 9.0])
    slope = jax.grad(jaxloss.triplet_margin_loss, argnums=1)(*arguments, p=1.0, eps=0.0, margin=99.0)
    np.testing.assert_array_equal(slope, coordinates)


@pytest.mark.parametrize("target", [1, -1])
def test_ranking_of_equal_scores_has_the_gradient_of_the_slope(target: int) -> None:
    slopes = jax.grad(jaxloss.margin_ranking_loss, argnums=(0, 1))(np.float64(2), np.float64(2), np.int32(target))
    assert slopes == (-target, target)


# --- the ends of the range --------------------------------------------------------------------------------------------

BOUNDED: dict[str, tuple[Any, float, float]] = {
    "cosine_similarity": (lambda x, y: jaxloss.cosine_similarity(x, y), -1.0, 1.0),
    "cosine_distance": (lambda x, y: jaxloss.cosine_distance(x, y, reduction="none"), 0.0, 2.0),
    "cosine_embedding_loss": (
        lambda x, y: jaxloss.cosine_embedding_loss(x, y, np.ones(len(x), x.dtype), reduction="none"),
        0.0,
        2.0,
    ),
}


# XLA made one division of two before jaxlib 0.10.2, and the product of the divisors, the length, overflows here.
beyond = pytest.mark.skipif(jaxlib.version.__version_info__ < (0, 10, 2), reason="XLA multiplies two divisors")


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e25, pytest.param(1e38, marks=beyond)])
@pytest.mark.parametrize("loss", BOUNDED)
def test_what_is_made_of_a_cosine_stays_in_its_bounds(loss: str, size: float) -> None:
    rng = np.random.default_rng(0)
    of_vectors, least, greatest = BOUNDED[loss]
    for features in (1, 2, 3, 7):
        vectors = size * np.clip(rng.normal(size=(1000, features)), -3, 3)
        factors = rng.choice([1.0, -1.0, 0.5, -0.25], size=(1000, 1))
        found = np.asarray(of_vectors(*(x.astype(np.float32) for x in (vectors, factors * vectors))))
        assert ((found >= least) & (found <= greatest)).all()
        np.testing.assert_allclose(found, np.where(factors[:, 0] > 0, *((0, 2) if least == 0 else (1, -1))), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, jax.numpy.bfloat16])
def test_components_whose_inverse_is_no_normal_number(dtype: Any) -> None:
    x1, x2 = np.array([8.6e37, 0.0], dtype), np.array([1.0, 1.0], dtype)
    value, slopes = jax.value_and_grad(jaxloss.cosine_similarity, argnums=(0, 1))(x1, x2)
    np.testing.assert_allclose(value, math.sqrt(0.5), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(slopes[1], float), [math.sqrt(1 / 8), -math.sqrt(1 / 8)], rtol=1e-2)


HUGE = 3e38


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [([1.0, 1.0], [HUGE, HUGE], 0.0), ([HUGE, HUGE], [1.0, 1.0], math.inf), ([HUGE, 0.0], [HUGE, HUGE], 0.0)],
)
def test_triplets_with_a_distance_beyond_float32(positive: list[float], negative: list[float], expected: float) -> None:
    triplet = [np.array([x], np.float32) for x in ([0.0, 0.0], positive, negative)]
    value, slopes = jax.value_and_grad(jaxloss.triplet_margin_loss, argnums=(0, 1, 2))(*triplet)
    assert value == expected
    for slope in slopes:
        assert np.isfinite(slope).all()
        assert expected > 0 or not slope.any()
