"""The laws of the library, each over every call of the catalogue.

One compiled program per call serves most laws: it evaluates all reductions and the gradient of the mean for inputs,
options, mask and weights of fixed shapes, and a law is a statement about what it returns.
"""

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import CATALOGUE, CLASSES, Call
from jax.experimental import checkify
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxloss

N = 6
ALL = np.ones(N, bool)
ONES = np.ones(N)
SOME = np.array([True, False, True, True, False, False])


Test = Callable[..., None]
LAWS: dict[bool, list[Test]] = {False: [], True: []}  # of every loss, and of those with labels only
LABELLED = [call for call in CATALOGUE if call.has_class_labels]


def law(test: Test) -> Test:
    """A test of every call of the catalogue, but for those that are exempt from it by its name."""
    LAWS[False].append(test)
    return over(CATALOGUE)(test)


def dear_law(test: Test) -> Test:
    """The same for a test that compiles programs of its own: of all but the first call of each loss it is slow."""
    LAWS[False].append(test)
    return over(CATALOGUE, dear=True)(test)


def law_of_labels(test: Test) -> Test:
    """A test of every call whose labels are integers that name classes."""
    LAWS[True].append(test)
    return over(LABELLED)(test)


def over(calls: list[Call], *, dear: bool = False) -> Callable[[Test], Test]:
    """A test of some calls."""

    def parametrized(test: Test) -> Test:
        held = [call for call in calls if test.__name__.removeprefix("test_") not in call.exempt]
        first = {call.loss: call for call in reversed(held)}
        cases = [
            # The tests of one call stay on one worker, so that its program is compiled once.
            pytest.param(
                call,
                id=call.name,
                marks=[
                    pytest.mark.xdist_group(call.name),
                    *[pytest.mark.slow] * (dear and first[call.loss] is not call),
                ],
            )
            for call in held
        ]
        covering: pytest.MarkDecorator = pytest.mark.parametrize("call", cases)
        return covering(test)

    return parametrized


class Outcome(NamedTuple):
    """What a call returned; gradients are of the mean, None where an argument is not floating."""

    none: np.ndarray
    sum: np.ndarray
    mean: np.ndarray
    partial: jaxloss.PartialMean
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    weights: np.ndarray


@cache
def program(call: Call) -> Callable[..., Outcome]:
    @jax.jit
    def run(inputs: Any, options: Any, where: Any, weights: Any) -> Outcome:
        floating, rebuild = split((inputs, options, weights))

        def evaluate(loss: Callable[..., Any], floating: Any, **reduction: str) -> Any:
            inputs, options, weights = rebuild(floating)
            return loss(*inputs, **options, **call.static, where=where, weights=weights, **reduction)

        mean, gradient = jax.value_and_grad(partial(evaluate, call.loss))(floating)
        none, total = (evaluate(call.loss, floating, reduction=reduction) for reduction in ("none", "sum"))
        return Outcome(
            none, total, mean, evaluate(jaxloss.partial_mean(call.loss), floating), *rebuild(gradient, fill=False)
        )

    def evaluated(inputs: Any, where: Any = ALL, weights: Any = ONES, **options: Any) -> Outcome:
        outcome: Outcome = jax.device_get(run(inputs, {**call.traced, **options}, where, weights))
        return outcome

    return evaluated


def split(tree: Any) -> tuple[list[Any], Callable[..., Any]]:
    """The floating leaves, and how to put others in their place."""
    leaves, structure = jax.tree.flatten(tree)
    floating = [is_float(leaf) for leaf in leaves]

    def rebuild(replacements: list[Any], *, fill: bool = True) -> Any:
        fresh = iter(replacements)
        kept = leaves if fill else [None] * len(leaves)
        merged = [next(fresh) if moves else leaf for leaf, moves in zip(kept, floating, strict=True)]
        return jax.tree.unflatten(structure, merged)

    return [leaf for leaf, moves in zip(leaves, floating, strict=True) if moves], rebuild


def assert_same(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), actual, expected)


def is_float(x: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(x), jnp.floating))


def replaced(inputs: tuple[Any, ...], position: int, value: Any) -> tuple[Any, ...]:
    return (*inputs[:position], value, *inputs[position + 1 :])


def directions(call: Call, inputs: tuple[Any, ...], weights: np.ndarray) -> tuple[Any, ...]:
    """A random direction to differentiate along, 0 for what cannot be moved."""
    rng = np.random.default_rng(1)

    def along(tree: Any, *, moved: bool) -> Any:
        return jax.tree.map(lambda x: moved * rng.normal(size=np.shape(x)) if is_float(x) else x, tree)

    moved = [along(x, moved=not kind.discrete) for kind, x in zip(call.kinds, inputs, strict=True)]
    return tuple(moved), along(call.traced, moved="option_derivatives" not in call.exempt), along(weights, moved=True)


