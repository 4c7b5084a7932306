"""Regression losses at their limits and kinks."""

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
