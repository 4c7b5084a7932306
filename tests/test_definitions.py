"""Losses are what their definitions say, in value and gradient; and the arithmetic of the definitions is right."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any

import definitions
import exact
import jax
import numpy as np
import pytest
from awkward import Draw, is_float, rounded
from catalogue import CATALOGUE, CLASSES, LABEL, LOSSES, SCORES, Call, call
from exact import MP, Exact, gradient
from test_laws import N, Outcome, over, program
from truth import truth

import jaxloss

# How a loss is laid out, reduced and computed, which laws are about: a definition is of one entry.
NOT_OF_AN_ENTRY = {"axis", "space", "where", "weights", "reduction", "chunk_size", "precision"}
TOLERANCE = 1e-11

over_losses = pytest.mark.parametrize("name", LOSSES)


# --- losses -----------------------------------------------------------------------------------------------------------


@over(CATALOGUE)
def test_losses_are_as_defined(call: Call) -> None:
    inputs = ignoring(call, call.inputs((N,)))
    check(call, inputs, program(call)(inputs))


def ignoring(call: Call, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs with a label that is ignored, if there is such a thing."""
    if call.has_class_labels and "ignore_index" in inspect.signature(call.loss).parameters:
        labels = inputs[call.names.index("labels")]
        labels.reshape(-1)[0] = call.options.get("ignore_index", -100)
    return inputs


def check(call: Call, inputs: tuple[Any, ...], outcome: Outcome) -> None:
    true = truth(call, inputs)
    close(outcome.none, true.values, "none")
    close(outcome.mean, true.reduced, "mean")
    for name, found, expected in zip(call.names, outcome.inputs, true.inputs, strict=True):
        close(found, expected, name)
    if "option_derivatives" not in call.exempt:
        for name, expected in true.options.items():
            close(outcome.options[name], expected, name)


def close(found: Any, expected: Any, what: str) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, rtol=TOLERANCE, atol=TOLERANCE, err_msg=what), found, expected)


# Where floats lose digits, and loss or derivative may be infinite: most of a gradient's digits are right, and it is
# finite where the loss is.
@over(CATALOGUE)
def test_losses_are_as_defined_on_awkward_inputs(call: Call) -> None:
    rng = np.random.default_rng(0)
    close: list[np.ndarray] = []
    for _ in range(2):
        drawn = call.awkward_inputs(Draw(rng, N, np.float32, CLASSES))
        inputs = jax.tree.map(lambda x: rounded(x, np.float32).astype(float) if is_float(x) else x, drawn)
        true = truth(call, inputs)
        finite = np.isfinite(true.values)
        outcome = program(call)(inputs, where=finite)
        check_values(call, inputs, outcome.none[finite], true.values[finite], finite)
        for found, expected in zip(*map(jax.tree.leaves, (outcome.inputs, true.inputs)), strict=True):
            assert np.isfinite(found).all()
            close.append(np.isclose(found, expected, rtol=1e-6, atol=1e-30)[~np.isnan(expected)])
    assert np.mean(np.concatenate(close)) > 0.7


@over(CATALOGUE)
def test_losses_are_as_defined_at_edges(call: Call) -> None:
    edges, rng = call.edge_inputs(), np.random.default_rng(0)
    number = next(len(x) for kind, x in zip(call.kinds, edges, strict=True) if kind.batched)
    for _ in range(2):
        inputs = call.batched(itemgetter(rng.integers(0, number, N)), edges)
        check_values(call, inputs, program(call)(inputs).none, truth(call, inputs).values)


def check_values(call: Call, inputs: tuple[Any, ...], found: Any, expected: Any, rows: Any = slice(None)) -> None:
    """Equal but for the rounding of the inputs, or both infinite."""
    batched = [x[rows] for kind, x in zip(call.kinds, inputs, strict=True) if kind.batched]
    sizes = [np.abs(np.where(np.isfinite(x), x, 0)).reshape(len(x), -1).max(axis=-1, initial=1) for x in batched]
    finite = np.isfinite(expected)
    assert (found == expected)[np.isinf(expected)].all()
    allowed = TOLERANCE * (np.abs(expected) + np.max(sizes, axis=0))
    assert (np.abs(found[finite] - expected[finite]) <= allowed[finite]).all()
    assert not np.isnan(expected).any()


