"""CTC against the sum over all paths, and where there is none."""

import itertools
from typing import Any

import jax
import numpy as np
import pytest

import jaxloss

RANDOM = np.random.default_rng(0)
Logits = np.ndarray


def log_likelihood(logits: Logits, labels: tuple[int, ...], blank: int) -> float:
    """The definition: every path of frames, merged and stripped of blanks, that gives the labels."""
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    frames, classes = logits.shape
    paths = (
        path
        for path in itertools.product(range(classes), repeat=frames)
        if tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank) == labels
    )
    with np.errstate(divide="ignore"):
        return float(np.log(sum(np.exp(log_probs[range(frames), path].sum()) for path in paths)))


def ctc(logits: Logits, labels: tuple[int, ...], **options: Any) -> jax.Array:
    lengths = np.int32(logits.shape[0]), np.int32(len(labels))
    return jaxloss.ctc_loss(logits, np.array(labels, np.int32), *lengths, **options)


@pytest.mark.parametrize(
    ("frames", "labels", "blank"),
    [
        (1, (1,), 0),
        (3, (1,), 0),
        (4, (1, 2), 0),
        (4, (1, 1), 0),
        (5, (2, 2, 1), 0),
        (3, (1, 2, 1), 0),
        (4, (0, 2), 1),
        (4, (0, 0), 2),
        (3, (), 0),
        (0, (), 0),
    ],
)
def test_ctc_is_the_sum_over_all_paths(frames: int, labels: tuple[int, ...], blank: int) -> None:
    logits = 2 * RANDOM.normal(size=(frames, 3))
    value, slopes = jax.value_and_grad(ctc)(logits, labels, blank=blank)
    np.testing.assert_allclose(value, -log_likelihood(logits, labels, blank), rtol=1e-12, atol=1e-12)

    differences = np.zeros_like(logits)
    for index in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[index] = 1e-5
        up, down = (log_likelihood(logits + sign * step, labels, blank) for sign in (1, -1))
        differences[index] = (down - up) / 2e-5
    np.testing.assert_allclose(slopes, differences, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize(
    ("frames", "labels"),
    [(1, (1, 2)), (2, (1, 1)), (0, (1,)), (4, (1, 1, 1))],
    ids=["short", "repeat", "no frame", "3"],
)
def test_ctc_without_alignment(frames: int, labels: tuple[int, ...], zero_infinity: bool) -> None:
    value, slopes = jax.value_and_grad(ctc)(RANDOM.normal(size=(frames, 3)), labels, zero_infinity=zero_infinity)
    assert value == (0 if zero_infinity else np.inf)
    assert not slopes.any()


def test_ctc_with_classes_ruled_out() -> None:
    logits = RANDOM.normal(size=(4, 3))
    logits[1, 2] = logits[2, 0] = -np.inf
    value, slopes = jax.value_and_grad(ctc)(logits, (1, 2))
    np.testing.assert_allclose(value, -log_likelihood(logits, (1, 2), 0), rtol=1e-12)
    assert np.isfinite(slopes).all()
    assert slopes[1, 2] == slopes[2, 0] == 0


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_of_a_label_ruled_out_in_every_frame(zero_infinity: bool) -> None:
    logits = RANDOM.normal(size=(4, 3))
    logits[:, 2] = -np.inf
    value, slopes = jax.value_and_grad(ctc)(logits, (1, 2), zero_infinity=zero_infinity)
    assert value == (0 if zero_infinity else np.inf)
    assert not slopes.any()


def test_ctc_ignores_what_lies_beyond_the_lengths() -> None:
    logits, labels = RANDOM.normal(size=(2, 6, 3)), np.array([[1, 2, 99], [2, -7, 0]])
    logits[0, 5:], logits[1, 3:] = np.nan, np.inf
    lengths = np.array([5, 3]), np.array([2, 1])
    loss = jax.value_and_grad(lambda logits: jaxloss.ctc_loss(logits, labels, *lengths, reduction="sum"))
    value, slopes = loss(logits)
    expected = -log_likelihood(logits[0, :5], (1, 2), 0) - log_likelihood(logits[1, :3], (2,), 0)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert not slopes[0, 5:].any()
    assert not slopes[1, 3:].any()
    np.testing.assert_allclose(slopes.sum(-1), 0, atol=1e-12)  # logits matter up to a constant per frame


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize(
    ("labels", "logit_length", "label_length"),
    [((0, 1), 4, 2), ((3, 1), 4, 2), ((-1, 1), 4, 2), ((1, 2), 5, 2), ((1, 2), -1, 2), ((1, 2), 4, 3), ((1, 2), 4, -1)],
)
def test_ctc_of_labels_and_lengths_that_cannot_be(
    labels: tuple[int, ...], logit_length: int, label_length: int, zero_infinity: bool
) -> None:
    def loss(logits: jax.Array) -> jax.Array:
        lengths = np.int32(logit_length), np.int32(label_length)
        return jaxloss.ctc_loss(logits, np.array(labels), *lengths, zero_infinity=zero_infinity)

    value, slopes = jax.value_and_grad(loss)(RANDOM.normal(size=(4, 3)))
    assert np.isnan(value)
    assert np.isnan(slopes).any()


@pytest.mark.parametrize("size", [1e4, 1e30, 1e37])
def test_ctc_with_logits_of_any_size(size: float) -> None:
    # The one path that costs nothing says 1, blank, 2. The path 1, 2, 1 differs in two frames.
    logits = size * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    value, slopes = jax.value_and_grad(ctc)(logits, (1, 2))
    assert value == 0
    assert not slopes.any()
    value, slopes = jax.value_and_grad(ctc)(logits, (1, 2, 1))
    np.testing.assert_allclose(value, 2 * size, rtol=1e-6)
    np.testing.assert_allclose(slopes, [[0, 0, 0], [1, 0, -1], [0, -1, 1]], atol=1e-6)


def test_ctc_over_no_symbols_at_all() -> None:
    logits = RANDOM.normal(size=(2, 4, 3))
    value = jaxloss.ctc_loss(logits, np.zeros((2, 0), np.int32), np.array([4, 2]), np.array([0, 0]), reduction="none")
    expected = [-log_likelihood(logits[0], (), 0), -log_likelihood(logits[1, :2], (), 0)]
    np.testing.assert_allclose(value, expected, rtol=1e-12)