def spoilt(array: np.ndarray, where: np.ndarray, value: float) -> np.ndarray:
    """A copy with a value in some of its rows."""
    array = np.array(array)
    array[where] = value
    return array


def test_exemptions_are_from_laws() -> None:
    laws = {name.removeprefix("test_") for name in globals()}
    parts = {"option_derivatives", "batch_sharding", "class_sharding", "several_batch_axes"}
    for call in CATALOGUE:
        assert call.exempt <= laws | parts


# --- reductions, masks and weights ------------------------------------------------------------------------------------


@law
def test_reductions_agree(call: Call) -> None:
    outcome = program(call)(call.inputs((N,)), weights=np.arange(1.0, N + 1))
    assert outcome.none.shape == (N,)
    assert_same(outcome.sum, outcome.none.sum())
    assert_same(outcome.partial.total, outcome.sum)
    assert_same(outcome.mean, outcome.partial.total / outcome.partial.weight)


@law
def test_partial_means_add_up_to_the_mean(call: Call) -> None:
    inputs = call.inputs((N,))
    parts = [program(call)(inputs, where=mask).partial for mask in (SOME, ~SOME)]
    total: Any = sum(parts)
    assert_same(total.value, program(call)(inputs).mean)


@law
def test_mask_is_indexing(call: Call) -> None:
    inputs = call.inputs((N,))
    indexed = call.batched(lambda x: np.concatenate([x[SOME], x[SOME]]), inputs)  # twice, for the program's shape
    outcome, expected = program(call)(inputs, where=SOME), program(call)(indexed)
    assert_same(outcome.mean, expected.mean)
    assert_same(outcome.none[SOME], expected.none[: SOME.sum()])
    assert_same(outcome.options, expected.options)
    assert not outcome.none[~SOME].any()


@law
def test_weights_are_repetition_and_removal(call: Call) -> None:
    inputs = call.inputs((N,))
    repeats = np.array([2, 0, 1, 1, 2, 0])
    repeated = call.batched(lambda x: np.repeat(x, repeats, axis=0), inputs)
    weighted, expected = program(call)(inputs, weights=repeats.astype(float)), program(call)(repeated)
    assert_same(weighted.mean, expected.mean)
    assert_same(weighted.sum, expected.sum)
    assert_same(weighted.options, expected.options)


@law
@pytest.mark.parametrize("nothing", [{"where": ~ALL}, {"weights": 0 * ONES}], ids=["masked", "weightless"])
def test_mean_over_nothing_is_zero(call: Call, nothing: dict[str, Any]) -> None:
    outcome = program(call)(call.inputs((N,)), **nothing)
    assert outcome.mean == 0
    assert outcome.sum == 0
    for gradient in jax.tree.leaves((outcome.inputs, outcome.options, outcome.weights)):
        assert not gradient.any()


@law
def test_mean_over_an_empty_batch_is_zero(call: Call) -> None:
    assert call.loss(*call.inputs((0,)), **call.options) == 0


# --- what a mask hides, and what must show ----------------------------------------------------------------------------


@law
@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, 1e38])
def test_masked_junk_is_invisible(call: Call, junk: float) -> None:
    inputs = call.inputs((N,))
    label = 10**6 if junk > 0 else -7
    junked = call.batched(lambda x: spoilt(x, ~SOME, junk if x.dtype == float else label), inputs)
    clean = program(call)(inputs, where=SOME)
    with jax.debug_nans(True):
        outcome = program(call)(junked, where=SOME, weights=spoilt(ONES, ~SOME, junk))
    jax.tree.map(np.testing.assert_array_equal, outcome, clean)
    for kind, gradient in zip(call.kinds, outcome.inputs, strict=True):
        assert not (kind.batched and gradient is not None and gradient[~SOME].any())


@law
def test_a_nan_that_counts_surfaces(call: Call) -> None:
    inputs = call.inputs((N,))
    for position, (kind, array) in enumerate(zip(call.kinds, inputs, strict=True)):
        if kind.batched and array.dtype == float:
            outcome = program(call)(replaced(inputs, position, spoilt(array, np.arange(N) == 2, np.nan)))
            assert np.isnan(outcome.mean), call.names[position]
            assert np.isnan(outcome.none).tolist() == [i == 2 for i in range(N)]


