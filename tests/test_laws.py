"""The laws of the library, each over every call of the catalogue.

A law is a statement about what a compiled program returns, and compiling is what takes the tests' time. So most laws
share three programs of each call: `program`, `in_precision` and `checked`. The rest is NumPy: outside `jax.jit` each
operation of `jax.numpy` is a program of its own. `pytest -p compilations` counts them.
"""

import inspect
import pickle
from collections.abc import Callable
from functools import cache, partial
from operator import attrgetter
from typing import Any, NamedTuple
from unittest import mock

import cloudpickle
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import CATALOGUE, CLASSES, Call
from flax import nnx
from jax.experimental import checkify
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxloss
from jaxloss._math import passes

N = 6
ALL = np.ones(N, bool)
ONES = np.ones(N)
SOME = np.array([True, False, True, True, False, False])

Test = Callable[..., None]
LAWS: dict[bool, list[Test]] = {False: [], True: []}  # of every loss, and of those with labels only
LABELLED = [call for call in CATALOGUE if call.has_class_labels]

# What calls have in common, of which one is enough for the laws that compile much.
LOSS, FAMILY = attrgetter("loss"), attrgetter("loss.__module__")


def law(calls: list[Call] = CATALOGUE, *, first_of: Callable[[Call], object] | None = None) -> Callable[[Test], Test]:
    """A test of every call, but for those that are exempt from it by its name; see `over`."""

    def registered(test: Test) -> Test:
        LAWS[calls is LABELLED].append(test)
        return over(calls, first_of=first_of)(test)

    return registered


def over(calls: list[Call], *, first_of: Callable[[Call], object] | None = None) -> Callable[[Test], Test]:
    """A test of some calls; with `first_of` it is slow for all but the first of those that have this in common."""

    def parametrized(test: Test) -> Test:
        held = [
            call
            for call in calls
            if test.__name__.removeprefix("test_") not in call.exempt
            and not (passes._ACCELERATOR_EVERYWHERE and call.loss not in losses_by_platform())
        ]
        first = {first_of(call) if first_of else call: call for call in reversed(held)}
        cases = [
            pytest.param(call, id=call.name, marks=[pytest.mark.slow] * (call not in first.values())) for call in held
        ]
        covering: pytest.MarkDecorator = pytest.mark.parametrize("call", cases)
        return covering(test)

    return parametrized


@cache
def losses_by_platform() -> set[Callable[..., Any]]:
    """The losses whose programs are not the same on all platforms."""
    found = set()
    for call in CATALOGUE:
        with mock.patch.object(passes, "by_platform", wraps=passes.by_platform) as by_platform:
            jax.eval_shape(partial(call.loss, **call.options), *call.inputs((N,)))
        if by_platform.called:
            found.add(call.loss)
    return found


class Outcome(NamedTuple):
    """What a call returned, and derivatives of the mean.

    `slope` and `curvature` are those of the mean and of its gradient along `directions`. The gradient is the rest, None
    where an argument is not floating.
    """

    none: np.ndarray
    sum: np.ndarray
    mean: np.ndarray
    partial: jaxloss.PartialMean
    slope: np.ndarray
    curvature: list[np.ndarray]
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    weights: np.ndarray

    @property
    def gradient(self) -> list[np.ndarray]:
        return jax.tree.leaves((self.inputs, self.options, self.weights))


@cache
def compiled(call: Call) -> Any:
    """All reductions and derivatives of a call, as a program of inputs, options, mask and weights."""

    @jax.jit
    def run(inputs: Any, options: Any, where: Any, weights: Any) -> Outcome:
        floating, rebuild = split((inputs, options, weights))

        def evaluate(loss: Callable[..., Any], floating: Any, **reduction: str) -> Any:
            inputs, options, weights = rebuild(floating)
            return loss(*inputs, **options, **call.static, where=where, weights=weights, **reduction)

        value_and_gradient = jax.value_and_grad(partial(evaluate, call.loss))
        along, _ = split(directions(call, inputs, options, weights))
        (mean, gradient), (slope, curvature) = jax.jvp(value_and_gradient, (floating,), (along,))
        none, total = (evaluate(call.loss, floating, reduction=reduction) for reduction in ("none", "sum"))
        parts = evaluate(jaxloss.partial_mean(call.loss), floating)
        return Outcome(none, total, mean, parts, slope, curvature, *rebuild(gradient, fill=False))

    return run


