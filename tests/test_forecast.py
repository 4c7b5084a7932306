"""Losses of forecasts against their definitions, at kinks, limits and in the tails."""

import math
from statistics import NormalDist

import jax
import numpy as np
import pytest

import jaxloss

RANDOM = np.random.default_rng(0)


# --- quantiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_quantile_losses_are_least_at_the_quantile(level: float) -> None:
    targets = np.sort(RANDOM.normal(size=101))
    guesses, samples = (np.broadcast_to(x, (101, 101)) for x in (targets[:, None], targets))
    pinball = jaxloss.quantile_loss(guesses, samples, quantiles=level, reduction="none").mean(axis=1)
    assert np.argmin(pinball) == round(100 * level)
    one = jaxloss.quantile_huber_loss(guesses[:, :1], samples, quantiles=np.array([level]), delta=0.0, reduction="none")
    np.testing.assert_allclose(one, pinball, rtol=1e-12)


def test_several_quantiles_are_the_mean_of_each() -> None:
    predictions, targets, levels = RANDOM.normal(size=(3, 4, 2)), RANDOM.normal(size=(4, 2)), np.array([0.1, 0.4, 1.0])
    each = [
        jaxloss.quantile_loss(row, targets, quantiles=level, reduction="none")
        for row, level in zip(predictions, levels, strict=True)
    ]
    together = jaxloss.quantile_loss(predictions, targets, quantiles=levels, axis=0, reduction="none")
    np.testing.assert_allclose(together, np.mean(each, axis=0), rtol=1e-12)


def test_quantile_losses_have_subgradient_zero_at_the_target() -> None:
    point = np.full(3, 1.5)
    assert not jax.grad(jaxloss.quantile_loss)(point, point, quantiles=0.9).any()
    for delta in (0.0, 1.0):
        assert not jax.grad(jaxloss.quantile_huber_loss)(point, point, delta=delta).any()


def test_quantiles_and_samples_have_to_fit() -> None:
    rows = np.ones((3, 5))
    message = r"^quantile_loss: quantiles must have shape \(5,\), one per prediction, got \(2,\)"
    with pytest.raises(ValueError, match=message):
        jaxloss.quantile_loss(rows, rows[:, 0], quantiles=np.array([0.1, 0.9]))
    message = r"^quantile_loss: predictions \(3, 5\) and targets \(3,\) must have one shape"
    with pytest.raises(ValueError, match=message):
        jaxloss.quantile_loss(rows, rows[:, 0], quantiles=0.5)
    message = r"^quantile_huber_loss: targets must have shape \(3, 2\), for predictions \(3, 5\), got \(4, 2\)"
    with pytest.raises(ValueError, match=message):
        jaxloss.quantile_huber_loss(rows, np.ones((4, 2)))


def test_the_minimiser_of_the_expectile_loss_is_the_asymmetric_mean() -> None:
    targets, level = RANDOM.normal(size=50), 0.8
    expectile = 0.0
    for _ in range(99):
        shares = np.where(targets < expectile, 1 - level, level)
        expectile = float(np.sum(shares * targets) / np.sum(shares))
    slopes = jax.grad(jaxloss.expectile_loss)(np.full(50, expectile), targets, expectile=level)
    np.testing.assert_allclose(slopes.sum(), 0, atol=1e-12)


def test_expectile_of_a_half_is_half_the_square() -> None:
    arguments = RANDOM.normal(size=9), RANDOM.normal(size=9)
    np.testing.assert_allclose(jaxloss.expectile_loss(*arguments), jaxloss.mse_loss(*arguments) / 2, rtol=1e-12)


def test_quantile_huber_loss_over_a_vanishing_delta() -> None:
    arguments = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 6))
    for function in (jaxloss.quantile_huber_loss, jax.grad(jaxloss.quantile_huber_loss)):
        np.testing.assert_allclose(function(*arguments, delta=1e-9), function(*arguments, delta=0.0), rtol=1e-7)


# --- continuous ranked probability scores -----------------------------------------------------------------------------


