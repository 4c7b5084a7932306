"""Likelihoods against densities that are not ours, and at the edges of their domains."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import jax
import mpmath
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


@pytest.mark.parametrize(("error", "beta"), [(1.1e18, 0.0), (5e18, 0.5)])
def test_gaussian_up_to_the_largest_number(error: float, beta: float) -> None:
    arguments = np.float32(0), np.float32(error), np.float32(2.7e-3)
    value, slopes = jax.value_and_grad(jaxloss.gaussian_nll_loss, argnums=(0, 1))(*arguments, beta=beta)
    slope = 2.7e-3**beta * error / 2.7e-3
    np.testing.assert_allclose((value, *slopes), (slope * error / 2, -slope, slope), rtol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        jaxloss.gaussian_nll_loss,
        jaxloss.laplace_nll_loss,
        jaxloss.crps_gaussian,
        lambda m, y, s: jaxloss.student_t_nll_loss(m, y, s, np.float32(3)),
        lambda m, y, s: jaxloss.gaussian_mixture_nll_loss(m[None], y, s[None], np.zeros(1, np.float32)),
    ],
)
@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-6])
def test_no_slope_up_to_eps_even_if_it_overflows_there(loss: Callable[..., Any], size: float) -> None:
    assert jax.grad(loss, argnums=2)(np.float32(-1e30), np.float32(1e30), np.float32(size)) == 0


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


# --- single precision against fifty digits ----------------------------------------------------------------------------


def compare(
    loss: Callable[..., Any], exact: Callable[..., Any], points: Sequence[tuple[float, ...]], atol: float = 1e-30
) -> None:
    """Values and gradients in float32 against an exact formula and its derivatives, where these fit."""
    arguments = tuple(np.array(column, np.float32) for column in zip(*points, strict=True))
    positions = tuple(range(len(arguments)))
    values, slopes = jax.vmap(jax.value_and_grad(loss, argnums=positions))(*arguments)
    with mpmath.workdps(100):
        for index, point in enumerate(zip(*arguments, strict=True)):
            numbers = [mpmath.mpf(float(number)) for number in point]
            np.testing.assert_allclose(values[index], float(exact(*numbers)), rtol=2e-6, err_msg=str(point))
            for position, number in enumerate(numbers):
                expected = float(slope_of(exact, numbers, position)) if number else math.nan
                if abs(expected) < 1e38:
                    found = slopes[position][index]
                    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol, err_msg=f"{point} {position}")


def slope_of(function: Callable[..., Any], numbers: list[Any], position: int) -> Any:
    def moved(number: Any) -> Any:
        return function(*numbers[:position], number, *numbers[position + 1 :])

    return mpmath.diff(moved, numbers[position], h=abs(numbers[position]) * mpmath.mpf(10) ** -25)


def exact_negative_binomial(mean: Any, count: Any, dispersion: Any) -> Any:
    failures = 1 / dispersion
    coefficient = mpmath.loggamma(count + failures) - mpmath.loggamma(failures) - mpmath.loggamma(count + 1)
    misses = failures * mpmath.log(failures / (failures + mean))
    return -coefficient - misses - (count * mpmath.log(mean / (failures + mean)) if count else 0)


def test_negative_binomial_from_poisson_to_extreme_dispersions() -> None:
    means, counts, dispersions = (0.01, 2.5, 3e4), (0, 0.4, 1, 3, 1e5), (1e-30, 1e-8, 1e-3, 1.0, 30.0, 1e6)
    points = [(m, y, a) for m in means for y in counts for a in dispersions]
    compare(jaxloss.negative_binomial_nll_loss, exact_negative_binomial, points, atol=1e-6)  # of slopes that pass 0


def test_negative_binomial_without_dispersion_is_poisson() -> None:
    means, counts = np.array([0.3, 3.0, 1e4]), np.array([0.0, 2.0, 1.0001e4])
    loss = jax.value_and_grad(lambda *args: jaxloss.negative_binomial_nll_loss(*args, reduction="sum"), argnums=(0, 2))
    value, slopes = loss(means, counts, np.zeros(3))
    expected = [float(m - y * mpmath.log(m) + mpmath.loggamma(y + 1)) for m, y in zip(means, counts, strict=True)]
    np.testing.assert_allclose(value, sum(expected), rtol=1e-11)
    np.testing.assert_allclose(slopes[0], 1 - counts / means, rtol=1e-11)
    np.testing.assert_allclose(slopes[1], (counts - np.square(counts - means)) / 2, rtol=1e-9)


def test_negative_binomial_of_no_count_at_mean_zero_costs_nothing() -> None:
    loss = jax.value_and_grad(jaxloss.negative_binomial_nll_loss)
    np.testing.assert_allclose(loss(np.float64(0), np.float64(0), np.float64(0.5)), (0, 1), rtol=1e-15)
    value, slope = loss(np.float64(0), np.float64(1), np.float64(0.5), eps=0.01)
    np.testing.assert_allclose(value, -math.log(0.01) + 3 * math.log(1.005), rtol=1e-13)
    assert slope == 0


def exact_student_t(location: Any, target: Any, scale: Any, df: Any) -> Any:
    norm = mpmath.log(df * mpmath.pi) / 2 + mpmath.loggamma(df / 2) - mpmath.loggamma((df + 1) / 2)
    return mpmath.log(scale) + norm + (df + 1) / 2 * mpmath.log1p(((target - location) / scale) ** 2 / df)


def test_student_t_from_few_degrees_of_freedom_to_the_normal_distribution() -> None:
    targets, dfs = (1e-20, 0.3, 2.5, 1e4, 1e15, 1e30), (1e-2, 0.7, 4.0, 1e3, 1e8)
    compare(jaxloss.student_t_nll_loss, exact_student_t, [(0, y, 0.75, v) for y in targets for v in dfs])

    arguments = np.float64(0.3), np.float64(1.2), np.float64(0.7)
    value, slopes = jax.value_and_grad(jaxloss.student_t_nll_loss, argnums=(0, 1, 2))(*arguments, np.float64(np.inf))
    np.testing.assert_allclose(value, -math.log(NormalDist(0.3, 0.7).pdf(1.2)), rtol=1e-14)
    np.testing.assert_allclose(slopes, (-0.9 / 0.49, 0.9 / 0.49, (1 - 0.81 / 0.49) / 0.7), rtol=1e-13)


def test_student_t_of_any_size() -> None:
    points = [(0.0, y, s, v) for y, s in ((1.0, 1e4), (3e16, 90.0), (1e30, 2e-6)) for v in (1e-30, 1e-10, 0.3)]
    points += [(0.0, 1e10, 1.0, 1e30), (0.0, 1e15, 1.0, 1e30), (0.0, 1e28, 2e28, 4e11)]
    compare(jaxloss.student_t_nll_loss, exact_student_t, points, atol=1e-37)


@pytest.mark.parametrize("scale", [0.0, 1e-9])
def test_laplace_scale_below_eps(scale: float) -> None:
    arguments = np.float64(1.0), np.float64(1.5), np.float64(scale)
    value, slopes = jax.value_and_grad(jaxloss.laplace_nll_loss, argnums=(0, 2))(*arguments, eps=0.01)
    np.testing.assert_allclose(value, np.log(0.02) + 0.5 / 0.01, rtol=1e-12)
    np.testing.assert_allclose(slopes, (-1 / 0.01, 0), rtol=1e-12)


def test_laplace_of_any_size() -> None:
    points = [(0.0, y, b) for y in (1e-30, 1.0, 1e30) for b in (1e-5, 2.0, 1e30)]
    compare(jaxloss.laplace_nll_loss, lambda m, y, b: mpmath.log(2 * b) + abs(y - m) / b, points)


def test_laplace_slope_has_the_sign_of_an_error_that_vanishes_beside_the_scale() -> None:
    slopes = jax.grad(jaxloss.laplace_nll_loss, argnums=(0, 1))(np.float32(2e-25), np.float32(3e-25), np.float32(1e25))
    np.testing.assert_allclose(slopes, (-1e-25, 1e-25), rtol=1e-6)


@pytest.mark.parametrize("distance", [1.0, 1e6, 1e15])
def test_mixture_of_targets_far_from_all_components(distance: float) -> None:
    means, scales = np.array([-1.0, 0.0, 2.0], np.float32), np.array([0.5, 2.0, 1.0], np.float32)
    arguments = means, np.float32(distance), scales, np.array([1.0, 0.5, -np.inf], np.float32)
    value, slopes = jax.value_and_grad(jaxloss.gaussian_mixture_nll_loss, argnums=(0, 1, 2, 3))(*arguments)
    with mpmath.workdps(50):
        density = sum(
            mpmath.exp(logit) * mpmath.npdf(mpmath.mpf(float(np.float32(distance))), mean, scale)
            for mean, scale, logit in ((-1, 0.5, 1.0), (0, 2, 0.5))
        ) / (mpmath.exp(1) + mpmath.exp(0.5))
        np.testing.assert_allclose(value, float(-mpmath.log(density)), rtol=1e-6)
    if distance > 1:  # the widest alone
        np.testing.assert_allclose(slopes[1], distance / 4, rtol=1e-6)
        np.testing.assert_allclose(slopes[2], (0, -(distance**2) / 8, 0), rtol=1e-6)


def test_mixture_of_equal_components_far_from_the_target() -> None:
    means, scales = np.full(3, 64.5, np.float32), np.zeros(3, np.float32)
    logits = np.array([0.5, -70, -0.5], np.float32)
    value, slopes = jax.value_and_grad(jaxloss.gaussian_mixture_nll_loss, argnums=(0, 1, 2, 3))(
        means, np.float32(-1e12), scales, logits
    )
    shares = np.exp(logits - np.logaddexp(0.5, -0.5))
    np.testing.assert_allclose(value, 5e35, rtol=1e-6)
    np.testing.assert_allclose(slopes[0], 1e24 * shares, rtol=1e-5)
    np.testing.assert_allclose(slopes[1], -1e24, rtol=1e-6)
    assert not np.any(slopes[2])
    np.testing.assert_allclose(slopes[3], np.zeros(3), atol=1e-7)


def test_mixture_tells_means_apart_that_are_alike_beside_the_error() -> None:
    arguments = np.array([0.5, -1.5], np.float32), np.float32(-1e28), np.zeros(2, np.float32), np.zeros(2, np.float32)
    slopes = jax.grad(jaxloss.gaussian_mixture_nll_loss, argnums=(0, 3))(*arguments)
    assert slopes[0].tolist() == [0, np.inf]  # 1e40
    assert slopes[1].tolist() == [0.5, -0.5]


def test_mixture_without_components_is_impossible() -> None:
    arguments = np.zeros(2), np.float64(1.0), np.ones(2), np.full(2, -np.inf)
    value, slopes = jax.value_and_grad(jaxloss.gaussian_mixture_nll_loss, argnums=(0, 1, 2, 3))(*arguments)
    assert value == np.inf
    assert not any(np.any(slope) for slope in slopes)


# --- Tweedie ----------------------------------------------------------------------------------------------------------


def exact_tweedie(power: Any, mean: Any, target: Any) -> Any:
    if target == 0:
        return 2 * mean ** (2 - power) / (2 - power)
    if power == 1:
        return 2 * (target * mpmath.log(target / mean) - target + mean)
    if power == 2:
        return 2 * (mpmath.log(mean / target) + target / mean - 1)
    powers = target ** (2 - power) / (1 - power) - target * mean ** (1 - power) * (2 - power) / (1 - power)
    return 2 * (powers + mean ** (2 - power)) / (2 - power)


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 1 + 1e-6, 1.5, 2 - 1e-6, 2.0, 3.0])
def test_tweedie_of_close_and_distant_means(power: float) -> None:
    exact_power = mpmath.mpf(float(np.float32(power)))
    points = [(m, y) for m in (1e-8, 0.3, 2.0, 1e8) for y in (1e-8, 0.31, 1.99, 2.001, 30.0, 1e8) if m != y]
    points = [point for point in points if abs(exact_tweedie(exact_power, *map(mpmath.mpf, point))) < 1e36]
    compare(lambda m, y: jaxloss.tweedie_loss(m, y, power=power), lambda m, y: exact_tweedie(exact_power, m, y), points)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.3, 2.0, 3.0])
def test_tweedie_is_differentiable_in_its_power(power: float) -> None:
    means, targets = np.array([2.0, 2.0, 0.1, 3.0]), np.array([1.999, 2.5, 30.0, 0.2])

    def loss(power: Any) -> Any:
        return jaxloss.tweedie_loss(means, targets, power=power, reduction="sum")

    with mpmath.workdps(80):
        pairs = [(mpmath.mpf(m), mpmath.mpf(y)) for m, y in zip(means.tolist(), targets.tolist(), strict=True)]
        shifted = mpmath.mpf(power) + mpmath.mpf(10) ** -20  # the formula is not defined at its limits
        for order, derivative in enumerate((loss, jax.grad(loss), jax.grad(jax.grad(loss)))):
            total = sum(
                mpmath.diff(lambda p, m=m, y=y: exact_tweedie(p, m, y), shifted, order, h=mpmath.mpf(10) ** -22)
                for m, y in pairs
            )
            np.testing.assert_allclose(derivative(np.float64(power)), float(total), rtol=1e-10)


@pytest.mark.parametrize(("size", "power"), [(1e25, 0.0), (1e-30, 3.0), (1e-30, 4.0)])
def test_tweedie_of_extreme_targets_that_are_met(size: float, power: float) -> None:
    loss = jax.value_and_grad(lambda m, y, p: jaxloss.tweedie_loss(m, y, power=p), argnums=(0, 1, 2))
    value, slopes = loss(np.float32(size), np.float32(size), np.float32(power))
    assert (value, *slopes) == (0, 0, 0, 0)


def test_tweedie_where_nothing_happened() -> None:
    loss = jax.value_and_grad(jaxloss.tweedie_loss, argnums=(0, 1))
    value, slopes = loss(np.float64(4.0), np.float64(0.0))
    np.testing.assert_allclose((value, *slopes), (8, 1, 0), rtol=1e-15)
    value, slopes = loss(np.float64(4.0), np.float64(0.0), power=2.0)
    assert value == np.inf
    assert np.isfinite(slopes).all()
    value, slopes = loss(np.float32(0.0), np.float32(0.0))
    assert 0 <= value < 1e-18
    assert np.isfinite(slopes).all()


def test_an_error_that_a_factor_would_make_too_large_is_divided_first() -> None:
    def loss(means: jax.Array) -> jax.Array:
        targets, variances = np.array([2.7335966e36], np.float32), np.array([2.4011542e8], np.float32)
        return jaxloss.gaussian_nll_loss(means, targets, variances, beta=0.5)

    np.testing.assert_allclose(jax.grad(loss)(np.zeros(1, np.float32)), -1.7641e32, rtol=1e-4)


def test_a_component_whose_error_overflows_has_no_gradient() -> None:
    def loss(scales: jax.Array) -> jax.Array:
        means = np.array([[1.7014118e38, 0, 0, 0, 0]], np.float32)
        return jaxloss.gaussian_mixture_nll_loss(means, np.zeros(1, np.float32), scales, np.zeros_like(means))

    np.testing.assert_allclose(jax.grad(loss)(np.full((1, 5), 0.5, np.float32)), [[0, 0.5, 0.5, 0.5, 0.5]], atol=1e-6)


def test_a_factor_that_underflows_leaves_nothing() -> None:
    def loss(means: jax.Array) -> jax.Array:
        variances = np.array([1e-6], np.float32)
        return jaxloss.gaussian_nll_loss(means, np.zeros(1, np.float32), variances, beta=10.0)

    assert jax.value_and_grad(loss)(np.array([0.5], np.float32)) == (0, 0)
