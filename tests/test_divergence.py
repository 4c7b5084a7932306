"""Divergences where a probability is 0."""

import jax
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