@pytest.mark.parametrize("omega", [0.0, 1e-10, 0.5, -3.0, 40.0, -1e30])
@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e8])
def test_gaussian_crps_in_its_middle_and_tails(omega: float, scale: float) -> None:
    arguments = np.float32(0), np.float32(omega * scale), np.float32(scale)
    value, slopes = jax.value_and_grad(jaxloss.crps_gaussian, argnums=(0, 1, 2))(*arguments)
    inside = math.erf(omega / math.sqrt(2))
    outside = (math.sqrt(2) * math.exp(-omega * omega / 2) - 1) / math.sqrt(math.pi)
    np.testing.assert_allclose(value, scale * (omega * inside + outside), rtol=2e-6)
    np.testing.assert_allclose(slopes, (-inside, inside, outside), rtol=2e-6)


def test_gaussian_crps_is_an_integral_over_distributions() -> None:
    mean, target, scale = 0.3, 1.7, 2.0
    grid, step = np.linspace(-30, 30, 30_001, retstep=True)
    distribution = np.array([NormalDist(mean, scale).cdf(float(x)) for x in grid])
    value = jaxloss.crps_gaussian(np.float64(mean), np.float64(target), np.float64(scale))
    np.testing.assert_allclose(value, np.sum((distribution - (grid >= target)) ** 2) * step, rtol=1e-3)


def test_gaussian_scale_below_eps() -> None:
    arguments = np.float64(1.0), np.float64(1.5), np.float64(0.0)
    value, slopes = jax.value_and_grad(jaxloss.crps_gaussian, argnums=(0, 2))(*arguments, eps=1e-3)
    np.testing.assert_allclose(value, 0.5 - 1e-3 / math.sqrt(math.pi), rtol=1e-12)
    np.testing.assert_allclose(slopes, (-1, 0), rtol=1e-12)


def definition(members: np.ndarray, target: float, *, fair: bool) -> float:
    number = len(members)
    pairs = max(number * (number - fair), 1)
    return float(np.abs(members - target).mean() - np.abs(members[:, None] - members).sum() / (2 * pairs))


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("members", [[0.5], [2.0, 2.0], [3.0, 1.0, 2.0, 1.0], [1e6, 1e6 + 1, 1e6 + 3]], ids=str)
def test_ensemble_crps_is_its_definition(members: list[float], fair: bool) -> None:
    for target in (-1.0, 0.5, 1.0, 1.5, 2.0, 9.0, 1e6 + 2):
        arguments = np.array(members, np.float32), np.float32(target)
        value, slopes = jax.value_and_grad(jaxloss.crps_ensemble, argnums=(0, 1))(*arguments, fair=fair)
        np.testing.assert_allclose(value, definition(np.array(members), target, fair=fair), rtol=1e-6)
        np.testing.assert_allclose(slopes[1], np.sign(target - np.array(members)).mean(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(slopes[0].sum(), -slopes[1], rtol=1e-6, atol=1e-6)  # it moves with all members


def test_fair_ensemble_crps_is_that_of_the_distribution() -> None:
    drawn, targets = RANDOM.normal(size=(100_000, 4)), RANDOM.normal(size=100_000)
    for number in (2, 4):
        value = jaxloss.crps_ensemble(drawn[:, :number], targets, fair=True)
        np.testing.assert_allclose(value, 1 / math.sqrt(math.pi), rtol=2e-2)


def test_a_mean_over_samples_or_levels_overflows_only_if_it_is_too_large() -> None:
    predictions, levels = np.array([[3e38, 3e38, 3e38, 0, 0]], np.float32), np.full(5, 0.5, np.float32)
    found = jaxloss.quantile_loss(predictions, np.zeros(1, np.float32), quantiles=levels)
    np.testing.assert_allclose(found, 9e37, rtol=1e-6)
    found = jaxloss.quantile_huber_loss(np.array([[1.26e38, 0, 0, 0, 0]], np.float32), np.zeros((1, 3), np.float32))
    np.testing.assert_allclose(found, 1.134e38, rtol=1e-6)
