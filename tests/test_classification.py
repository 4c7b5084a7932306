"""Classification losses where classes are ruled out, probabilities are 0 or 1, and logits are huge."""

import functools
import math
from typing import Any

import jax
import jaxlib
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxloss

INF = math.inf
LOGITS = np.array([1.0, -INF, 0.5, -2.0])


def cross_entropy(
    logits: np.ndarray, targets: list[float], smoothing: float = 0.0, z_loss_weight: float = 0.0
) -> float:
    """The definition, in double precision, over the classes that exist."""
    exist = [k for k, logit in enumerate(logits) if logit > -INF]
    top = max(float(logits[k]) for k in exist)
    log_sum = math.log(math.fsum(math.exp(float(logits[k]) - top) for k in exist))
    smoothed = {k: (1 - smoothing) * targets[k] + smoothing / len(exist) for k in exist}
    # Huge logits are subtracted first: log_sum would be lost beside them.
    nll = math.fsum(smoothed[k] * (log_sum + (top - float(logits[k]))) for k in exist)
    return nll + z_loss_weight * (log_sum + top) ** 2


def one_hot(label: int) -> list[float]:
    return [float(k == label) for k in range(4)]


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"z_loss_weight": 0.01}], ids=str)
@pytest.mark.parametrize("soft", [False, True])
def test_a_class_ruled_out_does_not_exist(soft: bool, options: dict[str, float]) -> None:
    labels = np.array(one_hot(2)) if soft else np.array(2)
    value, slopes = jax.value_and_grad(jaxloss.cross_entropy)(LOGITS, labels, **options)
    without = np.delete(LOGITS, 1)
    labels = np.delete(labels, 1) if soft else np.array(1)
    expected, slopes_without = jax.value_and_grad(jaxloss.cross_entropy)(without, labels, **options)
    oracle = cross_entropy(LOGITS, one_hot(2), options.get("label_smoothing", 0), options.get("z_loss_weight", 0))
    np.testing.assert_allclose((value, expected), oracle, rtol=1e-14)
    np.testing.assert_allclose(slopes, np.insert(slopes_without, 1, 0), rtol=1e-14)


def test_soft_labels_that_give_a_ruled_out_class_nothing() -> None:
    targets = [0.25, 0.0, 0.75, 0.0]
    value, slopes = jax.value_and_grad(jaxloss.cross_entropy, argnums=(0, 1))(LOGITS, np.array(targets))
    np.testing.assert_allclose(value, cross_entropy(LOGITS, targets), rtol=1e-14)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("labels", [np.array(1), np.array([0.5, 0.25, 0.25, 0.0])], ids=["integer", "soft"])
@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1}, {"label_smoothing": 1.0}, {"class_weights": np.ones(4)}], ids=str
)
def test_a_label_on_a_ruled_out_class(labels: np.ndarray, options: dict[str, Any]) -> None:
    value, slopes = jax.value_and_grad(jaxloss.cross_entropy)(LOGITS, labels, **options)
    assert value == INF
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("labels", [np.array(1), np.array([0.0, 1.0, 0.0, 0.0])], ids=["integer", "soft"])
def test_a_ruled_out_label_of_weight_zero_costs_nothing(labels: np.ndarray) -> None:
    options = {"class_weights": np.array([1.0, 0.0, 1.0, 1.0]), "reduction": "sum"}
    value, slopes = jax.value_and_grad(jaxloss.cross_entropy)(LOGITS, labels, **options)
    assert value == 0
    assert not slopes.any()


def test_all_classes_ruled_out() -> None:
    value, slopes = jax.value_and_grad(jaxloss.cross_entropy)(np.full(4, -INF), np.array(2), label_smoothing=0.1)
    assert value == INF
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("size", [1e4, 1e30, 1e38])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}], ids=str)
@pytest.mark.parametrize("label", [0, 1, 3])
def test_logits_of_any_size(label: int, options: dict[str, float], size: float) -> None:
    logits = (size * np.array([1.0, -1.0, 0.5, 1.0])).astype(np.float32)
    expected = cross_entropy(logits, one_hot(label), options.get("label_smoothing", 0))
    for labels in (np.array(label), np.array(one_hot(label), np.float32)):
        value, slopes = jax.value_and_grad(jaxloss.cross_entropy)(logits, labels, **options)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        smoothed = np.array(one_hot(label)) * (1 - sum(options.values())) + sum(options.values()) / 4
        np.testing.assert_allclose(slopes, [0.5, 0, 0, 0.5] - smoothed, atol=1e-6)


