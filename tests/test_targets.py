"""Labels made into distributions, against optax, the standard library and their definitions."""

import itertools
import re
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
from jax.experimental import checkify

import jaxloss

LABELS = np.array([[0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])
BINS = np.array([-2.0, -0.5, 0.0, 3.0])
EDGES = np.array([-2.0, -0.5, 0.0, 3.0])
VALUES = np.array([-1.7, -0.4, 0.3, 2.9])


def expected_centre(values: Any) -> Any:
    return jaxloss.two_hot(values, BINS) @ BINS


# --- smooth_labels ----------------------------------------------------------------------------------------------------


def test_smooth_labels_is_that_of_optax() -> None:
    expected = optax.losses.smooth_labels(LABELS, 0.3)
    np.testing.assert_allclose(jaxloss.smooth_labels(LABELS, label_smoothing=0.3), expected, rtol=1e-15)
    columns = jaxloss.smooth_labels(LABELS.T, label_smoothing=0.3, axis=0)
    np.testing.assert_allclose(columns, expected.T, rtol=1e-15)


def test_smooth_labels_is_what_cross_entropy_does() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3))
    smoothed = jaxloss.smooth_labels(LABELS, label_smoothing=0.3)
    expected = jaxloss.cross_entropy(logits, LABELS, label_smoothing=0.3)
    np.testing.assert_allclose(jaxloss.cross_entropy(logits, smoothed), expected, rtol=1e-14)


# --- two_hot ----------------------------------------------------------------------------------------------------------


def test_two_hot_has_the_value_for_its_mean() -> None:
    rows = jaxloss.two_hot(VALUES, BINS)
    np.testing.assert_allclose(rows @ BINS, VALUES, rtol=1e-14)
    np.testing.assert_allclose(rows.sum(-1), 1, rtol=1e-14)
    assert (np.count_nonzero(rows, axis=-1) == 2).all()
    np.testing.assert_allclose(jax.vmap(jax.grad(expected_centre))(VALUES), 1, rtol=1e-14)


def test_two_hot_at_centres_and_beyond_them() -> None:
    np.testing.assert_array_equal(jaxloss.two_hot(BINS, BINS), np.eye(4))
    np.testing.assert_array_equal(jaxloss.two_hot(np.array([-9.0, np.inf]), BINS), np.eye(4)[[0, -1]])
    slopes = jax.vmap(jax.grad(expected_centre))(np.array([*BINS, -9.0, 9.0]))
    np.testing.assert_allclose(slopes, [1, 1, 1, 0, 0, 0], atol=1e-14)
    assert np.isnan(jaxloss.two_hot(np.array(np.nan), BINS)).all()


def test_two_hot_keeps_the_digits_of_a_small_share() -> None:
    row = jaxloss.two_hot(np.float32(1 - 2**-24), np.array([0.0, 1.0], np.float32))
    np.testing.assert_array_equal(row, np.array([2**-24, 1 - 2**-24], np.float32))