def program(call: Call) -> Callable[..., Outcome]:
    def evaluated(inputs: Any, where: Any = ALL, weights: Any = ONES, **options: Any) -> Outcome:
        outcome: Outcome = jax.device_get(compiled(call)(inputs, {**call.traced, **options}, where, weights))
        return outcome

    return evaluated


@cache
def in_precision(call: Call) -> Callable[..., Any]:
    """The sum and its gradient, as a program of inputs whose precision its caller chooses."""

    @jax.jit
    def run(inputs: Any) -> Any:
        floating, rebuild = split(inputs)

        def loss(floating: Any) -> Any:
            return call.loss(*rebuild(floating), **call.options, reduction="sum")

        return jax.value_and_grad(loss)(floating)

    return lambda inputs, dtype: jax.device_get(run(rounded(inputs, dtype)))


@cache
def checked(call: Call) -> Callable[..., Any]:
    """The mean and its gradient under `checkify`, with all options given that have numbers for a default."""
    parameters = inspect.signature(call.loss).parameters.values()
    defaults = {p.name: p.default for p in parameters if isinstance(p.default, (int, float))}

    @jax.jit
    @partial(checkify.checkify, errors=checkify.user_checks)
    def run(inputs: Any, where: Any, weights: Any) -> Any:
        floating, rebuild = split(inputs)

        def loss(floating: Any) -> Any:
            return call.loss(*rebuild(floating), **{**defaults, **call.options}, where=where, weights=weights)

        return jax.value_and_grad(loss)(floating)

    return run


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


def directions(call: Call, inputs: tuple[Any, ...], options: Any, weights: Any) -> tuple[Any, ...]:
    """A random direction to differentiate along, 0 for what cannot be moved."""
    rng = np.random.default_rng(1)

    def along(tree: Any, *, moved: bool) -> Any:
        return jax.tree.map(lambda x: np.asarray(moved * rng.normal(size=np.shape(x))) if is_float(x) else x, tree)

    moved = [along(x, moved=not kind.discrete) for kind, x in zip(call.kinds, inputs, strict=True)]
    return tuple(moved), along(options, moved="option_derivatives" not in call.exempt), along(weights, moved=True)


def rounded(tree: Any, dtype: Any) -> Any:
    """With what is floating in this dtype."""
    return jax.tree.map(lambda x: x.astype(dtype) if is_float(x) else x, tree)


def spoilt(array: np.ndarray, where: np.ndarray, value: float) -> np.ndarray:
    """A copy with a value in some of its rows."""
    array = np.array(array)
    array[where] = value
    return array


def test_exemptions_are_from_laws() -> None:
    laws = {name.removeprefix("test_") for name in globals()}
    parts = {"option_derivatives", "batch_sharding", "auto_batch_sharding", "class_sharding", "several_batch_axes"}
    parts |= {"edges_have_finite_curvatures"}  # in test_curvature.py
    for call in CATALOGUE:
        assert call.exempt <= laws | parts


# --- reductions, masks and weights ------------------------------------------------------------------------------------


@law()
def test_reductions_agree(call: Call) -> None:
    outcome = program(call)(call.inputs((N,)), weights=np.arange(1.0, N + 1))
    assert outcome.none.shape == (N,)
    assert_same(outcome.sum, outcome.none.sum())
    assert_same(outcome.partial.total, outcome.sum)
    assert_same(outcome.mean, outcome.partial.total / outcome.partial.weight)


@law()
def test_partial_means_add_up_to_the_mean(call: Call) -> None:
    inputs = call.inputs((N,))
    parts = [program(call)(inputs, where=mask).partial for mask in (SOME, ~SOME)]
    total: Any = sum(parts)
    assert_same(total.value, program(call)(inputs).mean)


