"""The functions that cancel when written down plainly, and their derivatives, against fifty digits."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxloss._math import logarithms, special
from jaxloss._math.arithmetic import quotient

AROUND_0 = [0.0, 1e-30, 1e-9, 1e-3, 0.1, 0.4, 0.6, 0.99, 1.01, 2.0, 7.0]
UPWARD = [*AROUND_0, 30.0, 1e4, 1e9]
EITHER_SIDE = [*AROUND_0, *(-x for x in AROUND_0[1:])]


def stirling_error(x: Any) -> Any:
    z = 1 / x
    return mpmath.loggamma(z) - (z - mpmath.mpf(1) / 2) * mpmath.log(z) + z - mpmath.log(2 * mpmath.pi) / 2


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[float]]] = {
    "exp_excess": (special.exp_excess, lambda x: mpmath.exp(x) - 1 - x, EITHER_SIDE),
    "exponential_growth": (
        lambda x: special.exponential_growth(jnp.ones_like(x), x),
        lambda x: (mpmath.exp(x) - 1) / x,
        EITHER_SIDE,
    ),
    "log1p_deficit": (special.log1p_deficit, lambda x: (x - mpmath.log(1 + x)) / x**2, [-0.4, -0.1, -1e-9, *UPWARD]),
    "log1p_over": (lambda x: logarithms.log1p_over(x, 3.0 + 0 * x), lambda x: mpmath.log(1 + 3 * x) / x, UPWARD),
    "log1p_product": (lambda x: logarithms.log1p_product(x, 3.0 + 0 * x), lambda x: mpmath.log(1 + 3 * x), UPWARD),
    "stirling_error": (special.stirling_error, stirling_error, UPWARD),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives(name: str) -> None:
    function, exact, points = FUNCTIONS[name]
    slope = jax.grad(function)
    derivatives = jax.jit(jax.vmap(lambda x: (function(x), slope(x), jax.grad(slope)(x))))(np.array(points))
    for order, actual in enumerate(derivatives):
        with mpmath.workdps(150):
            expected = [float(_derivative(exact, mpmath.mpf(x), order)) for x in points]
        # Stirling's error is among terms of the order of 1; at 0 the expected ones are but nearly so.
        np.testing.assert_allclose(actual, expected, rtol=2e-13, atol=1e-15 if name == "stirling_error" else 1e-39)


def _derivative(function: Callable[..., Any], x: Any, order: int) -> Any:
    step = mpmath.mpf(10) ** -40 * (abs(x) if abs(x) > 1e-20 else 1)
    if x == 0:
        x = step / 3  # where the function is its limit, to more digits than are compared
    return mpmath.diff(function, x, order, h=step * mpmath.mpf(10) ** -5)


@pytest.mark.parametrize(("x", "y"), [(1e30, 1e30), (1e-30, 1e38), (1e20, 2e-20), (1e38, 1e20)])
def test_products_beyond_single_precision(x: float, y: float) -> None:
    expected = float(mpmath.log1p(mpmath.mpf(x) * y))
    arguments = jnp.float32(x), jnp.float32(y)
    np.testing.assert_allclose(logarithms.log1p_product(*arguments), expected, rtol=1e-6)
    np.testing.assert_allclose(float(logarithms.log1p_over(*arguments)) * x, expected, rtol=1e-6)
    np.testing.assert_allclose(logarithms.log_ratio(*arguments), float(mpmath.log(mpmath.mpf(x) / y)), rtol=1e-6)


@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-3, 0.4, 0.6, 7.0, -1e-12, -0.4, -0.6, -0.999])
def test_entropy_gap_of_close_and_distant_numbers(gap: float) -> None:
    p = jnp.float64(0.3)
    value = special.entropy_gap(p, p * gap, jnp.log1p(gap))
    with mpmath.workdps(50):
        expected = mpmath.mpf(0.3) * (mpmath.mpf(gap) - mpmath.log1p(gap))
    np.testing.assert_allclose(value, float(expected), rtol=1e-13)  # XLA's log1p has 1e-14
    np.testing.assert_array_equal(special.entropy_gap(jnp.float64(0), jnp.float64(0.7), jnp.float64(0)), 0.7)


def test_the_derivative_of_a_quotient_does_not_overflow() -> None:
    slopes = jax.grad(quotient, argnums=(0, 1))(np.float32(1e30), np.float32(1e30))
    np.testing.assert_allclose(slopes, (1e-30, -1e-30), rtol=1e-6)
