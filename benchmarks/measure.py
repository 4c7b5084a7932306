"""Times calls in strict alternation, reads what compiled programs need, and refuses to time a wrong result."""

import random
import statistics
import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .cases import SMALL, Candidate, Comparison, Shape, compiled_call

# A turn lasts at least so long: what is quicker than that is called several times.
TURN = 0.02
# Threads of a library keep spinning for some milliseconds after its turn, on the cores of the next one.
PAUSE = 0.02

Quartiles = tuple[float, float, float]


@dataclass(frozen=True)
class Effort:
    """How long to measure one thing: rounds for so many seconds, within bounds."""

    seconds: float
    least_rounds: int
    most_rounds: int


FULL = Effort(seconds=1.5, least_rounds=7, most_rounds=25)
QUICK = Effort(seconds=0.2, least_rounds=3, most_rounds=3)


def measured(comparison: Comparison, shape: Shape, effort: Effort) -> dict[str, Any]:
    """Everything about one comparison at one shape, as it goes into the results."""
    candidates = list(comparison.candidates(shape))
    gradients = {candidate.name: candidate.gradient() for candidate in candidates}
    assert_agreement(comparison, candidates, gradients)
    in_jax = [candidate for candidate in candidates if candidate.in_jax]
    references = {
        name: compiled_call(function, candidates[0].inputs) for name, function in comparison.references.items()
    }
    seconds = {
        "gradient": alternate(gradients | references, effort),
        "forward": alternate({candidate.name: candidate.forward() for candidate in candidates}, effort),
    }
    if shape == SMALL:
        seconds["unjitted"] = alternate({candidate.name: candidate.unjitted() for candidate in candidates}, effort)
    if shape == comparison.shapes[0]:
        seconds["compilation"] = compilation(in_jax)
    return {
        "group": comparison.group,
        "variant": comparison.variant,
        "shape": list(shape),
        "times": {measure: summary(by_name) for measure, by_name in seconds.items()},
        "temporary_bytes": {candidate.name: temporary_bytes(candidate) for candidate in in_jax},
    }


def assert_agreement(
    comparison: Comparison, candidates: list[Candidate], calls: Mapping[str, Callable[[], Any]]
) -> None:
    """Asserts that every candidate has the value and the gradients of the first, which is jaxloss."""
    reference, *others = candidates
    expected = _outcome(reference, calls)
    tolerances = [comparison.tolerance, *[comparison.gradient_tolerance] * comparison.differentiable]
    for candidate in others:
        for actual, desired, tolerance in zip(_outcome(candidate, calls), expected, tolerances, strict=True):
            # Relative to each entry, but for those that are next to nothing beside the largest.
            allowed = tolerance * np.maximum(np.abs(desired), 1e-3 * np.max(np.abs(desired)))
            excess = np.max(np.abs(actual - desired) / allowed)
            if not excess <= 1:
                what = f"{comparison.group}, {comparison.variant}, {desired.shape}"
                raise AssertionError(f"{candidate.name}, {what}: differs by {excess:.2g} times the tolerance")


def _outcome(candidate: Candidate, calls: Mapping[str, Callable[[], Any]]) -> list[np.ndarray]:
    value, gradients = calls[candidate.name]()
    if not candidate.in_jax:
        value, gradients = value.detach().float(), [gradient.float() for gradient in gradients]
    arrays = candidate.layout(tuple(np.asarray(gradient, np.float32) for gradient in gradients))
    return [np.asarray(value, np.float32), *arrays]


def alternate(calls: Mapping[str, Callable[[], Any]], effort: Effort) -> dict[str, list[float]]:
    """Seconds per call of each: in every round each has one turn, in an order drawn anew."""
    repeats = {name: _repeats(call) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = random.Random(0)
    start = time.perf_counter()
    for number in range(effort.most_rounds):
        if number >= effort.least_rounds and time.perf_counter() - start > effort.seconds:
            break
        for name in order.sample(list(calls), len(calls)):
            time.sleep(PAUSE)
            if repeats[name] > 1:
                calls[name]()  # wakes its threads up, which would weigh on a short turn
            seconds[name].append(timeit.timeit(calls[name], number=repeats[name]) / repeats[name])
    return seconds


def _repeats(call: Callable[[], Any]) -> int:
    """How many calls make a turn, found by a few that also warm up."""
    call()
    seconds = timeit.timeit(call, number=1)
    if seconds < TURN:
        seconds = min(timeit.repeat(call, number=1, repeat=5))
    return max(1, round(TURN / seconds))


def compilation(candidates: list[Candidate]) -> dict[str, list[float]]:
    """Seconds from nothing to the compiled value and gradients, three times in alternation."""
    seconds: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    for _ in range(3):
        for candidate in candidates:
            jax.clear_caches()
            start = time.perf_counter()
            _compile(candidate)
            seconds[candidate.name].append(time.perf_counter() - start)
    return seconds


def temporary_bytes(candidate: Candidate) -> int:
    """What the compiled value and gradients need in memory beside their inputs and outputs."""
    return int(_compile(candidate).memory_analysis().temp_size_in_bytes)


def _compile(candidate: Candidate) -> Any:
    return jax.jit(candidate.value_and_grad).lower(*map(jnp.asarray, candidate.inputs)).compile()


def summary(seconds: Mapping[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Quartiles of each candidate's seconds, and of jaxloss's in parts of them, taken round by round."""
    ours = seconds["jaxloss"]
    return {
        name: {
            "rounds": len(theirs),
            "seconds": quartiles(theirs),
            "ratio": quartiles([our / their for our, their in zip(ours, theirs, strict=True)]),
        }
        for name, theirs in seconds.items()
    }


def quartiles(values: list[float]) -> Quartiles:
    """The lower quartile, the median and the upper one."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