@law()
def test_mask_is_indexing(call: Call) -> None:
    inputs = call.inputs((N,))
    indexed = call.batched(lambda x: np.concatenate([x[SOME], x[SOME]]), inputs)  # twice, for the program's shape
    outcome, expected = program(call)(inputs, where=SOME), program(call)(indexed)
    assert_same(outcome.mean, expected.mean)
    assert_same(outcome.none[SOME], expected.none[: SOME.sum()])
    assert_same(outcome.options, expected.options)
    assert not outcome.none[~SOME].any()


@law()
def test_weights_are_repetition_and_removal(call: Call) -> None:
    inputs = call.inputs((N,))
    repeats = np.array([2, 0, 1, 1, 2, 0])
    repeated = call.batched(lambda x: np.repeat(x, repeats, axis=0), inputs)
    weighted, expected = program(call)(inputs, weights=repeats.astype(float)), program(call)(repeated)
    assert_same(weighted.mean, expected.mean)
    assert_same(weighted.sum, expected.sum)
    assert_same(weighted.options, expected.options)


@law()
@pytest.mark.parametrize("nothing", [{"where": ~ALL}, {"weights": 0 * ONES}], ids=["masked", "weightless"])
def test_mean_over_nothing_is_zero(call: Call, nothing: dict[str, Any]) -> None:
    outcome = program(call)(call.inputs((N,)), **nothing)
    assert outcome.mean == 0
    assert outcome.sum == 0
    for derivative in (outcome.slope, *outcome.gradient, *outcome.curvature):
        assert not derivative.any()


@law(first_of=LOSS)
def test_mean_over_an_empty_batch_is_zero(call: Call) -> None:
    assert float(jax.jit(partial(call.loss, **call.options))(*call.inputs((0,)))) == 0


# --- what a mask hides, and what must show ----------------------------------------------------------------------------


@law()
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


@law()
def test_a_nan_that_counts_surfaces(call: Call) -> None:
    inputs = call.inputs((N,))
    for position, (kind, array) in enumerate(zip(call.kinds, inputs, strict=True)):
        if kind.batched and array.dtype == float:
            outcome = program(call)(replaced(inputs, position, spoilt(array, np.arange(N) == 2, np.nan)))
            assert np.isnan(outcome.mean), call.names[position]
            assert np.isnan(outcome.none).tolist() == [i == 2 for i in range(N)]


@law(LABELLED)
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


@law(LABELLED, first_of=FAMILY)
def test_every_integer_dtype_means_the_same_label(call: Call) -> None:
    inputs, position = call.inputs((N,)), call.names.index("labels")
    labels = inputs[position]
    unsigned = () if labels.min() < 0 else ("uint8", "uint16", "uint32", "uint64")
    means = jax.jit(lambda *cast: [call.loss(*replaced(inputs, position, x), **call.options) for x in cast])
    cast = [labels.astype(dtype) for dtype in ("int8", "int16", "int32", "int64", *unsigned)]
    for mean in means(*cast):
        assert_same(mean, program(call)(inputs).mean)
    # Numbers that would be another label, or the ignored one, if they wrapped.
    wrapping = {"uint32": 2**32 - 100, "int64": 2**32, "uint64": 2**63}
    beyond = [np.full_like(x, wrapping[x.dtype.name]) if x.dtype.name in wrapping else x for x in cast]
    assert [bool(np.isnan(mean)) for mean in means(*beyond)] == [x.dtype.name in wrapping for x in cast]


# --- transformations --------------------------------------------------------------------------------------------------


@law(first_of=FAMILY)
def test_compiled_is_eager(call: Call) -> None:
    inputs = call.inputs((N,))
    outcome = program(call)(inputs, where=SOME)
    with jax.disable_jit():
        assert_same(call.loss(*inputs, **call.options, where=SOME, reduction="none"), outcome.none)