@law_of_labels
@pytest.mark.parametrize("label", [-2, 77, 10**6])
def test_a_bad_label_poisons_value_and_gradient(call: Call, label: int) -> None:
    inputs, position = call.inputs((N,)), call.names.index("labels")
    bad = np.arange(N) == 2
    clean = program(call)(inputs)
    outcome = program(call)(replaced(inputs, position, spoilt(inputs[position], bad, label)))
    assert np.isnan(outcome.mean)
    assert np.isnan(outcome.none).tolist() == bad.tolist()
    assert np.isnan(outcome.inputs[0][bad]).any()
    assert_same(outcome.none[~bad], clean.none[~bad])
    assert np.isfinite(outcome.inputs[0][~bad]).all()


@over([call for call in LABELLED if "ignore_index" in inspect.signature(call.loss).parameters])
def test_an_ignored_label_is_a_mask(call: Call) -> None:
    inputs, position = call.inputs((N,)), call.names.index("labels")
    ignored = replaced(inputs, position, spoilt(inputs[position], ~SOME, call.options.get("ignore_index", -100)))
    counted = inputs[position] != call.options.get("ignore_index", -100)
    used = SOME & counted.reshape(N, -1).any(axis=-1)
    jax.tree.map(np.testing.assert_array_equal, program(call)(ignored), program(call)(inputs, where=used))


@law_of_labels
def test_every_integer_dtype_means_the_same_label(call: Call) -> None:
    inputs, position = call.inputs((N,)), call.names.index("labels")
    expected = call.loss(*inputs, **call.options)
    unsigned = () if inputs[position].min() < 0 else ("uint8", "uint16", "uint32", "uint64")
    for dtype in ("int8", "int16", "int32", *unsigned):
        assert_same(call.loss(*replaced(inputs, position, inputs[position].astype(dtype)), **call.options), expected)


@law_of_labels
@pytest.mark.parametrize("wrapping", [np.uint32(2**32 - 100), np.int64(2**32), np.uint64(2**63)])
def test_labels_do_not_wrap_into_other_labels(call: Call, wrapping: Any) -> None:
    inputs, position = call.inputs((N,)), call.names.index("labels")
    labels = np.full_like(inputs[position], wrapping, dtype=wrapping.dtype)
    assert np.isnan(call.loss(*replaced(inputs, position, labels), **call.options))


# --- transformations --------------------------------------------------------------------------------------------------


@dear_law
def test_compiled_is_eager(call: Call) -> None:
    inputs = call.inputs((N,))
    outcome = program(call)(inputs, where=SOME)
    with jax.disable_jit():
        assert_same(call.loss(*inputs, **call.options, where=SOME, reduction="none"), outcome.none)


def flattened(call: Call) -> tuple[Callable[[Any], Any], Any, Any]:
    """The mean as a function of one vector of all that is floating, that vector, and a direction to differentiate."""
    inputs, weights = call.inputs((N,)), np.linspace(0.5, 2.0, N)
    floating, rebuild = split((inputs, call.traced, weights))
    flat, unravel = ravel_pytree(floating)
    direction, _ = ravel_pytree(split(directions(call, inputs, weights))[0])

    def loss(flat: Any) -> Any:
        inputs, options, weights = rebuild(unravel(flat))
        return call.loss(*inputs, **options, **call.static, weights=weights)

    return loss, flat, direction


@law
def test_derivatives_are_those_of_the_value(call: Call) -> None:
    loss, flat, direction = flattened(call)

    @jax.jit
    def derivatives(flat: Any) -> tuple[Any, ...]:
        reverse, forward_over_reverse = jax.jvp(jax.grad(loss), (flat,), (direction,))
        return *jax.jvp(loss, (flat,), (direction,)), reverse, forward_over_reverse

    step = 1e-6
    _, forward, reverse, curvature = derivatives(flat)
    above, _, reverse_above, _ = derivatives(flat + step * direction)
    below, _, reverse_below, _ = derivatives(flat - step * direction)
    assert_same(forward, (above - below) / (2 * step), 1e-7)
    assert_same(reverse @ direction, forward, 1e-10)
    assert_same(curvature, (reverse_above - reverse_below) / (2 * step), 1e-6)


