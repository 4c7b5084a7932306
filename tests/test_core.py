"""The shared machinery, seen from outside: the decorator, the reduction, and means over micro-batches and devices."""

import functools
import inspect
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import jaxloss
from jaxloss import kit

X = np.array([1.0, 2.0, 4.0, 8.0], np.float32)
ZEROS = np.zeros_like(X)


# --- reduce -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 15 / 4),
        ({"reduction": "sum"}, 15),
        ({"where": True}, 15 / 4),
        ({"where": X > 1}, 14 / 3),
        ({"where": False}, 0),
        ({"weights": 3}, 15 / 4),
        ({"weights": 3, "reduction": "sum"}, 45),
        ({"where": X > 1, "weights": [9, 1, 2, 1]}, (2 + 8 + 8) / 4),
        ({"normalizer": jnp.array([0.5, 1.0, 0.5, 1.0])}, 15 / 3),
        ({"normalizer": jnp.array([0.5, 1.0, 0.5, 1.0]), "weights": [1, 0, 2, 1], "where": X < 8}, 9 / 1.5),
    ],
)
def test_reduce(options: dict[str, Any], expected: float) -> None:
    if "weights" in options:
        options = {**options, "weights": np.array(options["weights"])}
    assert jaxloss.reduce(jnp.asarray(X), **options) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(2, 1), (1, 3), (2, 3), (1, 1), ()])
def test_masks_and_weights_stretch_along_axes_of_size_one(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    values, where, weights = rng.normal(size=(2, 3)), rng.random(shape) < 0.7, rng.random(shape)
    where_all, weights_all = np.broadcast_to(where, (2, 3)), np.broadcast_to(weights, (2, 3))
    expected = (values * weights_all)[where_all].sum() / max(weights_all[where_all].sum(), 1e-300)
    actual = jaxloss.reduce(jnp.asarray(values), where=where, weights=weights)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_entries_are_counted_beyond_the_integers_of_float32() -> None:
    count = 2**24 + 4
    partial = jaxloss.partial_mean(jaxloss.l1_loss)(
        np.broadcast_to(np.float32(1), count), np.broadcast_to(np.float32(1), count), where=np.ones(count, bool)
    )
    assert partial.weight == count


def test_half_precision_values_are_summed_in_float32() -> None:
    values = jnp.full(4096, 1.0, jnp.bfloat16)  # in bfloat16 a running sum of ones stands still at 256
    total = jaxloss.reduce(values, reduction="sum")
    assert total.dtype == jnp.float32
    assert total == 4096


# --- partial means ----------------------------------------------------------------------------------------------------


def test_a_mean_over_micro_batches_counts_examples_not_batches() -> None:
    partial = jaxloss.partial_mean(jaxloss.l1_loss)
    parts = [partial(jnp.array([2.0]), jnp.zeros(1)), partial(jnp.ones(3), jnp.zeros(3))]
    total: Any = sum(parts)  # which type checkers take for an int if there are no parts
    assert total.value == 1.25
    assert functools.reduce(operator.add, parts).value == 1.25
    assert jax.tree.map(jnp.add, *parts).value == 1.25


def test_partial_means_go_through_scan_and_vmap() -> None:
    partial = jaxloss.partial_mean(jaxloss.mse_loss)
    batches = jnp.arange(12.0).reshape(3, 4)
    where = jnp.arange(12).reshape(3, 4) < 10

    def step(carry: jaxloss.PartialMean, batch: Any) -> tuple[jaxloss.PartialMean, None]:
        x, mask = batch
        return carry + partial(x, jnp.zeros_like(x), where=mask), None

    scanned, _ = jax.lax.scan(step, jaxloss.PartialMean(jnp.zeros(()), jnp.zeros(())), (batches, where))
    mapped = jax.vmap(lambda x, mask: partial(x, jnp.zeros_like(x), where=mask))(batches, where)
    expected = jnp.mean(jnp.arange(10.0) ** 2)
    np.testing.assert_allclose(scanned.value, expected, rtol=1e-12)
    np.testing.assert_allclose(jax.tree.map(jnp.sum, mapped).value, expected, rtol=1e-12)


def test_the_mean_and_its_gradient_over_devices_are_those_of_the_whole_batch() -> None:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rng = np.random.default_rng(0)
    x, y, kernel = rng.normal(size=(16, 3)), rng.normal(size=(16,)), rng.normal(size=3)
    where = rng.random(16) < 0.4
    data = PartitionSpec("data")

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(PartitionSpec(), data, data, data), out_specs=PartitionSpec()
    )
    def over_devices(kernel: Any, x: Any, y: Any, where: Any) -> Any:
        return jax.lax.psum(jaxloss.partial_mean(jaxloss.mse_loss)(x @ kernel, y, where=where), "data").value

    def whole(kernel: Any) -> Any:
        return jaxloss.mse_loss(x @ kernel, y, where=where)

    value, gradient = jax.jit(jax.value_and_grad(over_devices))(kernel, x, y, where)
    np.testing.assert_allclose(value, whole(kernel), rtol=1e-12)
    np.testing.assert_allclose(gradient, jax.grad(whole)(kernel), rtol=1e-12)


