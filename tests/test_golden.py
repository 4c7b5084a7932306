"""Values and gradients of losses and options that other libraries have too: `make_golden.py` wrote the files."""

import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import LOSSES
from jax.typing import DTypeLike
from jaxtyping import Array

HERE = Path(__file__).parent

# Other libraries take sums, exponentials and logs in other orders and by other routines than jaxloss, no more.
TOLERANCE: dict[DTypeLike, float] = {np.float64: 1e-10, np.float32: 1e-5}

Arguments = dict[str, Any]

DISTANCES: dict[str, Callable[[Array, Array], Array]] = {
    "manhattan": lambda x, y: jnp.sum(jnp.abs(x - y), axis=-1),
    "squared": lambda x, y: jnp.sum(jnp.square(x - y), axis=-1),
}


@dataclass(frozen=True)
class Case:
    """A call, and what another library makes of it."""

    name: str
    loss: str
    inputs: Arguments
    options: Arguments
    value: np.ndarray
    gradients: Arguments


def decoded(value: Any) -> Any:
    """Arrays and tuples from what `make_golden.py` makes of them."""
    if isinstance(value, dict) and value.keys() == {"dtype", "shape", "data"}:
        return np.array(value["data"], value["dtype"]).reshape(value["shape"])
    if isinstance(value, dict):
        return {key: decoded(part) for key, part in value.items()}
    return tuple(map(decoded, value)) if isinstance(value, list) else value


def read() -> Iterator[Case]:
    for path in sorted(HERE.glob("golden/*.jsonl")):
        for line in path.read_text().splitlines():
            yield Case(**decoded(json.loads(line)))


CASES = {case.name: case for case in read()}
# Named as calls of their losses: tests of one loss run on one worker.
of_every_case = pytest.mark.parametrize("name", CASES, ids=lambda name: f"{name.replace(' ', '(', 1)})")


@functools.cache
def computed(loss: str) -> dict[str, tuple[Array, Arguments, Array]]:
    """Value, gradients, and value in single precision of all cases of a loss: one program is compiled sooner."""
    cases = [case for case in CASES.values() if case.loss == loss]

    @jax.jit
    def compute(double: list[Arguments], single: list[Arguments]) -> dict[str, tuple[Array, Arguments, Array]]:
        return {
            case.name: (*differentiated(case, inputs), called(case, rounded))
            for case, inputs, rounded in zip(cases, double, single, strict=True)
        }

    double = [arrays(case) for case in cases]
    results: dict[str, tuple[Array, Arguments, Array]] = compute(double, jax.tree.map(rounded, double))
    return results


def arrays(case: Case) -> Arguments:
    return case.inputs | {name: value for name, value in case.options.items() if isinstance(value, np.ndarray)}


def rounded(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def called(case: Case, arguments: Arguments) -> Array:
    settings = case.options | arguments
    if "distance_function" in settings:
        settings["distance_function"] = DISTANCES[settings["distance_function"]]
    return LOSSES[case.loss](**settings)


def differentiated(case: Case, arguments: Arguments) -> tuple[Array, Arguments]:
    varied = {name: arguments[name] for name in case.gradients}
    value, pull = jax.vjp(lambda varied: called(case, arguments | varied), varied)
    cotangent = np.linspace(1, 2, value.size).reshape(value.shape)
    return value, pull(jnp.asarray(cotangent))[0]


@of_every_case
def test_values_and_gradients_in_double_precision(name: str) -> None:
    case = CASES[name]
    value, gradients, _ = computed(case.loss)[name]
    assert_close(value, case.value, np.float64)
    expected = jax.tree.leaves_with_path(case.gradients)
    for (path, gradient), found in zip(expected, jax.tree.leaves(gradients), strict=True):
        assert_close(found, gradient, np.float64, jax.tree_util.keystr(path))


@of_every_case
def test_values_in_single_precision(name: str) -> None:
    assert_close(computed(CASES[name].loss)[name][2], CASES[name].value, np.float32)


def assert_close(found: Array, expected: np.ndarray, dtype: DTypeLike, what: str = "value") -> None:
    assert (found.shape, found.dtype) == (expected.shape, dtype)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=what)


def test_what_has_an_oracle_has_cases_and_nothing_else_has() -> None:
    sources = "".join(path.read_text() for path in HERE.glob("oracles/*.py"))
    anchored = set(re.findall(r'Anchor\(\s*"(\w+)"', sources))
    assert {case.loss for case in CASES.values()} == anchored
    assert anchored <= LOSSES.keys()