@pytest.mark.slow
@law
def test_transformations_agree_on_the_derivatives(call: Call) -> None:
    loss, flat, direction = flattened(call)
    gradient = jax.grad(loss)

    @jax.jit
    def derivatives(flat: Any) -> dict[str, Any]:
        return {
            "reverse": gradient(flat),
            "jacfwd": jax.jacfwd(loss)(flat),
            "checkpoint": jax.grad(jax.checkpoint(loss))(flat),
            "vmap": jax.vmap(gradient)(jnp.stack([flat, flat]))[1],
            "forward over reverse": jax.jvp(gradient, (flat,), (direction,))[1],
            "reverse over reverse": jax.grad(lambda x: gradient(x) @ direction)(flat),
            "hessian": jax.hessian(loss)(flat) @ direction,
            "vmap of hessian": jax.vmap(jax.hessian(loss))(jnp.stack([flat, flat]))[1] @ direction,
        }

    outcome = derivatives(flat)
    for name in ("jacfwd", "checkpoint", "vmap"):
        assert_same(outcome[name], outcome["reverse"], 1e-10)
    for name in ("reverse over reverse", "hessian", "vmap of hessian"):
        assert_same(outcome[name], outcome["forward over reverse"], 1e-10)


@dear_law
def test_vmap_is_a_loop(call: Call) -> None:
    inputs = call.inputs((2, N // 2))
    axes = tuple(0 if kind.batched else None for kind in call.kinds)

    def total(floating: Any) -> Any:
        rebuilt = rebuild(floating)
        return jnp.sum(jax.vmap(lambda *inputs: call.loss(*inputs, **call.options), in_axes=axes)(*rebuilt))

    floating, rebuild = split(inputs)
    gradient = rebuild(jax.jit(jax.grad(total))(floating), fill=False)
    flat = call.batched(lambda x: x.reshape(N, *x.shape[2:]), inputs)
    for group in range(2):
        rows = np.arange(N) // (N // 2) == group
        expected = program(call)(flat, where=rows)
        for kind, actual, wanted in zip(call.kinds, gradient, expected.inputs, strict=True):
            if kind.batched and actual is not None:
                assert_same(actual[group], wanted[rows])


@over([call for call in CATALOGUE if any(value.ndim == 0 for value in call.traced.values())], dear=True)
def test_scalars_may_be_swept_without_retracing(call: Call) -> None:
    inputs = call.inputs((N,))
    scalars = {name: value for name, value in call.traced.items() if value.ndim == 0}
    others = {name: value for name, value in call.options.items() if name not in scalars}
    sweep = {name: jnp.stack([value, value * 2]) for name, value in scalars.items()}
    mapped = jax.vmap(lambda scalars: call.loss(*inputs, **others, **scalars))(sweep)
    call.loss(*inputs, **others, **{name: value[0] for name, value in sweep.items()})
    traced: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: traced.append(event))
    looped = [call.loss(*inputs, **others, **{name: value[i] for name, value in sweep.items()}) for i in range(2)]
    if call.loss is not jaxloss.triplet_margin_with_distance_loss:  # it runs in its caller's trace
        assert not [event for event in traced if "jaxpr_trace" in event]
    assert_same(mapped, np.array(looped))


@dear_law
def test_defaults_given_are_defaults_left_out(call: Call) -> None:
    parameters = inspect.signature(call.loss).parameters.values()
    defaults = {p.name: p.default for p in parameters if isinstance(p.default, (int, float))}
    gradient = jax.value_and_grad(call.loss)

    @jax.jit
    def both(*inputs: Any) -> Any:
        given, left_out = {**defaults, **call.options}, call.options
        return [gradient(*inputs, **options, where=SOME) for options in (given, left_out)]

    assert_same(*both(*call.inputs((N,))))


# --- numbers ----------------------------------------------------------------------------------------------------------


@dear_law
@pytest.mark.parametrize(
    "dtype",
    [jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.slow)],
    ids=lambda dtype: dtype.__name__,
)
def test_half_precision_computes_in_float32(call: Call, dtype: Any) -> None:
    floating, rebuild = split(call.inputs((N,)))

    @jax.jit
    def evaluate(floating: Any) -> Any:
        return jax.value_and_grad(lambda floating: call.loss(*rebuild(floating), **call.options))(floating)

    halves = [jnp.asarray(x, dtype) for x in floating]
    value, gradient = evaluate(halves)
    expected, expected_gradient = evaluate([half.astype(jnp.float32) for half in halves])
    assert value.dtype == expected.dtype == jnp.float32
    assert [g.dtype for g in gradient] == [dtype] * len(gradient)
    assert [g.dtype for g in expected_gradient] == [jnp.float32] * len(gradient)
    assert_same(value, expected, 1e-6)
    rounded = [g.astype(dtype).astype(float) for g in expected_gradient]
    assert_same([g.astype(float) for g in gradient], rounded, 2 * float(jnp.finfo(dtype).eps))