def test_logits_whose_difference_does_not_fit() -> None:
    logits, targets = np.array([3e38, -3e38, -3e38, -3e38], np.float32), [0.9, 0.1, 0.0, 0.0]
    value = jaxloss.cross_entropy(logits, np.array(targets, np.float32))
    np.testing.assert_allclose(value, cross_entropy(logits, targets), rtol=1e-5)


# The log of a sum in the exponent would round what the sum tells exactly.
def test_equal_logits_have_equal_probabilities_to_the_last_digit() -> None:
    slopes = jax.grad(jaxloss.cross_entropy)(np.zeros((1, 4096), np.float32), np.array([0]))
    np.testing.assert_array_equal(slopes[0, 1:], 1 / 4096)
    uniform = np.full((1, 5), 0.2, np.float32)
    assert not np.any(jax.grad(jaxloss.cross_entropy)(uniform, uniform))


def test_z_loss_counts_the_size_of_logits() -> None:
    logits = np.full((1, 4), 1e4)
    value, slopes = jax.value_and_grad(jaxloss.cross_entropy)(logits, np.array([0]), z_loss_weight=1e-4)
    log_z = 1e4 + math.log(4)
    np.testing.assert_allclose(value, math.log(4) + 1e-4 * log_z**2, rtol=1e-14)
    np.testing.assert_allclose(slopes, (0.25 - np.array([one_hot(0)])) + 2e-4 * log_z * 0.25, rtol=1e-14)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("soft", [False, True])
def test_a_prior_of_zero_rules_its_class_out(soft: bool, tau: float) -> None:
    def loss(logits: np.ndarray, log_prior: np.ndarray, tau: float) -> jax.Array:
        labels = np.array([0.0, 0.0, 1.0, 0.0]) if soft else np.array(2)
        return jaxloss.logit_adjusted_cross_entropy(logits, labels, log_prior=log_prior, tau=tau)

    logits, log_prior = np.array([1.0, 2.0, 0.5, -2.0]), np.array([-0.5, -INF, -1.0, -3.0])
    value, slopes = jax.value_and_grad(loss, argnums=(0, 1, 2))(logits, log_prior, tau)
    adjusted = np.where(log_prior == -INF, -INF, logits + tau * np.where(log_prior == -INF, 0, log_prior))
    np.testing.assert_allclose(value, cross_entropy(adjusted, one_hot(2)), rtol=1e-14)
    assert slopes[0][1] == slopes[1][1] == 0
    assert np.isfinite(slopes[2])


def test_a_label_on_a_class_of_prior_zero() -> None:
    loss = functools.partial(jaxloss.logit_adjusted_cross_entropy, log_prior=np.array([0.0, -INF]))
    value, slopes = jax.value_and_grad(loss)(np.zeros(2), np.array(1))
    assert value == INF
    assert np.isfinite(slopes).all()


def test_nll_of_what_was_thought_impossible() -> None:
    value, slopes = jax.value_and_grad(jaxloss.nll_loss)(np.array([0.0, -INF]), np.array(1))
    assert value == INF
    np.testing.assert_array_equal(slopes, [0, 0])  # finite, as an inf has no direction