@law()
def test_derivatives_are_those_of_the_value(call: Call) -> None:
    point = call.inputs((N,)), call.traced, np.linspace(0.5, 2.0, N)
    along = directions(call, *point)

    def moved(step: float) -> Outcome:
        shifted = jax.tree.map(lambda x, slope: x + step * slope if is_float(x) else x, point, along)
        inputs, options, weights = shifted
        return program(call)(inputs, weights=weights, **options)

    step = 1e-6
    at, above, below = moved(0), moved(step), moved(-step)
    assert_same(at.slope, (above.mean - below.mean) / (2 * step), 1e-7)
    reverse = [np.vdot(gradient, slope) for gradient, slope in zip(at.gradient, split(along)[0], strict=True)]
    assert_same(sum(reverse), at.slope, 1e-10)
    differences = [(x - y) / (2 * step) for x, y in zip(above.gradient, below.gradient, strict=True)]
    assert_same(at.curvature, differences, 1e-6)


@pytest.mark.slow
@law()
def test_transformations_agree_on_the_derivatives(call: Call) -> None:
    point = call.inputs((N,)), call.traced, np.linspace(0.5, 2.0, N)
    floating, rebuild = split(point)
    direction = np.concatenate([x.ravel() for x in split(directions(call, *point))[0]])
    ends = np.cumsum([x.size for x in floating])[:-1]

    def loss(flat: Any) -> Any:
        pieces = [part.reshape(x.shape) for part, x in zip(jnp.split(flat, ends), floating, strict=True)]
        inputs, options, weights = rebuild(pieces)
        return call.loss(*inputs, **options, **call.static, weights=weights)

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

    outcome = derivatives(np.concatenate([x.ravel() for x in floating]))
    for name in ("jacfwd", "checkpoint", "vmap"):
        assert_same(outcome[name], outcome["reverse"], 1e-10)
    for name in ("reverse over reverse", "hessian", "vmap of hessian"):
        assert_same(outcome[name], outcome["forward over reverse"], 1e-10)


@law(first_of=LOSS)
def test_vmap_is_a_loop(call: Call) -> None:
    inputs, masks = call.inputs((2, N // 2)), SOME.reshape(2, N // 2)
    axes = tuple(0 if kind.batched else None for kind in call.kinds)
    floating, rebuild = split(inputs)

    def loss(inputs: Any, where: Any) -> Any:
        return call.loss(*inputs, **call.options, where=where)  # without weights, unlike everywhere else

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def mapped(floating: Any) -> tuple[Any, Any]:
        means = jax.vmap(loss, in_axes=(axes, 0))(rebuild(floating), masks)
        return jnp.sum(means), means

    gradient, means = jax.device_get(mapped(floating))
    flat = call.batched(lambda x: x.reshape(N, *x.shape[2:]), inputs)
    for group, mean in enumerate(means):
        rows = np.arange(N) // (N // 2) == group
        expected = program(call)(flat, where=rows & SOME)
        assert_same(mean, expected.mean)
        for kind, actual, wanted in zip(call.kinds, rebuild(gradient, fill=False), expected.inputs, strict=True):
            if kind.batched and actual is not None:
                assert_same(actual[group], wanted[rows])


SCALED = [call for call in CATALOGUE if any(value.ndim == 0 for value in call.traced.values())]


@over(SCALED, first_of=LOSS)
def test_scalars_may_be_swept_without_retracing(call: Call) -> None:
    inputs = call.inputs((N,))
    scalars = {name: value for name, value in call.traced.items() if value.ndim == 0}
    others = {name: value for name, value in call.options.items() if name not in scalars}

    def loss(scalars: Any) -> Any:
        return call.loss(*inputs, **others, **scalars)

    def times(factor: int) -> dict[str, Any]:
        return {name: value * factor for name, value in scalars.items()}

    mapped = jax.jit(jax.vmap(loss))({name: np.stack([value, value * 2]) for name, value in scalars.items()})
    assert_same(mapped, np.array([program(call)(inputs, **times(factor)).mean for factor in (1, 2)]))
    if call.loss is not jaxloss.triplet_margin_with_distance_loss:  # it runs in its caller's trace
        once, again = (jax.make_jaxpr(partial(loss, times(factor)))().eqns[0].params["jaxpr"] for factor in (1, 2))
        assert once is again


@law(first_of=LOSS)
def test_defaults_given_are_defaults_left_out(call: Call) -> None:
    inputs = call.inputs((N,))
    mean, gradient = checked(call)(inputs, SOME, ONES)[1]
    outcome = program(call)(inputs, where=SOME)
    assert_same(mean, outcome.mean)
    assert_same(gradient, jax.tree.leaves(outcome.inputs))


# --- numbers ----------------------------------------------------------------------------------------------------------


@law(first_of=LOSS)
@pytest.mark.parametrize(
    "dtype",
    [jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.slow)],
    ids=lambda dtype: dtype.__name__,
)
def test_half_precision_computes_in_float32(call: Call, dtype: Any) -> None:
    (entries,) = {len(x) for kind, x in zip(call.kinds, call.edge_inputs(), strict=True) if kind.batched}
    halves = rounded(call.inputs((entries,)), dtype)  # of the shapes that the edges' law compiles
    value, gradient = in_precision(call)(halves, dtype)
    expected, expected_gradient = in_precision(call)(halves, jnp.float32)
    assert value.dtype == expected.dtype == jnp.float32
    assert [g.dtype for g in gradient] == [dtype] * len(gradient)
    assert [g.dtype for g in expected_gradient] == [jnp.float32] * len(gradient)
    assert_same(value, expected, 1e-6)
    with np.errstate(over="ignore"):  # what is beyond float16 is infinite in both
        expected_gradient = rounded(expected_gradient, dtype)
    assert_same(rounded(gradient, float), rounded(expected_gradient, float), 2 * float(jnp.finfo(dtype).eps))


@law()
@pytest.mark.parametrize(
    "dtype",
    [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)],
    ids=lambda dtype: dtype.__name__,
)
def test_edges_have_finite_gradients(call: Call, dtype: Any) -> None:
    total, gradient = in_precision(call)(call.edge_inputs(), dtype)
    assert not np.isnan(total)
    for leaf in gradient:
        assert np.isfinite(leaf).all()


