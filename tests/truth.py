"""What a call of the catalogue is in truth: its definition, and the derivatives of that, in exact arithmetic."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import definitions
import numpy as np
from awkward import is_float
from catalogue import Call, static_options
from definitions import NOTHING, Part
from exact import INF, MP, Exact, gradient, size, total


class Truth(NamedTuple):
    """A call on a batch, rounded to float64. A derivative is NaN where there is none.

    Attributes:
        values: Of the entries.
        reduced: Their mean or sum.
        inputs: The gradients of that, shaped as the inputs; None for those that are not floating.
        options: The same for the traced options that were given.
    """

    values: np.ndarray
    reduced: float
    inputs: tuple[Any, ...]
    options: dict[str, Any]


def definition(call: Call) -> Callable[..., Any]:
    """The definition of a call's loss."""
    function: Callable[..., Any] = getattr(definitions, call.loss.__name__)
    return function


def truth(call: Call, inputs: tuple[Any, ...], *, reduction: str = "mean", dtype: Any = np.float64) -> Truth:
    """The truth about a call on inputs that are exact; options are rounded to a dtype, as the loss rounds them.

    Where the loss is infinite there is nothing to differentiate: such an entry is left out of what is reduced.
    """
    variables, options = tuple(map(lifted, inputs)), exact_options(call, dtype)
    parts = _parts(call, variables, options)
    finite = [part if abs(part.value.value) < INF else Part(NOTHING, 0) for part in parts]
    weight = total(part.weight for part in finite) if reduction == "mean" else Exact(1)
    reduced = total(part.value for part in finite) / weight if weight else NOTHING
    slopes = _slopes_of(reduced, (variables, options))
    return Truth(
        np.array([float(part.value.value) for part in parts]),
        float(reduced.value),
        tuple(_slopes(variable, slopes) for variable in variables),
        {name: _slopes(options[name], slopes) for name in call.traced if name in options},
    )


class Entry(NamedTuple):
    """One of a batch's losses, rounded to float64.

    Attributes:
        value: The loss.
        size: That of the largest term it is made of.
        inputs: Its gradients by the inputs, shaped as these; None for those that are not floating.
    """

    value: float
    size: float
    inputs: tuple[Any, ...]


def entries(call: Call, inputs: tuple[Any, ...], *, dtype: Any = np.float64) -> list[Entry]:
    """The truth about every loss of a batch by itself. An infinite one is not differentiated."""
    variables, options = tuple(map(lifted, inputs)), exact_options(call, dtype)
    found = []
    for value, _ in _parts(call, variables, options):
        finite = value if abs(value.value) < INF else NOTHING
        slopes = _slopes_of(finite, variables)
        found.append(Entry(float(value.value), float(size(finite)), tuple(_slopes(x, slopes) for x in variables)))
    return found


STEP = MP.mpf("1e-60")
AGREE = MP.mpf("1e-20")
"""Digits of a second derivative from one side that are right: a step loses some of 200."""


def curvature(call: Call, inputs: tuple[Any, ...], directions: tuple[Any, ...], *, dtype: Any) -> tuple[Any, ...]:
    """How the gradients of the sum of a batch's losses by its inputs move along directions; None where those are None.

    They are differences of exact gradients, from the side that exists. Infinite where both sides do and differ,
    at a kink, and where there is no gradient.
    """
    options, here = exact_options(call, dtype), tuple(map(lifted, inputs))

    def slopes(step: Any) -> Any:
        moved = tuple(_moved(x, d, step) for x, d in zip(here, directions, strict=True))
        try:
            result = total(part.value for part in _parts(call, moved, options))
            return gradient(result, _leaves(moved)) if abs(result.value) < INF else None
        except (TypeError, ValueError, ZeroDivisionError):  # beyond the domain
            return None

    below, at, above = (slopes(step) for step in (-STEP, 0, STEP))

    def second(low: Any, middle: Any, high: Any) -> Any:
        if MP.isnan(middle):
            return INF
        sides = [side / STEP for side in (middle - low, high - middle) if not MP.isnan(side)]
        apart = len(sides) == 2 and abs(sides[0] - sides[1]) > AGREE * (1 + abs(sides[0]))
        return INF if apart or not sides else sides[0]

    unknown = [MP.nan] * len(_leaves(here))
    if at is None or (below is None and above is None):
        found = [INF] * len(unknown)
    else:
        found = [second(*three) for three in zip(below or unknown, at, above or unknown, strict=True)]
    by_leaf = dict(zip(map(id, _leaves(here)), found, strict=True))
    return tuple(_slopes(x, by_leaf) if d is not None else None for x, d in zip(here, directions, strict=True))


