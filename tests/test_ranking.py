"""Losses of lists that are empty, of different lengths, or with items that are ruled out."""

import math

import jax
import numpy as np
import pytest

import jaxloss

INF = math.inf
SCORES = np.array([[2.0, 1.0, 0.0, -1.0], [0.5, 0.5, 3.0, 1.0]])
RELEVANCE = np.array([[3, 0, 1, 0], [0, 2, 0, 0]])


def test_the_sum_over_the_items() -> None:
    log_probs = SCORES - np.log(np.exp(SCORES).sum(-1, keepdims=True))
    values = jaxloss.ranking_softmax_loss(SCORES, RELEVANCE, reduction="none")
    np.testing.assert_allclose(values, -(RELEVANCE * log_probs).sum(-1), rtol=1e-14)


@pytest.mark.parametrize("axis", [0, 1])
def test_items_that_are_not_there(axis: int) -> None:
    valid = np.array([[True, False, True, True], [False] * 4])
    scores, relevance = np.where(valid, SCORES, np.nan), np.where(valid, RELEVANCE, np.nan)
    arrays = [np.moveaxis(x, -1, axis) for x in (scores, relevance, valid)]
    loss = jax.value_and_grad(jaxloss.ranking_softmax_loss)
    value, slopes = loss(*arrays[:2], valid=arrays[2], axis=axis)
    kept = SCORES[0, valid[0]], RELEVANCE[0, valid[0]]
    expected, expected_slopes = loss(*kept)
    np.testing.assert_allclose(value, expected, rtol=1e-14)  # the list without items does not count
    slopes = np.moveaxis(slopes, axis, -1)
    np.testing.assert_allclose(slopes[valid], expected_slopes, rtol=1e-13)
    assert not slopes[~valid].any()


def test_a_list_without_relevance_costs_nothing_and_counts() -> None:
    value, slopes = jax.value_and_grad(jaxloss.ranking_softmax_loss)(SCORES, RELEVANCE * np.array([[1], [0]]))
    np.testing.assert_allclose(value, jaxloss.ranking_softmax_loss(SCORES[0], RELEVANCE[0]) / 2, rtol=1e-14)
    assert not slopes[1].any()


def test_a_score_of_minus_infinity_rules_its_item_out() -> None:
    scores = np.array([[2.0, -INF, 0.0, -1.0], [0.5, 0.5, -INF, -INF]])
    value = jaxloss.ranking_softmax_loss(scores, RELEVANCE, reduction="none")
    expected = jaxloss.ranking_softmax_loss(scores, RELEVANCE, valid=scores > -INF, reduction="none")
    np.testing.assert_allclose(value, expected, rtol=1e-14)


def test_relevance_of_what_is_ruled_out_is_infinite() -> None:
    value, slopes = jax.value_and_grad(jaxloss.ranking_softmax_loss)(np.array([0.0, 0.0, -INF]), np.array([1, 0, 2]))
    assert value == INF
    assert np.isfinite(slopes).all()