def line(loss: Callable[..., jax.Array], **options: Any) -> Call:
    """The line of the catalogue with these options."""
    return next(call for call in CATALOGUE if call.loss is loss and call.options == options)


ROBUST = line(jaxloss.general_robust_loss, alpha=-1.5, scale=2.0)
TWEEDIE = line(jaxloss.tweedie_loss, power=1.0)
POWER = call(jaxloss.multi_margin_loss, SCORES, LABEL, p=1.5)
# Values that formulas treat otherwise, most of them in the program of a line that has others.
OTHER_VALUES: list[tuple[Call, dict[str, Any]]] = [
    *((ROBUST, {"alpha": alpha}) for alpha in (0.3, 1.7, 3.2)),
    *((TWEEDIE, {"power": power}) for power in (0.0, 1.9, 3.0)),
    (line(jaxloss.poly_cross_entropy, poly_weight=-1.0), {"poly_weight": 0.5}),
    (POWER, {}),
]


@pytest.mark.parametrize(
    ("call", "options"),
    [pytest.param(call, options, id=f"{call.name}-{options}") for call, options in OTHER_VALUES],
)
def test_losses_are_as_defined_with_other_options(call: Call, options: dict[str, Any]) -> None:
    inputs = call.inputs((N,))
    outcome = program(call)(inputs, **{name: np.array(value) for name, value in options.items()})
    check(replace(call, options={**call.options, **options}), inputs, outcome)


@over_losses
def test_definitions_have_the_inputs_and_options_of_their_losses(name: str) -> None:
    loss = inspect.signature(LOSSES[name]).parameters
    names = {kind: [p.name for p in loss.values() if p.kind is kind] for kind in inspect._ParameterKind}
    options = [option for option in names[inspect.Parameter.KEYWORD_ONLY] if option not in NOT_OF_AN_ENTRY]
    definition = inspect.signature(getattr(definitions, name)).parameters
    assert list(definition) == [*names[inspect.Parameter.POSITIONAL_OR_KEYWORD], *options]
    assert {option: definition[option].default for option in options} == {
        option: loss[option].default for option in options
    }


@over_losses
def test_every_option_is_in_the_catalogue(name: str) -> None:
    for option in inspect.signature(LOSSES[name]).parameters.values():
        if option.kind is option.KEYWORD_ONLY and option.name not in NOT_OF_AN_ENTRY | {"ignore_index"}:
            given = [call.options.get(option.name, option.default) for call in CATALOGUE if call.loss is LOSSES[name]]
            assert any(isinstance(value, np.ndarray) or value != option.default for value in given), option.name


# --- the arithmetic ---------------------------------------------------------------------------------------------------

FORMULAS: list[Callable[[Any, Any], Any]] = [
    lambda x, y: x + y - 3,
    lambda x, y: 2 - x * y * 3,
    lambda x, y: x / y - 1 / x + y / 2,
    lambda x, y: x**3 - y**0.5 + (-x) ** 2,
    lambda x, y: x**y,
    lambda x, y: exact.exp(x) * exact.log(y),
    lambda x, y: exact.sqrt(x) * exact.tanh(y) + exact.sigmoid(x - y),
    lambda x, y: exact.absolute(x - y) * exact.softplus(x),
    lambda x, y: exact.normal_cdf(x) * exact.log_gamma(y),
    lambda x, y: exact.total([x * x, 3, y, x]),
    lambda x, y: exact.logsumexp([x, y, x * y]),
    lambda x, y: exact.largest([x, y, x + y]) + exact.hinge(x - y) + exact.hinge(y - x),
    lambda x, y: exact.smallest([x * y, x + y, 3]),
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


def test_the_size_is_that_of_the_largest_term() -> None:
    million, near = Exact(1e6), Exact(1e6 - 0.25)
    assert exact.size(million - near) == 1e6
    assert exact.size((million - near) * 2) == 2e6
    assert exact.size(exact.absolute(million - million)) == 1e6  # also through a kink
    assert exact.size(exact.hinge(near - million)) == 1e6  # rounding could make it positive
    assert exact.size(exact.hinge(near - million - 1000)) == 0
