"""Likelihoods against the standard library's densities, and at the edges of their domains."""

import math
from statistics import NormalDist

import jax
import numpy as np
import pytest

import jaxloss

RANDOM = np.random.default_rng(0)


def test_gaussian_is_minus_the_log_density() -> None:
    means, targets, variances = RANDOM.normal(size=(2, 7)), RANDOM.normal(size=(2, 7)), RANDOM.uniform(0.1, 9, (2, 7))
    values = jaxloss.gaussian_nll_loss(means, targets, variances, full=True, reduction="none")
    for index, value in np.ndenumerate(values):
        density = NormalDist(float(means[index]), math.sqrt(variances[index])).pdf(float(targets[index]))
        np.testing.assert_allclose(value, -math.log(density), rtol=1e-12)


@pytest.mark.parametrize("variance", [0.0, 1e-9])
def test_gaussian_variance_below_eps(variance: float) -> None:
    arguments = np.float64(1.0), np.float64(1.5), np.float64(variance)
    value, slopes = jax.value_and_grad(jaxloss.gaussian_nll_loss, argnums=(0, 2))(*arguments, eps=0.01)
    np.testing.assert_allclose(value, (np.log(0.01) + 0.25 / 0.01) / 2, rtol=1e-12)
    np.testing.assert_allclose(slopes, (-0.5 / 0.01, 0), rtol=1e-12)


@pytest.mark.parametrize(("error", "variance"), [(1e30, 1e38), (1e-30, 1e-5), (1e19, 1e20), (3e38, 3e38)])
def test_gaussian_of_any_size(error: float, variance: float) -> None:
    arguments = np.float32(0), np.float32(error), np.float32(variance)
    value, slopes = jax.value_and_grad(jaxloss.gaussian_nll_loss, argnums=(0, 1, 2))(*arguments)
    np.testing.assert_allclose(value, (np.log(variance) + error * (error / variance)) / 2, rtol=1e-5)
    np.testing.assert_allclose(slopes[:2], (-error / variance, error / variance), rtol=1e-5)
    assert np.isfinite(slopes[2])  # not more: on the way to it the inverse of the variance may leave float32


def test_gaussian_beta_scales_gradients_by_a_constant() -> None:
    arguments = np.float64(1.0), np.float64(1.5), np.float64(4.0)
    plain = jax.grad(jaxloss.gaussian_nll_loss, argnums=(0, 1, 2))(*arguments)
    halfway = jax.grad(jaxloss.gaussian_nll_loss, argnums=(0, 1, 2))(*arguments, beta=0.5)
    np.testing.assert_allclose(halfway, 2 * np.array(plain), rtol=1e-12)
    # At 1 the means see plain errors, as in the squared error with a factor of 1/2.
    np.testing.assert_allclose(jax.grad(jaxloss.gaussian_nll_loss)(*arguments, beta=1.0), 1.0 - 1.5, rtol=1e-12)


@pytest.mark.parametrize("log_input", [True, False])
def test_poisson_is_minus_the_log_probability_without_the_factorial(log_input: bool) -> None:
    rates, counts = RANDOM.uniform(0.1, 20, 9), np.arange(9)
    predictions = np.log(rates) if log_input else rates
    values = jaxloss.poisson_nll_loss(predictions, counts, log_input=log_input, eps=0.0, reduction="none")
    probabilities = np.exp(-np.asarray(values)) / [math.factorial(count) for count in counts]
    expected = [
        math.exp(-rate) * rate**count / math.factorial(count) for rate, count in zip(rates, counts, strict=True)
    ]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-12)


def test_poisson_full_adds_stirling_above_one() -> None:
    counts = np.array([0.0, 0.5, 1.0, 2.0, 10.0, 1000.0])
    logs = np.zeros(6)
    plain, full = (jaxloss.poisson_nll_loss(logs, counts, full=full, reduction="none") for full in (False, True))
    added = np.asarray(full - plain)
    assert not added[:3].any()
    # Stirling's series: the error lies between 0 and 1 / 12y.
    missing = np.array([math.lgamma(count + 1) for count in counts[3:]]) - added[3:]
    assert (missing > 0).all()
    assert (missing < 1 / (12 * counts[3:])).all()


@pytest.mark.parametrize("eps", [1e-8, 0.0])
def test_poisson_of_no_event_at_rate_zero_costs_nothing(eps: float) -> None:
    loss = jax.value_and_grad(jaxloss.poisson_nll_loss)
    value, slope = loss(np.float64(0), np.float64(0), log_input=False, eps=eps)
    assert (value, slope) == (0, 1)


def test_poisson_targets_of_zero_have_finite_gradients() -> None:
    slopes = jax.grad(jaxloss.poisson_nll_loss, argnums=(0, 1))(np.float64(0.3), np.float64(0), full=True)
    np.testing.assert_allclose(slopes, (np.exp(0.3), -0.3), rtol=1e-12)
