"""Focal losses where predictions are certain, classes ruled out, and options at the ends of their ranges."""

import functools
import math
from typing import Any

import jax
import numpy as np
import pytest

import jaxloss

INF = math.inf
LOGITS = np.array([[1.0, -2.0, 0.5], [3.0, -INF, 0.0]])
LABELS = np.array([1, 2])
SOFT = np.array([[0.2, 0.5, 0.3], [0.75, 0.0, 0.25]])


def assert_same_loss(actual: Any, expected: Any, logits: np.ndarray, targets: np.ndarray) -> None:
    """Of value and gradient."""
    found, wanted = (jax.value_and_grad(loss)(logits, targets) for loss in (actual, expected))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-13, atol=1e-15), found, wanted)


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["integer", "soft"])
@pytest.mark.parametrize("options", [{}, {"class_weights": np.array([0.5, 2.0, 1.0])}], ids=["plain", "weighted"])
def test_softmax_focal_loss_without_focus_is_cross_entropy(labels: np.ndarray, options: dict[str, Any]) -> None:
    loss = functools.partial(jaxloss.softmax_focal_loss, gamma=0.0, **options)
    assert_same_loss(loss, functools.partial(jaxloss.cross_entropy, **options), LOGITS, labels)


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["integer", "soft"])
def test_poly_cross_entropy_without_its_term_is_cross_entropy(labels: np.ndarray) -> None:
    loss = functools.partial(jaxloss.poly_cross_entropy, poly_weight=0.0)
    assert_same_loss(loss, jaxloss.cross_entropy, LOGITS, labels)


def test_generalized_cross_entropy_at_its_ends() -> None:
    loss = functools.partial(jaxloss.generalized_cross_entropy, q=0.0)
    assert_same_loss(loss, jaxloss.cross_entropy, LOGITS, LABELS)
    wrong = functools.partial(jaxloss.generalized_cross_entropy, q=1.0)
    assert_same_loss(wrong, lambda x, y: 1 - jax.numpy.exp(-jaxloss.cross_entropy(x, y)), LOGITS[0], LABELS[0])


@pytest.mark.parametrize("q", [0.0, 1e-12, 1e-3, 0.1, 0.6])
def test_generalized_cross_entropy_as_a_function_of_q(q: float) -> None:
    # ∫ exp(-q t) dt from 0 to n, and its derivative in q, by a rule that is exact for smooth integrands.
    nll = 2.5
    nodes, weights = np.polynomial.legendre.leggauss(30)
    times = nll * (nodes + 1) / 2
    value, slope = (nll / 2 * weights @ (factor * np.exp(-q * times)) for factor in (1.0, -times))
    logits = np.array([0.0, math.log(math.expm1(nll))])
    loss = jax.value_and_grad(lambda q: jaxloss.generalized_cross_entropy(logits, np.array(0), q=q))
    np.testing.assert_allclose(loss(q), (value, slope), rtol=1e-12)


@pytest.mark.parametrize("targets", [0.0, 0.3, 1.0])
def test_binary_losses_without_focus_are_cross_entropy(targets: float) -> None:
    logits = np.array([0.0, 1.0, -5.0, 40.0, -1e30, INF])
    target = np.full(6, targets)
    for loss in (
        functools.partial(jaxloss.sigmoid_focal_loss, gamma=0.0),
        functools.partial(jaxloss.asymmetric_loss, gamma_neg=0.0, gamma_pos=0.0, clip=0.0),
    ):
        for one in range(6):
            assert_same_loss(loss, jaxloss.binary_cross_entropy_with_logits, logits[one], target[one])


@pytest.mark.parametrize("odds", [-30.0, -3.0, 3.0, 8.0, 20.0])
def test_nothing_is_lost_where_a_prediction_is_nearly_certain(odds: float) -> None:
    """In single precision, where 1 - p would be 0."""
    nll, complement = math.log1p(math.exp(-odds)), 1 / (1 + math.exp(odds))
    slope = -(complement**2) * (2 * nll * (1 - complement) + complement)
    row = np.array([odds, 0.0], np.float32)
    for loss, inputs, sign in (
        (jaxloss.softmax_focal_loss, (row, np.array(0)), 1),
        (jaxloss.softmax_focal_loss, (row, np.array([1.0, 0.0], np.float32)), 1),
        (jaxloss.sigmoid_focal_loss, (row[:1], np.array([1])), 1),
        (jaxloss.sigmoid_focal_loss, (-row[:1], np.array([0])), -1),
    ):
        value, slopes = jax.value_and_grad(loss)(*inputs)
        np.testing.assert_allclose(value, complement**2 * nll, rtol=5e-6)
        np.testing.assert_allclose(slopes[0], sign * slope, rtol=5e-6)
    value = jaxloss.poly_cross_entropy(row, np.array(0))
    np.testing.assert_allclose(value, nll + 2 * complement, rtol=5e-6)
    value = jaxloss.generalized_cross_entropy(row, np.array(0), q=1.0)
    np.testing.assert_allclose(value, complement, rtol=5e-6)