def _moved(tree: Any, direction: Any, step: Any) -> Any:
    if direction is None:
        return tree
    if isinstance(tree, (list, tuple)):
        return type(tree)(_moved(part, d, step) for part, d in zip(tree, direction, strict=True))
    return Exact(tree.value + MP.mpf(float(direction)) * step)


def _slopes_of(result: Exact, variables: Any) -> dict[int, Any]:
    leaves = _leaves(variables)
    return dict(zip(map(id, leaves), gradient(result, leaves), strict=True))


def _parts(call: Call, inputs: tuple[Any, ...], options: dict[str, Any]) -> list[Part]:
    return [part if isinstance(part, Part) else Part(part, 1) for part in _losses(call, inputs, options)]


def _losses(call: Call, inputs: tuple[Any, ...], options: dict[str, Any]) -> list[Any]:
    function = definition(call)
    if call.in_batch:
        return list(function(*inputs, **options))
    batch = next(len(x) for kind, x in zip(call.kinds, inputs, strict=True) if kind.batched)
    return [
        function(
            *(x[row] if kind.batched else x for kind, x in zip(call.kinds, inputs, strict=True)),
            **{name: option[0] if _is_stretched(call, name) else option for name, option in options.items()},
        )
        for row in range(batch)
    ]


def _is_stretched(call: Call, option: str) -> bool:
    """Whether an option has a batch axis, of size 1: it is the same for all."""
    return isinstance(call.options.get(option), np.ndarray) and call.options[option].ndim > 1


def exact_options(call: Call, dtype: Any) -> dict[str, Any]:
    """The options that the definition knows, given or by default: static ones constant, others as variables."""
    parameters = inspect.signature(definition(call)).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    options = {name: value for name, value in (defaults | dict(call.options)).items() if name in parameters}

    def exact(name: str, value: Any) -> Any:
        if callable(value):
            return getattr(definitions, value.__name__)
        if name in static_options(call.loss):
            return MP.mpf(dtype(value).item()) if isinstance(value, float) else value
        return value if value is None else lifted(np.asarray(value), dtype)

    return {name: exact(name, value) for name, value in options.items()}


def lifted(tree: Any, dtype: Any = np.float64) -> Any:
    """An array, or a tuple of them, as nested lists of exact numbers, or of integers."""
    if isinstance(tree, tuple):
        return tuple(lifted(part, dtype) for part in tree)
    if np.ndim(tree):
        return [lifted(part, dtype) for part in tree]
    return Exact(float(dtype(tree))) if is_float(tree) else int(tree)


def _leaves(tree: Any) -> list[Exact]:
    if isinstance(tree, dict):
        return _leaves(list(tree.values()))
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in _leaves(part)]
    return [tree] if isinstance(tree, Exact) else []


def _slopes(tree: Any, slopes: dict[int, Any]) -> Any:
    """The slopes in place of the numbers; None where there are none."""
    if isinstance(tree, tuple):
        return tuple(_slopes(part, slopes) for part in tree)
    if isinstance(tree, list):
        parts = [_slopes(part, slopes) for part in tree]
        return None if parts[0] is None else np.array(parts)
    return np.float64(slopes[id(tree)]) if isinstance(tree, Exact) else None