# --- value checks -----------------------------------------------------------------------------------------------------


@law(first_of=LOSS)
def test_checkify_names_the_culprit(call: Call) -> None:
    inputs, check = call.inputs((N,)), checked(call)
    check(inputs, ALL, ONES)[0].throw()
    with pytest.raises(checkify.JaxRuntimeError, match=rf"^{call.loss.__name__}: weights must be .* -2\.0"):
        check(inputs, ALL, spoilt(ONES, ~SOME, -2.0))[0].throw()
    for position, kind in enumerate(call.kinds):
        if kind.invalid is not None:
            bad = replaced(inputs, position, spoilt(inputs[position], ~SOME, kind.invalid))
            with pytest.raises(
                checkify.JaxRuntimeError,
                match=rf"^{call.loss.__name__}: {call.names[position]} must be .* {kind.invalid}",
            ):
                check(bad, ALL, ONES)[0].throw()
            check(bad, SOME, ONES)[0].throw()


@law(first_of=FAMILY)
def test_checkify_finds_nothing_in_good_inputs(call: Call) -> None:
    floating, rebuild = split(call.inputs((N,)))

    def run(floating: Any) -> Any:
        return jax.value_and_grad(lambda floating: call.loss(*rebuild(floating), **call.options))(floating)

    for function, argument in ((run, floating), (jax.vmap(run), [np.stack([x, x]) for x in floating])):
        jax.jit(checkify.checkify(function, errors=checkify.all_checks))(argument)[0].throw()


# JAX starts a program with effects from Python, with all of a training step's arguments.
@law()
def test_value_checks_are_no_effects(call: Call) -> None:
    assert not compiled(call).trace(call.inputs((N,)), call.traced, ALL, ONES).jaxpr.effects


