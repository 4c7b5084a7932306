"""The kit, seen from outside: the decorator, the reduction, and means over micro-batches and devices."""

from __future__ import annotations

import functools
import inspect
import operator
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any, Literal

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Real

import jaxloss
from jaxloss import kit
from jaxloss._kit.decorator import loss_of

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
    example_loss(X, X, scale=0.5)
    events: list[str] = []

    def listen(event: str, *_: Any, **__: Any) -> None:
        events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        example_loss(X, X, scale=0.7)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not events


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


# --- what an argument is ----------------------------------------------------------------------------------------------

Inputs = Float[ArrayLike, "..."]


def kinds(function: Callable[..., Any]) -> dict[str, str]:
    made = loss_of(kit.loss_function()(function))
    assert made is not None
    return {name: parameter.kind.name for name, parameter in made.definition.parameters.items()}


def test_annotations_say_what_an_argument_is() -> None:
    def annotated_loss(
        floating: Inputs,
        array: Array,
        castable: Real[ArrayLike, "..."],
        also_castable: kit.Castable,
        integer: Integer[ArrayLike, "..."],
        either: Integer[ArrayLike, "..."] | Inputs,
        rows: kit.Ids,
        nested: tuple[tuple[Inputs, Inputs], ...],
        *,
        mask: kit.Mask | None = None,
        flag: bool = False,
        choice: Literal["a", "b"] = "a",
        size: int | None = None,
        sizes: tuple[int, ...] = (1,),
        order: kit.Static[float] = 2,
        number: float = 1.0,
        maybe: kit.Scalar | None = None,
        numbers: Inputs | None = None,
        label: kit.Label | None = -100,
        function: Callable[[Array], Array] = jnp.abs,
        anything: Any = 3,
    ) -> Array:
        raise NotImplementedError

    assert kinds(annotated_loss) == {
        **{"floating": "FLOATING", "array": "FLOATING", "castable": "CASTABLE", "also_castable": "CASTABLE"},
        **{"integer": "LABELS", "either": "LABELS_OR_PROBABILITIES", "rows": "IDS", "nested": "FLOATING"},
        **{"mask": "MASK", "flag": "STATIC", "choice": "STATIC", "size": "STATIC", "sizes": "STATIC"},
        **{"order": "STATIC", "number": "NUMBER", "maybe": "NUMBER", "numbers": "CASTABLE", "label": "LABELS"},
        **{"function": "FUNCTION", "anything": "STATIC"},
    }


def without_annotations(source: str) -> Callable[..., Any]:
    """A function as one is written in a notebook."""
    namespace: dict[str, Any] = {"kit": kit, "jnp": jnp}
    exec(textwrap.dedent(source), namespace)
    function: Callable[..., Any] = namespace["loss"]
    return function


def test_without_annotations_places_and_defaults_do() -> None:
    bare = """
        def loss(first, targets, labels, *, required, flag=False, name="x", size=3, nothing=None, number=1.0,
                 function=jnp.abs, where=None, valid=None, weights=None, reduction="mean"):
            ...
        """
    assert kinds(without_annotations(bare)) == {
        **{"first": "FLOATING", "targets": "CASTABLE", "labels": "LABELS_OR_PROBABILITIES", "required": "CASTABLE"},
        **{"flag": "STATIC", "name": "STATIC", "size": "STATIC", "nothing": "STATIC", "number": "NUMBER"},
        **{"function": "FUNCTION", "where": "MASK", "valid": "MASK", "weights": "CASTABLE", "reduction": "STATIC"},
    }


def test_an_integer_input_of_any_name_is_int32() -> None:
    @kit.loss_function()
    def ages_loss(predictions: Inputs, ages: Integer[ArrayLike, "..."], *, reduction: kit.Reduction = "mean") -> Array:
        assert jnp.asarray(ages).dtype == jnp.int32
        predictions, ages = kit.elementwise_inputs(None, predictions=predictions, ages=ages)
        return kit.reduce(jnp.where(ages > 1, predictions, 0), reduction=reduction)

    assert ages_loss(X, np.array([1, 2, 3, 4], np.uint8)) == 14 / 4
    with pytest.raises(TypeError, match=r"^ages_loss: ages must be integers, got float32"):
        ages_loss(X, X)


def test_a_flag_without_an_annotation_is_static() -> None:
    bare = """
        def loss(predictions, targets, *, halved=False, reduction="mean"):
            predictions, targets = kit.elementwise_inputs(None, predictions=predictions, targets=targets)
            values = jnp.square(predictions - targets)
            return kit.reduce(values / 2 if halved else values, reduction=reduction)
        """
    loss = kit.loss_function()(without_annotations(bare))
    assert loss(X, ZEROS, halved=True) == jaxloss.mse_loss(X, ZEROS) / 2


def test_an_annotation_that_cannot_be_evaluated_is_named() -> None:
    from jax.typing import ArrayLike as LocalName

    def local_loss(predictions: Inputs, targets: LocalName) -> Array:
        raise NotImplementedError

    with pytest.raises(TypeError, match=r"^local_loss: the annotation of targets cannot be evaluated .*LocalName"):
        kit.loss_function()(local_loss)


@pytest.mark.parametrize("names", [{"domains": {"margin": kit.POSITIVE}}, {"half": ("logits",)}])
def test_names_that_are_no_arguments_are_refused_where_the_loss_is_defined(names: dict[str, Any]) -> None:
    (option,) = names
    with pytest.raises(
        TypeError, match=rf"^unnamed_loss: {option} names (margin|logits), which is none of its arguments"
    ):

        @kit.loss_function(**names)
        def unnamed_loss(predictions: Inputs) -> Array:
            raise NotImplementedError


