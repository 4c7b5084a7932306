"""CTC against the sum over all paths, and where there is none."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxloss

RANDOM = np.random.default_rng(0)
Logits = np.ndarray


def log_likelihood(logits: Logits, labels: tuple[int, ...], blank: int) -> float:
    """The definition: every path of frames, merged and stripped of blanks, that gives the labels."""
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    frames, classes = logits.shape
    paths = alignments(frames, classes, labels, blank)
    with np.errstate(divide="ignore"):
        return float(np.log(sum(np.exp(log_probs[range(frames), path].sum()) for path in paths)))


def alignments(frames: int, classes: int, labels: tuple[int, ...], blank: int) -> list[tuple[int, ...]]:
    return [
        path
        for path in itertools.product(range(classes), repeat=frames)
        if tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank) == labels
    ]


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


def test_ctc_second_derivatives() -> None:
    def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
        return jaxloss.ctc_loss(logits, labels, np.int32(4), np.int32(2))

    def definition(logits: jax.Array, paths: np.ndarray) -> jax.Array:
        return -jax.nn.logsumexp(jnp.sum(paths * jax.nn.log_softmax(logits)[None], axis=(1, 2)))

    gradient = jax.grad(loss)
    compositions = jax.jacfwd(gradient), jax.jacrev(gradient), jax.jacfwd(jax.jacfwd(loss))
    second = jax.jit(lambda *inputs: [composition(*inputs) for composition in compositions])
    hessian = jax.jit(jax.hessian(definition))
    random = RANDOM.normal(size=(4, 3))
    ties = np.zeros_like(random)  # the terms of a sum are equal
    for logits, labels in itertools.product([random, ties], [(1, 2), (1, 1)]):
        expected = hessian(logits, np.eye(3)[np.array(alignments(4, 3, labels, 0))])
        for actual in second(logits, np.array(labels)):
            np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


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
    with jax.debug_nans(True):
        value, slopes = jax.value_and_grad(ctc)(logits, (1, 2))
        curvatures = jax.hessian(lambda logits: ctc(logits, (1, 2)))(logits)
    np.testing.assert_allclose(value, -log_likelihood(logits, (1, 2), 0), rtol=1e-12)
    assert np.isfinite(slopes).all()
    assert np.isfinite(curvatures).all()
    assert slopes[1, 2] == slopes[2, 0] == 0
    assert not curvatures[1, 2].any()


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


def test_ctc_without_frames_or_sequences() -> None:
    lengths = np.zeros(2, np.int32), np.array([0, 1])
    value = jaxloss.ctc_loss(np.zeros((2, 0, 3)), np.ones((2, 1), np.int32), *lengths, reduction="none")
    assert value.tolist() == [0, np.inf]
    nothing = np.zeros((2, 0), np.int32)
    assert jaxloss.ctc_loss(np.zeros((2, 0, 4, 3)), np.zeros((2, 0, 2), np.int32), nothing, nothing) == 0


def random_batch(*batch: int, frames: int, classes: int, symbols: int) -> tuple[np.ndarray, ...]:
    """Sequences of several lengths, with repeated labels."""
    logits = RANDOM.normal(size=(*batch, frames, classes)).astype(np.float32)
    labels = RANDOM.integers(1, classes, (*batch, symbols))
    label_lengths = RANDOM.integers(symbols // 2, symbols + 1, batch)
    return logits, labels, RANDOM.integers(2 * symbols, frames + 1, batch), label_lengths


def test_ctc_of_long_sequences_in_single_precision() -> None:
    logits, *rest = random_batch(2, frames=400, classes=8, symbols=100)
    gradient = jax.value_and_grad(lambda logits: jaxloss.ctc_loss(logits, *rest, reduction="sum"))
    value, slopes = gradient(logits)
    expected, expected_slopes = gradient(logits.astype(np.float64))
    assert value.dtype == slopes.dtype == np.float32
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(slopes, expected_slopes, atol=2e-4)
    np.testing.assert_allclose(slopes.sum(-1), 0, atol=1e-5)  # the posteriors of each frame are a distribution


def test_ctc_keeps_one_number_per_state_and_frame() -> None:
    logits, *rest = random_batch(4, frames=200, classes=3, symbols=50)
    gradient = jax.jit(jax.grad(lambda logits: jaxloss.ctc_loss(logits, *rest)))
    states = 4 * 200 * (2 * 50 + 1)
    memory: Any = gradient.lower(logits).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 1.5 * 4 * states


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda axis_type: axis_type.name)
@pytest.mark.parametrize("shared", [False, True], ids=["labels mapped", "labels shared"])
def test_ctc_inside_shard_map(axis_type: AxisType, shared: bool) -> None:
    logits, *rest = random_batch(8, frames=10, classes=4, symbols=3)
    if shared:
        rest = [np.broadcast_to(array[:1], array.shape) for array in rest]

    def loss(logits: jax.Array) -> jax.Array:
        return jaxloss.ctc_loss(logits, *rest)

    def part(logits: jax.Array, *rest: jax.Array) -> jax.Array:
        mean: jax.Array = jax.lax.pmean(jaxloss.ctc_loss(logits, *rest), "devices")
        return mean

    mesh = jax.make_mesh((8,), ("devices",), axis_types=(axis_type,))
    mapped, whole = PartitionSpec("devices"), PartitionSpec()
    specs = (mapped, *[whole if shared else mapped] * 3)
    arrays = (logits, *[array[:1] if shared else array for array in rest])
    placed = [jax.device_put(x, NamedSharding(mesh, spec)) for x, spec in zip(arrays, specs, strict=True)]
    parts = jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=whole)
    for actual, expected in zip(
        jax.jit(jax.value_and_grad(parts))(*placed), jax.value_and_grad(loss)(logits), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
