"""Divergences where a probability is 0, and where two distributions are close."""

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxloss

TARGETS = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5]])
PREDICTIONS = np.array([[0.25, 0.75, 0.0], [0.1, 0.2, 0.7], [0.2, 0.3, 0.5]])


# Summed term by term where the target is not 0.
DIVERGENCES = [2 * 0.5 * np.log(0.5) - 0.5 * np.log(0.25 * 0.75), -np.log(0.7), 0.0]


def logarithm(x: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(x))


@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_where_targets_are_zero(log_target: bool) -> None:
    targets = logarithm(TARGETS) if log_target else TARGETS
    values = jaxloss.kl_div(logarithm(PREDICTIONS), targets, log_target=log_target, reduction="none")
    np.testing.assert_allclose(values, DIVERGENCES, rtol=1e-12, atol=1e-15)

    loss = jax.grad(jaxloss.kl_div, argnums=(0, 1))
    in_predictions, in_targets = loss(logarithm(PREDICTIONS), targets, log_target=log_target, reduction="sum")
    np.testing.assert_allclose(in_predictions, -TARGETS, rtol=1e-12)
    present = TARGETS > 0
    slopes = 1 + logarithm(np.where(present, TARGETS, 1)) - logarithm(np.where(present, PREDICTIONS, 1))
    slopes *= TARGETS if log_target else present
    np.testing.assert_allclose(in_targets, slopes, rtol=1e-12)


@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_of_what_was_thought_impossible_is_infinite(log_target: bool) -> None:
    predictions, targets = logarithm(np.array([[0.0, 1.0]])), np.array([[0.5, 0.5]])
    targets = logarithm(targets) if log_target else targets
    value, slopes = jax.value_and_grad(jaxloss.kl_div)(predictions, targets, log_target=log_target)
    assert value == np.inf
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes[0, 1], -0.5, rtol=1e-12)


def test_kl_div_mean_is_over_distributions() -> None:
    rows, columns = jaxloss.kl_div(logarithm(PREDICTIONS), TARGETS), (logarithm(PREDICTIONS).T, TARGETS.T)
    np.testing.assert_allclose(rows, np.mean(DIVERGENCES), rtol=1e-12)
    np.testing.assert_allclose(jaxloss.kl_div(*columns, axis=0), np.mean(DIVERGENCES), rtol=1e-12)


# --- generalized_kl_div -----------------------------------------------------------------------------------------------


def test_generalized_kl_div_where_amounts_are_zero() -> None:
    loss = jax.value_and_grad(jaxloss.generalized_kl_div, argnums=(0, 1))
    value, slopes = loss(logarithm(np.array([2.0, 0.0, 0.0])), np.array([0.0, 0.0, 3.0]))
    assert value == np.inf
    np.testing.assert_array_equal(slopes[0], [2, 0, 0])
    assert np.isfinite(slopes[1]).all()
    value, slopes = loss(logarithm(np.array([2.0, 0.0])), np.zeros(2))
    np.testing.assert_allclose(value, 2, rtol=1e-15)
    np.testing.assert_array_equal(slopes[1], 0)


@pytest.mark.parametrize(("log_prediction", "target"), [(0.1, 1.1), (0.0, 1 + 1e-3), (-80.0, 2.0), (-1e30, 1e-3)])
def test_generalized_kl_div_keeps_its_digits(log_prediction: float, target: float) -> None:
    x, t = np.array([log_prediction], np.float32), np.array([target], np.float32)
    with mpmath.workdps(50):
        exact_x, exact_t = mpmath.mpf(float(x[0])), mpmath.mpf(float(t[0]))
        expected = exact_t * (mpmath.log(exact_t) - exact_x) - exact_t + mpmath.exp(exact_x)
    np.testing.assert_allclose(jaxloss.generalized_kl_div(x, t), float(expected), rtol=2e-4)


# --- js_div -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_target", [False, True])
def test_js_div_is_bounded_by_the_entropy_of_the_choice(log_target: bool) -> None:
    apart = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    targets = logarithm(apart[1]) if log_target else apart[1]
    loss = jax.value_and_grad(jaxloss.js_div, argnums=(0, 1))
    value, slopes = loss(logarithm(apart[0]), targets, beta=0.3, log_target=log_target)
    np.testing.assert_allclose(value, -0.3 * np.log(0.3) - 0.7 * np.log(0.7), rtol=1e-14)
    # Each distribution is alone where it is not 0.
    np.testing.assert_allclose(slopes, [[-0.7 * np.log(0.7), 0], [0, -0.3 * np.log(0.3)]], atol=1e-14)