def test_a_loss_that_is_handed_a_function_is_not_compiled() -> None:
    def is_compiled(loss: Callable[..., Any]) -> bool:
        equations = jax.make_jaxpr(loss)(X, ZEROS).jaxpr.eqns
        return any(equation.params.get("name") == loss.__name__ for equation in equations)

    assert is_compiled(kit.loss_function()(_plain_squares))
    assert not is_compiled(kit.loss_function()(_squares))


def _squares(predictions: Inputs, targets: Inputs, *, function: Callable[[Array], Array] = jnp.square) -> Array:
    return kit.reduce(function(jnp.asarray(predictions) - jnp.asarray(targets)))


def _plain_squares(predictions: Inputs, targets: Inputs) -> Array:
    return kit.reduce(jnp.asarray(predictions) - jnp.asarray(targets))


# --- what JAX takes for an array --------------------------------------------------------------------------------------


class Parameter:
    """A variable of a network library that is no pytree."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __jax_array__(self) -> jax.Array:
        return jnp.asarray(self.value)


@pytest.mark.parametrize("wrapped", [nnx.Param, Parameter])
def test_variables_are_the_arrays_they_hold(wrapped: Callable[[Any], Any]) -> None:
    halves = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float16)
    labels = np.array([0, 1, 2, 1])
    variable = wrapped(jnp.asarray(halves))
    assert jaxloss.circle_loss(variable, labels) == jaxloss.circle_loss(halves, labels)
    assert jaxloss.cross_entropy(variable, wrapped(jnp.asarray(labels))) == jaxloss.cross_entropy(halves, labels)
    assert jaxloss.huber_loss(X, ZEROS, delta=wrapped(jnp.asarray(2.0))) == jaxloss.huber_loss(X, ZEROS, delta=2.0)
    where, weights = np.array([True, True, False, True]), np.arange(4.0)
    assert jaxloss.l1_loss(X, ZEROS, where=wrapped(jnp.asarray(where)), weights=wrapped(jnp.asarray(weights))) == (
        jaxloss.l1_loss(X, ZEROS, where=where, weights=weights)
    )
    with pytest.raises(TypeError, match=r"^mse_loss: predictions must be floating"):
        jaxloss.mse_loss(wrapped(jnp.asarray([3])), jnp.zeros(1))


@pytest.mark.parametrize("kind", [list, tuple])
def test_an_option_may_be_a_list_of_numbers(kind: Callable[[Any], Any]) -> None:
    untyped: Any = jaxloss
    predictions, levels = np.stack([X, 2 * X], axis=-1), [0.1, 0.9]
    expected = jaxloss.quantile_loss(predictions, X, quantiles=np.array(levels))
    assert untyped.quantile_loss(predictions, X, quantiles=kind(levels)) == expected
    head, tails = jnp.zeros((4, 4)), tuple((jnp.zeros((4, 2)), jnp.zeros((2, n))) for n in (2, 3))
    arguments = jnp.ones((2, 4)), jnp.array([0, 5]), head, tails
    value = untyped.adaptive_log_softmax_with_loss(*arguments, cutoffs=kind([2, 4]))
    assert value == jaxloss.adaptive_log_softmax_with_loss(*arguments, cutoffs=(2, 4))


# --- pickles ----------------------------------------------------------------------------------------------------------

NOTEBOOK = """
from __future__ import annotations
import cloudpickle, jaxtyping, sys
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxloss import kit

@kit.loss_function(domains={"scale": kit.Domain("positive", lambda x: x > 0)})
def loss(
    predictions: jaxtyping.Float[ArrayLike, "..."], targets: kit.Castable, *, scale: float = 1.0, reduction="mean"
) -> jaxtyping.Array:
    predictions, targets = kit.elementwise_inputs(None, predictions=predictions, targets=targets)
    return kit.reduce(scale * jnp.abs(predictions - targets), reduction=reduction)

sys.stdout.buffer.write(cloudpickle.dumps([loss, kit.partial_mean(loss)]))
"""


def test_losses_go_through_pickles() -> None:
    for loss in (jaxloss.huber_loss, jaxloss.partial_mean(jaxloss.huber_loss)):
        for dumps in (pickle.dumps, cloudpickle.dumps):
            assert str(pickle.loads(dumps(loss))(X, ZEROS)) == str(loss(X, ZEROS))


def test_a_loss_of_a_notebook_is_sent_by_value() -> None:
    sent = subprocess.run([sys.executable, "-c", NOTEBOOK], check=True, capture_output=True).stdout
    loss, partial = pickle.loads(sent)
    assert loss(X, np.zeros(4, int), scale=2) == 2 * X.mean()
    assert partial(X, ZEROS).value == jaxloss.partial_mean(loss)(X, ZEROS).value == X.mean()


def test_what_wraps_a_loss_is_none() -> None:
    @functools.wraps(jaxloss.mse_loss)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return jaxloss.mse_loss(*args, **kwargs)

    with pytest.raises(TypeError, match=r"^partial_mean: expected a loss"):
        jaxloss.partial_mean(wrapper)
    with pytest.raises(TypeError, match=r"^partial_mean: .*: use partial\(partial_mean\(loss\), ...\)$"):
        jaxloss.partial_mean(functools.partial(jaxloss.mse_loss, weights=np.ones(4)))