@pytest.mark.parametrize(
    ("prob", "target", "expected"),
    [
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 0.0),
        (0.0, 1.0, 100.0),
        (1.0, 0.0, 100.0),
        (0.0, 0.3, 30.0),
        (1.0, 0.3, 70.0),
        (1e-30, 1.0, 30 * math.log(10)),
        (1e-20, 0.0, 1e-20),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_of_certainties(dtype: type, prob: float, target: float, expected: float) -> None:
    loss = jax.value_and_grad(jaxloss.binary_cross_entropy, argnums=(0, 1))
    value, slopes = loss(dtype(prob), dtype(target))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert np.isfinite(slopes).all()


def test_binary_cross_entropy_has_no_slope_where_its_bound_acts() -> None:
    slopes = jax.grad(jaxloss.binary_cross_entropy)(np.array([0.0, 1.0]), np.array([1.0, 0.0]), reduction="sum")
    assert not slopes.any()


@pytest.mark.parametrize("prob", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_binary_cross_entropy_of_what_is_no_probability(prob: float, target: float) -> None:
    assert np.isnan(jaxloss.binary_cross_entropy(np.float64(prob), np.float64(target)))


@pytest.mark.parametrize("pos_weight", [None, np.full(1, 3.0)], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(
    ("logit", "target", "expected"),
    [(INF, 1.0, 0.0), (-INF, 0.0, 0.0), (INF, 0.0, INF), (-INF, 1.0, INF), (INF, 0.5, INF), (-INF, 0.5, INF)],
)
def test_infinite_binary_logits(logit: float, target: float, expected: float, pos_weight: np.ndarray | None) -> None:
    loss = jax.value_and_grad(jaxloss.binary_cross_entropy_with_logits)
    value, slopes = loss(np.full(1, logit), np.full(1, target), pos_weight=pos_weight)
    assert value == expected
    assert np.isfinite(slopes).all()


def test_binary_logit_of_no_axes_with_a_scalar_weight() -> None:
    value = jaxloss.binary_cross_entropy_with_logits(np.float64(0), np.float64(1), pos_weight=3.0)
    np.testing.assert_allclose(value, 3 * math.log(2), rtol=1e-14)


@pytest.mark.parametrize("size", [40.0, 1e4, 1e38])
@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_binary_logits_of_any_size(target: float, size: float) -> None:
    loss = jax.value_and_grad(jaxloss.binary_cross_entropy_with_logits)
    for logit, share in ((size, 1 - target), (-size, target)):
        value, slope = loss(np.float32(logit), np.float32(target))
        np.testing.assert_allclose(value, share * size, rtol=1e-6, atol=1e-16)
        np.testing.assert_allclose(slope, np.sign(logit) * share, rtol=1e-6, atol=1e-16)


def test_multilabel_soft_margin_without_a_class() -> None:
    targets = np.array([1.0, 0.0, 0.0, 1.0])
    value, slopes = jax.value_and_grad(jaxloss.multilabel_soft_margin_loss)(LOGITS, targets)
    terms = [math.log1p(math.exp(-1.0)), math.log1p(math.exp(0.5)), math.log1p(math.exp(2.0))]
    np.testing.assert_allclose(value, math.fsum(terms) / 3, rtol=1e-14)
    assert slopes[1] == 0
    assert jaxloss.multilabel_soft_margin_loss(LOGITS, np.array([1.0, 1.0, 0.0, 0.0])) == INF


def test_adaptive_softmax_is_a_distribution() -> None:
    random = np.random.default_rng(0)
    cutoffs, classes, features = (2, 5), 9, 3
    hidden, head, head_bias = random.normal(size=features), random.normal(size=(features, 4)), random.normal(size=4)
    tails = tuple((random.normal(size=(features, 2)), random.normal(size=(2, size))) for size in (3, 4))

    def softmax(logits: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(logits) / np.exp(logits).sum())

    shares = softmax(hidden @ head + head_bias)
    explicit = np.concatenate(
        [shares[:2], *(share * softmax(hidden @ a @ b) for share, (a, b) in zip(shares[2:], tails, strict=True))]
    )
    batch, labels = np.tile(hidden, (classes, 1)), np.arange(classes)
    loss = functools.partial(jaxloss.adaptive_log_softmax_with_loss, cutoffs=cutoffs, head_bias=head_bias)
    values = loss(batch, labels, head, tails, reduction="none")
    np.testing.assert_allclose(values, -np.log(explicit), rtol=1e-12)
    np.testing.assert_allclose(np.exp(-np.asarray(values)).sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("label", [-1, 9, 100])
def test_adaptive_softmax_of_a_label_that_is_no_class(label: int) -> None:
    tails = ((np.ones((3, 2)), np.ones((2, 3))), (np.ones((3, 2)), np.ones((2, 4))))

    def loss(hidden: jax.Array) -> jax.Array:
        labels = np.array(label)
        return jaxloss.adaptive_log_softmax_with_loss(hidden, labels, np.ones((3, 4)), tails, cutoffs=(2, 5))

    value, slopes = jax.value_and_grad(loss)(np.ones(3))
    assert np.isnan(value)
    assert np.isnan(slopes).all()


@pytest.mark.skipif(jaxlib.version.__version_info__ < (0, 10, 2), reason="XLA fused less before jaxlib 0.10.2")
@pytest.mark.parametrize("dtype", [np.float32, jax.numpy.bfloat16])
@pytest.mark.parametrize("kind", ["integers", "integers and every option", "probabilities"])
def test_cross_entropy_keeps_its_exponentials_where_the_gradient_will_be(dtype: Any, kind: str) -> None:
    rows, classes = 64, 4096
    logits = jax.ShapeDtypeStruct((rows, classes), dtype)
    labels = logits if kind == "probabilities" else jax.ShapeDtypeStruct((rows,), np.int32)
    options: dict[str, Any] = {}
    if kind == "integers and every option":
        class_weights = np.ones(classes, np.float32)
        options = {"label_smoothing": 0.1, "z_loss_weight": 0.01, "class_weights": class_weights}

    def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
        return jaxloss.cross_entropy(logits, labels, **options)

    memory = jax.jit(jax.value_and_grad(loss)).lower(logits, labels).compile().memory_analysis()
    assert memory is not None
    # A gradient in half precision is too small for them, and for targets in float32. Beside them there is 1% of the
    # logits as float32, and what there is per class, which is more than that of these few rows.
    kept = 0 if dtype == np.float32 else 2 if kind == "probabilities" else 1
    per_class = 5 * 4 * classes * ("class_weights" in options)
    assert memory.temp_size_in_bytes < (kept + 0.01) * rows * classes * 4 + per_class


def test_second_derivatives_are_shielded_too() -> None:
    logits, labels = np.random.default_rng(0).normal(size=(3, 4)), np.array([1, 2, 3])
    where = np.array([True, False, True])
    junk = np.where(where[:, None], logits, np.nan)
    loss = functools.partial(jaxloss.cross_entropy, labels=labels, where=where, label_smoothing=0.1)

    for second in (jax.hessian, lambda f: jax.jacrev(jax.grad(f))):
        expected, hidden = second(loss)(logits), second(loss)(junk)
        np.testing.assert_allclose(hidden, expected, rtol=1e-12, atol=1e-15)
        assert not np.asarray(hidden)[1].any()


@pytest.mark.parametrize("logit", [np.inf, -np.inf, 0.0])
@pytest.mark.parametrize(
    "loss",
    [jaxloss.binary_cross_entropy_with_logits, jaxloss.multilabel_soft_margin_loss, jaxloss.sigmoid_focal_loss],
)
def test_a_target_that_is_nan_surfaces_beside_any_logit(loss: Any, logit: float) -> None:
    assert np.isnan(loss(np.array([logit, 0.0]), np.array([np.nan, 1.0])))
    assert np.isfinite(loss(np.array([logit, 0.0]), np.array([float(logit > 0), 1.0])))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda axis_type: axis_type.name)
@pytest.mark.parametrize("soft", [False, True], ids=["integers", "probabilities"])
def test_every_option_of_cross_entropy_inside_shard_map(soft: bool, axis_type: AxisType) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(16, 4)), rng.integers(0, 4, 16)
    labels = np.asarray(jax.nn.softmax(rng.normal(size=(16, 4)))) if soft else labels
    options: dict[str, Any] = {"label_smoothing": 0.1, "z_loss_weight": 0.01, "class_weights": np.arange(1.0, 5)}
    mesh = jax.make_mesh((8,), ("devices",), axis_types=(axis_type,))

    def part(logits: Any, labels: Any) -> Any:
        partial = jaxloss.partial_mean(jaxloss.cross_entropy)(logits, labels, **options)
        return jax.lax.psum(partial, "devices").value

    whole = jax.jit(jax.value_and_grad(jaxloss.cross_entropy))(logits, labels, **options)
    with jax.set_mesh(mesh):
        rows = PartitionSpec("devices")
        mapped = jax.shard_map(part, mesh=mesh, in_specs=(rows, rows), out_specs=PartitionSpec())
        placed = jax.device_put((logits, labels), NamedSharding(mesh, rows))
        found = jax.jit(jax.value_and_grad(mapped))(*placed)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12), found, whole)


def test_the_log_of_the_least_normal_probability_is_its_log() -> None:
    least = np.finfo(np.float32).tiny
    np.testing.assert_allclose(jaxloss.binary_cross_entropy(least, np.float32(1)), 87.336545, rtol=1e-6)