@pytest.mark.parametrize("log_target", [False, True])
def test_js_div_at_its_ends_is_kl_div_and_its_reverse(log_target: bool) -> None:
    logs = (logarithm(PREDICTIONS[1:]), logarithm(TARGETS[1:]))
    targets = logs[1] if log_target else TARGETS[1:]
    loss = jax.value_and_grad(jaxloss.js_div)
    forward = loss(logs[0], targets, beta=0.0, log_target=log_target)
    expected = jax.value_and_grad(jaxloss.kl_div)(logs[0], targets, log_target=log_target)
    np.testing.assert_allclose(forward[0], expected[0], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(forward[1], expected[1], rtol=1e-13, atol=1e-14)

    reverse = jaxloss.js_div(logs[1], np.exp(logs[0]), beta=1.0)
    np.testing.assert_allclose(reverse, expected[0], rtol=1e-13, atol=1e-14)
    # What the other thought impossible costs infinitely, with a finite gradient.
    value, slopes = loss(logs[0], targets, beta=1.0, log_target=log_target)
    assert value == np.inf
    assert np.isfinite(slopes).all()
    assert jaxloss.js_div(logs[1], np.exp(logs[0]), beta=0.0) == np.inf


def test_js_div_beta_may_be_traced() -> None:
    def loss(beta: Any) -> Any:
        return jaxloss.js_div(np.log(PREDICTIONS[1:]), PREDICTIONS[:0:-1], beta=beta)

    betas = np.array([0.0, 1e-9, 0.3, 1.0])
    looped = [loss(beta) for beta in betas]
    np.testing.assert_allclose(jax.vmap(loss)(betas), looped, rtol=1e-12)


@pytest.mark.parametrize("gap", [1e-6, 1e-3, 0.7])
def test_js_div_keeps_its_digits(gap: float) -> None:
    rows = np.log(np.array([0.3, 0.7])), np.log(np.array([0.3 + 0.3 * gap, 0.7 - 0.3 * gap]))
    with mpmath.workdps(50):
        p, t = ([mpmath.exp(mpmath.mpf(float(x))) for x in row] for row in rows)
        m = [(a + b) / 2 for a, b in zip(p, t, strict=True)]
        expected = sum(q * mpmath.log(q / mean) for row in (p, t) for q, mean in zip(row, m, strict=True)) / 2
        # The exponentials of rounded logs do not sum to 1: to their gap the loss is linear.
        linear = sum(p) / 2 + sum(t) / 2 - sum(m)
    value = jaxloss.js_div(rows[0], rows[1], log_target=True)
    np.testing.assert_allclose(value, float(expected - linear), rtol=1e-9)


# Plainly differentiated, a quotient squares what it divides by.
TINY = np.array([-45.0], np.float32), np.array([3.8e-20], np.float32)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.875])
def test_js_div_has_gradients_of_tiny_probabilities(beta: float) -> None:
    slopes = jax.grad(jaxloss.js_div, argnums=(0, 1))(*TINY, beta=beta)
    p, t = np.exp(TINY[0], dtype=np.float64), TINY[1].astype(np.float64)
    m = beta * t + (1 - beta) * p
    expected = (-t, np.log(t / p) + 1) if beta == 0 else ((1 - beta) * p * np.log(p / m), beta * np.log(t / m))
    np.testing.assert_allclose(slopes, expected, rtol=1e-4)


def test_generalized_kl_div_has_gradients_of_tiny_amounts() -> None:
    slopes = jax.grad(jaxloss.generalized_kl_div, argnums=(0, 1))(*TINY)
    p, t = np.exp(TINY[0], dtype=np.float64), TINY[1].astype(np.float64)
    np.testing.assert_allclose(slopes, (p - t, np.log(t / p)), rtol=1e-4)


# --- gaussian_kl ------------------------------------------------------------------------------------------------------


def test_gaussian_kl_of_the_prior_is_zero() -> None:
    means, log_variances = np.array([[0.5, 1e30]]), np.array([[-1e4, 1e4]])
    loss = jax.value_and_grad(jaxloss.gaussian_kl, argnums=(0, 1))
    value, slopes = loss(means, log_variances, prior_means=means, prior_log_variances=log_variances)
    assert value == 0
    assert not np.any(slopes)


@pytest.mark.parametrize("log_variance", [1e-6, -1e-3, 0.3, -50.0, 80.0])
def test_gaussian_kl_keeps_its_digits(log_variance: float) -> None:
    arguments = np.zeros(1, np.float32), np.array([log_variance], np.float32)
    with mpmath.workdps(50):
        u = mpmath.mpf(float(arguments[1][0]))
        expected = (mpmath.exp(u) - 1 - u) / 2
    np.testing.assert_allclose(jaxloss.gaussian_kl(*arguments), float(expected), rtol=3e-6 if u > 1 else 3e-7)
    slope = jax.grad(jaxloss.gaussian_kl, argnums=1)(*arguments)[0]
    np.testing.assert_allclose(slope, float(mpmath.expm1(u) / 2), rtol=3e-6 if u > 1 else 3e-7)


def test_gaussian_kl_up_to_the_largest_number() -> None:
    value = jaxloss.gaussian_kl(np.array([9e18, 2e19], np.float32), np.zeros(2, np.float32))
    np.testing.assert_allclose(value, (9e18**2 + 2e19**2) / 2, rtol=1e-6)


def test_gaussian_kl_prior_may_be_shared() -> None:
    means, log_variances = np.random.default_rng(0).normal(size=(2, 5, 3))
    shared = means[:1]
    expected = jaxloss.gaussian_kl(means, log_variances, prior_means=np.repeat(shared, 5, axis=0))
    np.testing.assert_allclose(jaxloss.gaussian_kl(means, log_variances, prior_means=shared), expected, rtol=1e-15)
    scalar = jaxloss.gaussian_kl(means, log_variances, prior_log_variances=jnp.array(0.5))
    every = jaxloss.gaussian_kl(means, log_variances, prior_log_variances=np.full((5, 3), 0.5))
    np.testing.assert_allclose(scalar, every, rtol=1e-15)
    with pytest.raises(ValueError, match="prior_means must be a scalar or have the rank of the loss"):
        jaxloss.gaussian_kl(means, log_variances, prior_means=shared[0])