@pytest.mark.parametrize("labels", [np.array(1), np.array([0.5, 0.5, 0.0])], ids=["integer", "soft"])
@pytest.mark.parametrize("loss", [jaxloss.softmax_focal_loss, jaxloss.poly_cross_entropy])
def test_a_label_on_a_ruled_out_class(loss: Any, labels: np.ndarray) -> None:
    for logits in (LOGITS[1], np.full(3, -INF)):
        value, slopes = jax.value_and_grad(loss)(logits, labels)
        assert value == INF
        assert np.isfinite(slopes).all()


def test_a_ruled_out_label_of_weight_zero_costs_nothing() -> None:
    options = {"class_weights": np.array([1.0, 0.0, 1.0]), "reduction": "sum"}
    value, slopes = jax.value_and_grad(jaxloss.softmax_focal_loss)(LOGITS[1], np.array(1), **options)
    assert value == 0
    assert not slopes.any()


@pytest.mark.parametrize(("q", "expected"), [(0.0, INF), (0.5, 2.0), (1.0, 1.0)])
def test_generalized_cross_entropy_of_a_ruled_out_class_is_its_bound(q: float, expected: float) -> None:
    value, slopes = jax.value_and_grad(jaxloss.generalized_cross_entropy)(LOGITS[1], np.array(1), q=q)
    assert value == expected
    assert not slopes.any()


@pytest.mark.parametrize("labels", [np.array(0), np.array([1.0, 0.0, 0.0])], ids=["integer", "soft"])
def test_infinite_logits(labels: np.ndarray) -> None:
    only, meaningless = np.array([1.0, -INF, -INF]), np.array([INF, 0.0, 1.0])
    for loss in (jaxloss.softmax_focal_loss, jaxloss.poly_cross_entropy):
        value, slopes = jax.value_and_grad(loss)(only, labels)
        assert value == 0
        assert not slopes.any()
        assert np.isnan(loss(meaningless, labels))


@pytest.mark.parametrize(
    ("logit", "target", "expected"),
    [(INF, 1.0, 0.0), (-INF, 0.0, 0.0), (INF, 0.0, INF), (-INF, 1.0, INF), (-INF, 0.5, INF)],
)
def test_infinite_binary_logits(logit: float, target: float, expected: float) -> None:
    for loss in (
        jaxloss.sigmoid_focal_loss,
        functools.partial(jaxloss.sigmoid_focal_loss, gamma=0.0),
        functools.partial(jaxloss.asymmetric_loss, clip=0.0),
        functools.partial(jaxloss.asymmetric_loss, gamma_pos=0.0, clip=0.0),
    ):
        value, slopes = jax.value_and_grad(loss, argnums=(0, 1))(logit * np.ones(()), np.array(target))
        assert value == expected
        assert not np.any(slopes)
    assert jaxloss.sigmoid_focal_loss(np.array(INF), np.array(0.0), alpha=1.0) == 0


@pytest.mark.parametrize("size", [1e4, 1e30, 3e38])
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_binary_logits_of_any_size(target: float, size: float) -> None:
    focal = jax.value_and_grad(functools.partial(jaxloss.sigmoid_focal_loss, gamma=4.0))
    value, slope = focal(np.float32(size), np.float32(target))
    share = (1 - target) ** 5
    np.testing.assert_allclose((value, slope), (share * size, share), rtol=1e-6)


def test_logits_of_any_size_with_much_focus() -> None:
    logits = np.array([1.5e38, -1.5e38, 0.0], np.float32)
    for labels in (np.array(1), np.array([0.0, 1.0, 0.0], np.float32)):
        value, slopes = jax.value_and_grad(jaxloss.softmax_focal_loss)(logits, labels, gamma=5.0)
        np.testing.assert_allclose(value, 3e38, rtol=1e-6)
        np.testing.assert_allclose(slopes, [1, -1, 0], rtol=1e-6)


def test_asymmetric_loss_forgets_negatives_below_its_clip() -> None:
    loss = jax.grad(jaxloss.asymmetric_loss)
    for gamma in (0.0, 4.0):
        for logit in (-INF, -1e30, -3.0, 0.0):
            assert jaxloss.asymmetric_loss(np.array(logit), np.array(0), clip=0.5, gamma_neg=gamma) == 0
            assert loss(np.array(logit), np.array(0), clip=0.5, gamma_neg=gamma) == 0  # also exactly at it
    value = jaxloss.asymmetric_loss(np.array(INF), np.array(0), clip=0.5, gamma_neg=1.0)
    np.testing.assert_allclose(value, 0.5 * math.log(2), rtol=1e-14)