@law
@pytest.mark.parametrize(
    "dtype",
    [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)],
    ids=lambda dtype: dtype.__name__,
)
def test_edges_have_finite_gradients(call: Call, dtype: Any) -> None:
    floating, rebuild = split(call.edge_inputs())
    floating = [jnp.asarray(x, dtype) for x in floating]

    @jax.jit
    def evaluate(floating: Any) -> Any:
        def loss(floating: Any) -> tuple[Any, Any]:
            values = call.loss(*rebuild(floating), **call.options, reduction="none")
            return jnp.sum(values), values

        return jax.grad(loss, has_aux=True)(floating)

    gradient, values = evaluate(floating)
    assert not jnp.isnan(values).any()
    for leaf in gradient:
        assert jnp.isfinite(leaf).all()


# --- value checks -----------------------------------------------------------------------------------------------------


@dear_law
def test_checkify_names_the_culprit(call: Call) -> None:
    inputs = call.inputs((N,))

    @jax.jit
    @partial(checkify.checkify, errors=checkify.user_checks)
    def checked(inputs: Any, where: Any, weights: Any) -> Any:
        floating, rebuild = split(inputs)
        return jax.grad(lambda floating: call.loss(*rebuild(floating), **call.options, where=where, weights=weights))(
            floating
        )

    checked(inputs, ALL, ONES)[0].throw()
    with pytest.raises(checkify.JaxRuntimeError, match=rf"^{call.loss.__name__}: weights must be .* -2\.0"):
        checked(inputs, ALL, spoilt(ONES, ~SOME, -2.0))[0].throw()
    for position, kind in enumerate(call.kinds):
        if kind.invalid is not None:
            bad = replaced(inputs, position, spoilt(inputs[position], ~SOME, kind.invalid))
            with pytest.raises(
                checkify.JaxRuntimeError,
                match=rf"^{call.loss.__name__}: {call.names[position]} must be .* {kind.invalid}",
            ):
                checked(bad, ALL, ONES)[0].throw()
            checked(bad, SOME, ONES)[0].throw()


# JAX starts a program with effects from Python, with all of a training step's arguments.
@law
def test_value_checks_are_no_effects(call: Call) -> None:
    floating, rebuild = split(call.inputs((N,)))
    gradient = jax.grad(lambda floating: call.loss(*rebuild(floating), **call.options, where=ALL, weights=ONES))
    assert not jax.make_jaxpr(gradient)(floating).effects


# --- devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@law
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda axis_type: axis_type.name)
@pytest.mark.parametrize("sharded", ["batch", "classes"])
def test_sharded_is_whole_and_gathers_nothing(call: Call, axis_type: AxisType, sharded: str) -> None:
    by_class = sharded == "classes"
    inputs, traced = call.inputs((8,)), call.traced
    if ("class" if by_class else "batch") + "_sharding" in call.exempt or (by_class and np.ndim(inputs[0]) == 1):
        return
    mesh = jax.make_mesh((CLASSES if by_class else 8,), ("devices",), axis_types=(axis_type,))

    def spec(x: Any, *, batched: bool = True) -> PartitionSpec:
        if by_class:
            return (
                PartitionSpec(*[None] * (np.ndim(x) - 1), "devices")
                if np.shape(x)[-1:] == (CLASSES,) and is_float(x)
                else PartitionSpec()
            )
        return PartitionSpec("devices") if batched else PartitionSpec()

    def placed(tree: Any, *, batched: bool) -> Any:
        return jax.tree.map(lambda x: jax.device_put(x, NamedSharding(mesh, spec(x, batched=batched))), tree)

    def loss(floating: Any, options: Any) -> Any:
        return call.loss(*rebuild(floating), **options, **call.static)

    floating, rebuild = split(inputs)
    expected = jax.jit(jax.value_and_grad(loss))(floating, traced)
    with jax.set_mesh(mesh):
        inputs = tuple(placed(x, batched=kind.batched) for kind, x in zip(call.kinds, inputs, strict=True))
        floating, rebuild = split(inputs)
        arguments = floating, placed(traced, batched=False)
        compiled = jax.jit(jax.value_and_grad(loss)).lower(*arguments).compile()
        assert_same(compiled(*arguments), expected, 1e-10)
    assert "all-gather" not in str(compiled.as_text())


@pytest.mark.slow
@law
def test_every_loss_lowers_for_cuda_and_tpu(call: Call) -> None:
    floating, rebuild = split(call.inputs((N,)))
    floating = [x.astype(np.float32) for x in floating]

    def loss(floating: Any, weights: Any) -> Any:
        return call.loss(*rebuild(floating), **call.options, where=ALL, weights=weights)

    exported = jax.export.export(jax.jit(jax.value_and_grad(loss)), platforms=["cuda", "tpu"])
    assert exported(floating, ONES.astype(np.float32)).platforms == ("cuda", "tpu")
