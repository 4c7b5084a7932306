"""Regression losses at their limits and kinks."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxloss

ZERO = np.zeros(())


@pytest.mark.parametrize("error", [-2.0, 0.5, 0.0])
def test_smooth_l1_with_beta_zero_is_l1(error: float) -> None:
    def loss(prediction: jax.Array, beta: jax.Array) -> jax.Array:
        return jaxloss.smooth_l1_loss(prediction, ZERO, beta=beta)

    value, (slope, slope_in_beta) = jax.value_and_grad(loss, argnums=(0, 1))(np.float64(error), np.float64(0))
    assert value == abs(error)
    assert slope == np.sign(error)
    # |e| - beta/2 once beta is below |e|; an error of 0 costs 0 for every beta.
    assert slope_in_beta == (-0.5 if error else 0)


@pytest.mark.parametrize("beta", [1e-30, 1e-12, 1e-3])
@pytest.mark.parametrize("error", [-1.0, 1e20])
def test_smooth_l1_with_tiny_beta(error: float, beta: float) -> None:
    def loss(prediction: jax.Array, beta: jax.Array) -> jax.Array:
        return jaxloss.smooth_l1_loss(prediction, ZERO, beta=beta)

    value, slopes = jax.value_and_grad(loss, argnums=(0, 1))(np.float32(error), np.float32(beta))
    np.testing.assert_allclose(value, abs(error) - beta / 2, rtol=1e-6)
    np.testing.assert_allclose(slopes, (np.sign(error), -0.5), rtol=1e-6)


@pytest.mark.parametrize("beta", [1e-30, 1e-12])
def test_smooth_l1_inside_a_tiny_beta(beta: float) -> None:
    value, slope = jax.value_and_grad(jaxloss.smooth_l1_loss)(np.float32(beta / 2), ZERO, beta=beta)
    np.testing.assert_allclose((value, slope), (beta / 8, 0.5), rtol=1e-6)


@pytest.mark.parametrize("error", [-3.0, 0.25, 1e15])
def test_huber_with_infinite_delta_is_half_the_square(error: float) -> None:
    value, slope = jax.value_and_grad(jaxloss.huber_loss)(np.float32(error), ZERO, delta=jnp.inf)
    np.testing.assert_allclose((value, slope), (error**2 / 2, error), rtol=1e-6)


@pytest.mark.parametrize("error", [-3.0, 0.25, 1e30])
def test_huber_over_a_vanishing_delta_is_l1(error: float) -> None:
    delta = 1e-7
    value, slope = jax.value_and_grad(jaxloss.huber_loss)(np.float32(error), ZERO, delta=delta)
    np.testing.assert_allclose((value / delta, slope / delta), (abs(error), np.sign(error)), rtol=1e-5)


@pytest.mark.parametrize("sign", [-1, 1])
def test_huber_joins_its_branches(sign: int) -> None:
    value, slope = jax.value_and_grad(jaxloss.huber_loss)(np.float64(sign * 0.5), ZERO, delta=0.5)
    assert (value, slope) == (0.125, sign * 0.5)


def test_l1_has_subgradient_zero_at_zero() -> None:
    assert jax.grad(jaxloss.l1_loss)(np.float64(1.5), np.float64(1.5)) == 0


@pytest.mark.parametrize("error", [1e-12, -1e-3, 0.99, 1.01, -30.0, 1e30])
def test_log_cosh_of_any_size(error: float) -> None:
    value, slope = jax.value_and_grad(jaxloss.log_cosh_loss)(np.float32(error), ZERO)
    error = float(np.float32(error))
    small = error**2 / 2 - error**4 / 12
    expected = small if abs(error) < 1e-2 else np.logaddexp(error, -error) - math.log(2)
    np.testing.assert_allclose((value, slope), (expected, np.tanh(error)), rtol=1e-6)


@pytest.mark.parametrize("eps", [0.0, 1e-30, 1e-3, 1e30])
@pytest.mark.parametrize("error", [0.0, 1e-30, -2.0, 1e30])
def test_charbonnier_of_any_size(error: float, eps: float) -> None:
    def loss(prediction: jax.Array, eps: jax.Array) -> jax.Array:
        return jaxloss.charbonnier_loss(prediction, ZERO, eps=eps)

    value, slopes = jax.value_and_grad(loss, argnums=(0, 1))(np.float32(error), np.float32(eps))
    length = math.hypot(error, eps)
    np.testing.assert_allclose(value, length, rtol=1e-6)
    np.testing.assert_allclose(slopes, (error / length, eps / length) if length else (0, 0), rtol=1e-6, atol=1e-37)


def robust(error: Any, alpha: Any) -> jax.Array:
    return jaxloss.general_robust_loss(error, ZERO, alpha=alpha)


@pytest.mark.parametrize("error", [-1e-6, 0.3, -5.0])
@pytest.mark.parametrize(("alpha", "near"), [(2.0, 1e-9), (0.0, 1e-9), (1.0, 1e-9), (-math.inf, 1e12)])
def test_robust_members_are_limits(alpha: float, near: float, error: float) -> None:
    slopes = jax.value_and_grad(robust, argnums=(0, 1))
    value, (slope, slope_in_alpha) = slopes(np.float64(error), np.float64(alpha))
    half = error**2 / 2
    expected = {2.0: half, 0.0: np.log1p(half), 1.0: error**2 / (1 + np.hypot(error, 1)), -math.inf: -np.expm1(-half)}[
        alpha
    ]
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    for beside in (alpha + near, alpha - near) if alpha > -math.inf else (-near,):
        value_beside, (slope_beside, slope_in_alpha_beside) = slopes(np.float64(error), np.float64(beside))
        np.testing.assert_allclose((value_beside, slope_beside), (value, slope), rtol=1e-6)
        if alpha != 2:  # where it is infinite
            np.testing.assert_allclose(slope_in_alpha_beside, slope_in_alpha, rtol=1e-4, atol=1e-12)
    assert slope_in_alpha == 0 if alpha in (2.0, -math.inf) else slope_in_alpha > -1e-16


@pytest.mark.parametrize("error", [0.0, -1e-15])
@pytest.mark.parametrize("alpha", [3.0, 2.0, 1.0, 0.0, -2.0, -1e6, -1e30, -math.inf])
def test_robust_loss_of_tiny_errors_is_half_the_square(alpha: float, error: float) -> None:
    value, slopes = jax.value_and_grad(robust, argnums=(0, 1))(np.float32(error), np.float32(alpha))
    np.testing.assert_allclose((value, *slopes), (error**2 / 2, error, 0), rtol=1e-6, atol=1e-36)


@pytest.mark.parametrize(
    ("alpha", "value", "slope"),
    [
        (1.0, 1e30, 1),
        (0.0, math.log(1e30) * 2 - math.log(2), 2e-30),
        (-2.0, 2, 0),
        (-1e6, 1.000002, 0),
        (-1e30, 1, 0),
        (-math.inf, 1, 0),
    ],
)
def test_robust_loss_of_huge_errors(alpha: float, value: float, slope: float) -> None:
    found, slopes = jax.value_and_grad(robust, argnums=(0, 1))(np.float32(1e30), np.float32(alpha))
    np.testing.assert_allclose((found, slopes[0]), (value, slope), rtol=1e-6)
    assert np.isfinite(slopes[1])


def test_robust_parabola_up_to_the_largest_number() -> None:
    value, slope = jax.value_and_grad(jaxloss.general_robust_loss)(
        np.float32(1.2e19), np.float32(0), alpha=2.0, scale=0.5
    )
    np.testing.assert_allclose((value, slope), (2 * 1.2e19**2, 4 * 1.2e19), rtol=1e-6)


def test_robust_scale_is_the_unit_of_errors() -> None:
    value, slope = jax.value_and_grad(jaxloss.general_robust_loss)(np.float64(3.0), ZERO, alpha=0.5, scale=2.0)
    expected, expected_slope = jax.value_and_grad(robust)(np.float64(1.5), np.float64(0.5))
    np.testing.assert_allclose((value, slope), (expected, expected_slope / 2), rtol=1e-12)


@pytest.mark.parametrize("target", [0.0, 1e-30, -1e-9])
def test_mape_of_a_target_below_eps(target: float) -> None:
    arguments = np.float32(1e20), np.float32(target)
    value, slopes = jax.value_and_grad(jaxloss.mape_loss, argnums=(0, 1))(*arguments, eps=1e-4)
    np.testing.assert_allclose(value, 1e26, rtol=1e-6)
    np.testing.assert_allclose(slopes, (1e6, -1e6), rtol=1e-6)


def test_mape_has_subgradient_zero_where_it_is_zero() -> None:
    assert jax.grad(jaxloss.mape_loss)(np.float64(-1.5), np.float64(-1.5)) == 0


@pytest.mark.parametrize(
    ("prediction", "target"), [(1e30, -0.9999), (-0.9999, 1e30), (1.0, 1.0001), (3e35, 3.1e35), (-0.5, -0.9), (0, 0)]
)
def test_msle_of_any_size(prediction: float, target: float) -> None:
    arguments = np.float32(prediction), np.float32(target)
    value, slopes = jax.value_and_grad(jaxloss.msle_loss, argnums=(0, 1))(*arguments)
    x, y = (float(x) for x in arguments)
    difference = math.log1p((x - y) / (1 + y)) if abs(x - y) < 0.1 * (1 + y) else math.log1p(x) - math.log1p(y)
    np.testing.assert_allclose(value, difference**2, rtol=1e-6)
    np.testing.assert_allclose(slopes, (2 * difference / (1 + x), -2 * difference / (1 + y)), rtol=1e-6)


@pytest.mark.parametrize("low", [-1.0, -3.0])
def test_msle_of_numbers_out_of_its_domain_is_nan(low: float) -> None:
    for arguments in ((np.float64(low), np.float64(-2.0)), (np.float64(0.5), np.float64(low))):
        value, slopes = jax.value_and_grad(jaxloss.msle_loss, argnums=(0, 1))(*arguments)
        assert np.isnan(value)
        assert np.isnan(slopes).any()


# --- cosines ----------------------------------------------------------------------------------------------------------

X, Y = np.array([[3.0, 4.0, 0.0], [1.0, 0.0, 0.0]]), np.array([[1.0, 2.0, 2.0], [-2.0, 0.0, 0.0]])


def test_cosine_similarity() -> None:
    np.testing.assert_allclose(jaxloss.cosine_similarity(X, Y), [11 / 15, -1], rtol=1e-12)
    np.testing.assert_allclose(jaxloss.cosine_similarity(X.T, Y.T, axis=0), [11 / 15, -1], rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(jaxloss.cosine_similarity)(X, Y), [11 / 15, -1], rtol=1e-12)
    assert jaxloss.cosine_similarity(X.astype(np.float16), Y).dtype == np.float64
    assert jaxloss.cosine_similarity(X.astype(np.float16), Y.astype(int)).dtype == np.float32
    message = r"^cosine_similarity: predictions \(2, 3\) and targets \(2,\) must have one shape"
    with pytest.raises(ValueError, match=message):
        jaxloss.cosine_similarity(X, Y[:, 0])


def test_cosine_similarity_divides_by_no_less_than_eps() -> None:
    def similarity(x: Any, y: Any, eps: Any) -> jax.Array:
        return jaxloss.cosine_similarity(x, y, eps=eps)

    value, slopes = jax.value_and_grad(similarity, argnums=(0, 1, 2))(X[0], Y[0], np.float64(4.0))
    np.testing.assert_allclose(value, 11 / (5 * 4), rtol=1e-12)  # of lengths 5 and 3
    np.testing.assert_allclose(slopes[0], (Y[0] - 11 / 25 * X[0]) / (5 * 4), rtol=1e-12)
    np.testing.assert_allclose(slopes[1], X[0] / (5 * 4), rtol=1e-12)
    np.testing.assert_allclose(slopes[2], -11 / (5 * 4**2), rtol=1e-12)


@pytest.mark.parametrize(("eps", "slope"), [(0.0, 0.0), (1e-20, 1e20)])
def test_cosine_of_a_zero_vector(eps: float, slope: float) -> None:
    zero, unit = np.zeros(3, np.float32), np.array([0, 0, 1], np.float32)
    value, slopes = jax.value_and_grad(jaxloss.cosine_similarity)(zero, unit, eps=eps)
    assert value == 0
    np.testing.assert_allclose(slopes, slope * unit, rtol=1e-6)
    distance, slopes = jax.value_and_grad(jaxloss.cosine_distance)(zero, unit, eps=eps)
    assert distance == 1
    np.testing.assert_allclose(slopes, -slope * unit, rtol=1e-6)


@pytest.mark.parametrize("eps", [0.125, 1.0, 4.0])
@pytest.mark.parametrize(("function", "sign"), [(jaxloss.cosine_similarity, 1), (jaxloss.cosine_distance, -1)])
def test_the_gradient_at_a_length_of_exactly_eps_is_that_of_the_division_by_eps(
    function: Callable[..., jax.Array], sign: int, eps: float
) -> None:
    def first(x: Any, y: Any, eps: Any) -> jax.Array:
        return function(x, y, eps=eps)

    x, y = np.full(4, eps / 2), np.array([20.0, 8.0, 8.0, 16.0]) * eps
    np.testing.assert_array_equal([np.linalg.norm(x), np.linalg.norm(y)], [eps, 28 * eps])
    slopes = jax.grad(first, argnums=(0, 1, 2))(x, y, np.float64(eps))
    # The other side would lack the part of these along x, and have a slope of 0 in eps.
    cosine, x_unit, y_unit = 26 / 28, x / eps, y / (28 * eps)
    np.testing.assert_allclose(slopes[0], sign * y_unit / eps, rtol=1e-12)
    np.testing.assert_allclose(slopes[1], sign * (x_unit - cosine * y_unit) / (28 * eps), rtol=1e-12)
    np.testing.assert_allclose(slopes[2], -sign * cosine / eps, rtol=1e-12)
    for slope, swapped in zip(slopes, jax.grad(first, argnums=(1, 0, 2))(y, x, np.float64(eps)), strict=True):
        np.testing.assert_allclose(slope, swapped, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("angle", [1e-3, 1e-5, 1e-10, 0.0])
def test_cosine_distance_of_nearly_parallel_vectors(angle: float, scale: float) -> None:
    x, y = np.array([1.0, 0.0], np.float32), np.array([scale, angle * scale], np.float32)
    value, slope = jax.value_and_grad(jaxloss.cosine_distance)(x, y)
    np.testing.assert_allclose(value, angle**2 / 2, rtol=1e-5)  # where one minus the cosine would be 0
    np.testing.assert_allclose(slope, [0, -angle], rtol=1e-5, atol=1e-12)