# --- devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@law()
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda axis_type: axis_type.name)
@pytest.mark.parametrize("sharded", ["batch", "classes"])
def test_sharded_is_whole_and_gathers_nothing(call: Call, axis_type: AxisType, sharded: str) -> None:
    by_class = sharded == "classes"
    inputs, traced = call.inputs((8,)), call.traced
    exempting = {f"{'class' if by_class else 'batch'}_sharding", f"{axis_type.name.lower()}_{sharded}_sharding"}
    if exempting & call.exempt or (by_class and np.ndim(inputs[0]) == 1):
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
@law()
def test_every_loss_lowers_for_cuda_and_tpu(call: Call) -> None:
    floating, rebuild = split(call.inputs((N,)))
    floating = [x.astype(np.float32) for x in floating]

    def loss(floating: Any, weights: Any) -> Any:
        return call.loss(*rebuild(floating), **call.options, where=ALL, weights=weights)

    exported = jax.export.export(jax.jit(jax.value_and_grad(loss)), platforms=["cuda", "tpu"])
    assert exported(floating, ONES.astype(np.float32)).platforms == ("cuda", "tpu")


@pytest.mark.slow
@law(first_of=LOSS)
def test_any_mixture_of_shardings_is_the_whole(call: Call) -> None:
    if "batch_sharding" in call.exempt:
        return
    inputs = call.inputs((8,))
    first = split(inputs)[0][0]
    batched = [i for i, kind in enumerate(call.kinds) if kind.batched and not isinstance(inputs[i], tuple)]
    mesh = jax.make_mesh((8,), ("devices",), axis_types=(AxisType.Explicit,))

    def loss(floating: Any, others: Any, where: Any) -> Any:
        return call.loss(*split(others)[1]([floating, *split(others)[0][1:]]), **call.options, where=where)

    expected = jax.jit(jax.value_and_grad(loss))(first, inputs, ALL[:1])
    with jax.set_mesh(mesh):
        for sharded in ({batched[0]}, {batched[-1]}, set(batched[1:]), set(batched)):
            specs = [PartitionSpec("devices") if i in sharded else PartitionSpec() for i in range(len(inputs))]
            placed = tuple(
                x if isinstance(x, tuple) else jax.device_put(x, NamedSharding(mesh, spec))
                for x, spec in zip(inputs, specs, strict=True)
            )
            assert_same(jax.jit(jax.value_and_grad(loss))(split(placed)[0][0], placed, ALL[:1]), expected, 1e-10)


@law(first_of=FAMILY)
def test_every_loss_exports_with_a_symbolic_batch(call: Call) -> None:
    inputs = call.inputs((N,))
    (size,) = jax.export.symbolic_shape("batch")

    def shape(x: Any, *, batched: bool) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]) if batched else x.shape, x.dtype), x)

    def gradient(inputs: Any) -> Any:
        floating, rebuild = split(inputs)
        return jax.value_and_grad(lambda floating: call.loss(*rebuild(floating), **call.options))(floating)

    shapes = tuple(shape(x, batched=kind.batched) for kind, x in zip(call.kinds, inputs, strict=True))
    exported = jax.export.export(jax.jit(gradient))(shapes)
    assert "batch" in str(exported.in_avals)


# --- objects ----------------------------------------------------------------------------------------------------------


@law(first_of=LOSS)
def test_losses_and_their_partial_means_can_be_pickled(call: Call) -> None:
    for dumps in (pickle.dumps, cloudpickle.dumps):
        if dumps is pickle.dumps and call.loss.__name__ not in vars(jaxloss):
            continue  # made in a function, as by make_fenchel_young_loss
        for function in (call.loss, jaxloss.partial_mean(call.loss)):
            again = pickle.loads(dumps(function))
            arguments = call.inputs((N,))
            found = jax.eval_shape(partial(again, **call.options), *arguments)
            assert found == jax.eval_shape(partial(function, **call.options), *arguments)


@law(first_of=LOSS)
def test_every_argument_may_be_a_variable_of_a_network(call: Call) -> None:
    def variables(tree: Any) -> Any:
        return jax.tree.map(lambda x: nnx.Variable(jnp.asarray(x)), tree)

    inputs, weights = call.inputs((N,)), nnx.Variable(jnp.asarray(ONES))
    found = jax.eval_shape(
        lambda: call.loss(*variables(inputs), **variables(call.traced), **call.static, weights=weights)
    )
    assert found.shape == ()