def test_partial_mean_keeps_name_and_signature() -> None:
    partial = jaxloss.partial_mean(jaxloss.huber_loss)
    assert partial.__name__ == "huber_loss"
    assert "delta" in inspect.signature(partial).parameters


# --- the decorator ----------------------------------------------------------------------------------------------------


@kit.loss_function(domains={"scale": kit.POSITIVE, "targets": kit.SIGN})
def example_loss(
    predictions: Any,
    targets: Any,
    *,
    scale: Any = 1.0,
    signed: bool = False,
    where: Any = None,
    weights: Any = None,
    reduction: Any = "mean",
) -> jax.Array:
    """What the body was handed, as a loss."""
    assert isinstance(scale, float) or scale.dtype == predictions.dtype
    predictions, targets = kit.elementwise_inputs(where, predictions=predictions, targets=targets)
    values = scale * (predictions - targets if signed else jnp.abs(predictions - targets))
    return jaxloss.reduce(values, where=where, weights=weights, reduction=reduction)


def test_a_loss_is_compiled_once_for_all_values_of_its_scalars() -> None:
    compiled: list[str] = []
    example_loss(X, X, scale=0.5)
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: compiled.append(event))
    example_loss(X, X, scale=0.7)
    assert not compiled


def test_a_call_is_one_dispatch() -> None:
    jaxpr = jax.make_jaxpr(functools.partial(jaxloss.cross_entropy, label_smoothing=0.1))(np.eye(4), np.arange(4))
    assert [equation.primitive.name for equation in jaxpr.jaxpr.eqns] == ["jit"]


@pytest.mark.parametrize("scalar", [2, 2.0, np.float64(2), np.float16(2), jnp.float32(2), np.array(2)])
def test_scalars_and_weights_never_raise_the_dtype(scalar: Any) -> None:
    value = example_loss(X.astype(np.float16), X - 1, scale=scalar, weights=np.ones(4, np.float64))
    assert value.dtype == jnp.float32
    assert value == 2


@pytest.mark.parametrize("targets", [np.array([1, 0, 1, 0]), np.array([True, False, True, False]), X > 1])
def test_targets_may_be_integers_or_booleans(targets: np.ndarray) -> None:
    assert jaxloss.l1_loss(X, targets) == jaxloss.l1_loss(X, targets.astype(np.float32))


def test_without_x64_everything_is_float32() -> None:
    with jax.enable_x64(False):
        value, gradient = jax.value_and_grad(jaxloss.cross_entropy)(np.eye(4), np.arange(4), label_smoothing=0.1)
        assert value.dtype == gradient.dtype == jnp.float32


def test_errors_name_the_innermost_loss() -> None:
    @kit.loss_function()
    def outer_loss(predictions: Any, *, reduction: Any = "mean") -> jax.Array:
        return jaxloss.l1_loss(predictions, predictions[:1])

    with pytest.raises(ValueError, match=r"^l1_loss: "):
        outer_loss(X)
    with pytest.raises(TypeError, match=r"^outer_loss: "):
        outer_loss(X.astype(int))


def test_a_distance_that_closes_over_parameters_is_differentiated() -> None:
    def loss(scale: Any) -> Any:
        return jaxloss.triplet_margin_with_distance_loss(
            *(np.eye(3), 2 * np.eye(3), 3 * np.ones((3, 3))),
            distance_function=lambda x, y: scale * jnp.sum(jnp.square(x - y), axis=-1),
            margin=100.0,
        )

    assert jax.grad(loss)(1.0) == pytest.approx(1 - (4 + 9 + 9))


def test_a_distance_that_changed_is_called_anew() -> None:
    class Scaled:
        scale = 1.0

        def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
            return self.scale * jnp.sum(jnp.abs(x - y), axis=-1)

    distance = Scaled()
    arguments = (np.zeros((2, 3)), np.ones((2, 3)), np.zeros((2, 3)))
    first = jaxloss.triplet_margin_with_distance_loss(*arguments, distance_function=distance, margin=0.0)
    distance.scale = 2.0
    second = jaxloss.triplet_margin_with_distance_loss(*arguments, distance_function=distance, margin=0.0)
    assert [float(first), float(second)] == [3, 6]
