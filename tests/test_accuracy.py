"""The arithmetic of the accuracy study and its references, which are the definitions: both have to be right."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.accuracy import exact
from benchmarks.accuracy.exact import MP, Exact, gradient
from benchmarks.accuracy.outcomes import jaxloss_outcome, truth
from benchmarks.accuracy.subjects import SUBJECTS, WIDE_ROWS, Subject
from jaxloss import _core

LOSSES = {loss.__name__ for loss in _core._losses if loss.__module__.startswith("jaxloss.")}
SMALL = [subject for subject in SUBJECTS if subject.function is not None and subject.count > WIDE_ROWS]
CALLS = [
    pytest.param(
        subject, id=subject.name, marks=[pytest.mark.slow] * any(other.loss == subject.loss for other in SMALL[:i])
    )
    for i, subject in enumerate(SMALL)
]

FORMULAS: list[Callable[[Any, Any], Any]] = [
    lambda x, y: x + y - 3,
    lambda x, y: 2 - x * y * 3,
    lambda x, y: x / y - 1 / x + y / 2,
    lambda x, y: x**3 - y**0.5 + (-x) ** 2,
    lambda x, y: exact.exp(x) * exact.log(y),
    lambda x, y: exact.sqrt(x) * exact.tanh(y) + exact.sigmoid(x - y),
    lambda x, y: exact.absolute(x - y) * exact.softplus(x),
    lambda x, y: exact.normal_cdf(x) * exact.log_gamma(y),
    lambda x, y: exact.total([x * x, 3, y, x]),
    lambda x, y: exact.logsumexp([x, y, x * y]),
    lambda x, y: exact.largest([x, y, x + y]) + exact.hinge(x - y) + exact.hinge(y - x),
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_derivatives_are_those_of_finite_differences(formula: Callable[[Any, Any], Any]) -> None:
    point = (MP.mpf("0.7"), MP.mpf("1.3"))
    variables = tuple(map(Exact, point))
    slopes = gradient(formula(*variables), variables)
    for index, slope in enumerate(slopes):
        order = (1 - index, index)
        expected = MP.diff(lambda *values: formula(*map(Exact, values)).value, point, order)
        assert abs(slope - expected) < 1e-30


def test_a_kink_has_no_derivative_and_nothing_else_loses_its_own() -> None:
    x, y, z = map(Exact, (1, 1, 2))
    for kinked in (exact.absolute(x - y), exact.largest([x, y]), exact.hinge(x - y), exact.kink(3, x, y)):
        of_x, of_y, of_z = gradient(kinked * z, [x, y, z])
        assert MP.isnan(of_x)
        assert MP.isnan(of_y)
        assert of_z == kinked.value
    assert gradient(exact.absolute(x - y) ** 2, [x]) == [0]


def test_every_loss_is_studied() -> None:
    assert {subject.loss for subject in SUBJECTS if subject.function is not None} == LOSSES


# The references are not ours to copy from, nor are the losses theirs: in float64 both have to say the same. Of the
# inputs some are made to lose every digit, even so.
@pytest.mark.parametrize("subject", CALLS)
def test_the_references_are_what_the_losses_compute(subject: Subject) -> None:
    inputs = subject.inputs(24, jnp.float64, seed=1)
    true, outcome = truth(subject, inputs), jaxloss_outcome(subject, inputs)
    for name, actual in outcome.items():
        counted = np.isfinite(true[name])
        close = np.isclose(actual[counted], true[name][counted], rtol=1e-6, atol=1e-30)
        assert np.mean(close) > 0.7, (name, actual[counted][~close], true[name][counted][~close])