# --- hl_gauss_targets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.1, 0.75, 20.0])
def test_hl_gauss_targets_are_normal_probabilities_within_the_edges(sigma: float) -> None:
    for value, row in zip(VALUES, jaxloss.hl_gauss_targets(VALUES, EDGES, sigma=sigma), strict=True):
        normal = NormalDist(float(value), sigma)
        masses = np.diff([normal.cdf(edge) for edge in EDGES])
        np.testing.assert_allclose(row, masses / masses.sum(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("value", [-1e3, -40.0, -2.0, -1.0, 0.0, 3.5, 50.0, 1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hl_gauss_targets_far_from_the_edges(value: float, dtype: Any) -> None:
    row = jaxloss.hl_gauss_targets(dtype(value), EDGES.astype(dtype), sigma=0.8)
    slope = jax.jacfwd(jaxloss.hl_gauss_targets)(dtype(value), EDGES.astype(dtype), sigma=0.8)
    with mpmath.workdps(60):
        scaled = [(mpmath.mpf(float(edge)) - value) / mpmath.mpf(float(dtype(0.8))) for edge in EDGES]
        # Of the tails on either side, those that are small.
        tails = [mpmath.erfc(edge * (1 if value < 0 else -1) / mpmath.sqrt(2)) for edge in scaled]
        masses = [abs(high - low) for low, high in itertools.pairwise(tails)]
        expected = [float(mass / sum(masses)) for mass in masses]
    np.testing.assert_allclose(row, expected, rtol=100 * np.finfo(dtype).eps, atol=1e-30)
    np.testing.assert_allclose(row.sum(), 1, rtol=4 * np.finfo(dtype).eps)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("value", [-5.0, -0.4, 0.0, 2.0])
def test_hl_gauss_targets_have_derivatives_in_everything(value: float) -> None:
    def first(flat: Any) -> Any:
        return jaxloss.hl_gauss_targets(flat[0], flat[2:], sigma=flat[1]) @ np.array([0.3, -1.0, 2.0])

    flat, direction = np.array([value, 0.8, *EDGES]), np.array([0.5, 0.2, -0.1, 0.3, 0.2, -0.4])
    step = 1e-6 * direction
    actual = jax.jvp(first, (flat,), (direction,))[1]
    np.testing.assert_allclose(actual, (first(flat + step) - first(flat - step)) / 2e-6, rtol=1e-7)
    curvature = jax.jvp(jax.grad(first), (flat,), (direction,))[1]
    expected = (jax.grad(first)(flat + step) - jax.grad(first)(flat - step)) / 2e-6
    np.testing.assert_allclose(curvature, expected, rtol=1e-6, atol=1e-8)


def test_hl_gauss_targets_of_the_extreme() -> None:
    for value, nearest in ((-1e30, 0), (1e30, -1)):
        row = jaxloss.hl_gauss_targets(np.float32(value), EDGES.astype(np.float32), sigma=1e-3)
        np.testing.assert_array_equal(row, np.eye(3)[nearest])
    assert np.isnan(jaxloss.hl_gauss_targets(np.array(np.nan), EDGES, sigma=1.0)).all()


# --- all of them ------------------------------------------------------------------------------------------------------


CALLS: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "smooth_labels": (lambda x: jaxloss.smooth_labels(x, label_smoothing=0.1), LABELS),
    "two_hot": (lambda x: jaxloss.two_hot(x, BINS.astype(x.dtype)), VALUES),
    "hl_gauss_targets": (lambda x: jaxloss.hl_gauss_targets(x, EDGES.astype(x.dtype), sigma=0.75), VALUES),
}


@pytest.mark.parametrize("name", CALLS)
def test_vmap_is_a_loop_and_halves_are_computed_in_single_precision(name: str) -> None:
    function, inputs = CALLS[name]
    np.testing.assert_allclose(jax.vmap(function)(inputs), jnp.stack([function(x) for x in inputs]), rtol=1e-14)
    halves = inputs.astype(np.float16)
    assert function(halves).dtype == jnp.float32
    np.testing.assert_allclose(function(halves), function(halves.astype(np.float32)), rtol=1e-6)


ERRORS: dict[str, Callable[[], Any]] = {
    "smooth_labels: labels must be floating (16, 32 or 64 bits), got int64": (
        lambda: jaxloss.smooth_labels(LABELS.astype(int), label_smoothing=0.1)
    ),
    "smooth_labels: label_smoothing must be a scalar, got shape (3,)": (
        lambda: jaxloss.smooth_labels(LABELS, label_smoothing=LABELS[0])
    ),
    "two_hot: bins must have shape (8,), rising numbers, got (2, 4)": (
        lambda: jaxloss.two_hot(VALUES, np.stack([BINS, BINS]))
    ),
    "hl_gauss_targets: sigma must be a scalar, got shape (4,)": (
        lambda: jaxloss.hl_gauss_targets(VALUES, EDGES, sigma=jnp.asarray(VALUES))
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_wrong_arguments_are_refused(message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        ERRORS[message]()


def test_checkify_names_the_culprit() -> None:
    checked = jax.jit(checkify.checkify(jaxloss.two_hot, errors=checkify.user_checks))
    with pytest.raises(checkify.JaxRuntimeError, match=r"two_hot: bins must be rising, got -0\.5"):
        checked(VALUES, np.array([0.0, -0.5]))[0].throw()
