"""Values and gradients of every library beside the truth, entry by entry.

The unit of an error is a unit in the last place of the truth: of float32 for values, of the input's dtype for
gradients. An error below the least normal number is none, as hardware may take what lies there for 0. One as large as
the truth itself is all there can be: no digit is right. Truths beyond the dtype do not count, nor do gradients at a
kink; but there too they have to be finite.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import jax.numpy as jnp
import numpy as np
from awkward import Array
from catalogue import CLASSES

from . import peers
from .outcomes import VALUE, Outcome, jax_second, jaxloss_loss, jaxloss_outcome, true_outcome, true_second
from .subjects import Inputs, Subject, subjects

Results = dict[str, Any]


def studied(number: int, *, quick: bool) -> Results:
    """Everything about the subject of a number, as it goes into the results."""
    subject = list(subjects())[number]
    cases = min(subject.cases, 48) if quick else subject.cases
    inputs, dtype = subject.inputs(cases), subject.dtype
    true = true_outcome(subject, inputs)
    outcomes = {"jaxloss": jaxloss_outcome(subject, inputs), **peers.outcomes(subject, inputs)}
    errors = {library: dict(ulps(outcome, true, dtype)) for library, outcome in outcomes.items()}
    # The truth about these takes three times as long.
    some = subject.inputs(max(cases // 4, 1))
    second = {} if subject.classes > CLASSES else seconds(subject, some)
    return {
        "second": second,
        "call": subject.name,
        "dtype": jnp.dtype(dtype).name,
        "cases": cases,
        "libraries": {
            library: {name: summary(outcomes[library][name], true[name], of_name) for name, of_name in by_name.items()}
            for library, by_name in errors.items()
        },
        "worst": {
            name: worst(of_name, outcomes["jaxloss"][name], true[name], subject.named(inputs))
            for name, of_name in errors["jaxloss"].items()
        },
    }


def confident() -> list[Results]:
    """The cross-entropy of two classes, by the margin of the label's logit: rows that are right and sure."""
    subject = next(subject for subject in subjects() if subject.name == "cross_entropy()")
    margins = np.array([2, 5, 10, 15, 20, 30, 60], np.float32)
    inputs = np.stack([margins, np.zeros_like(margins)], axis=-1), np.zeros(len(margins), np.int32)
    true = true_outcome(subject, inputs)
    outcomes = {"jaxloss": jaxloss_outcome(subject, inputs), **peers.outcomes(subject, inputs)}
    errors = {library: dict(ulps(outcome, true, subject.dtype)) for library, outcome in outcomes.items()}
    return [
        {
            "margin": float(margin),
            "truth": float(true[VALUE][row]),
            "libraries": {
                library: {name: float(np.max(of_name[row])) for name, of_name in by_name.items()}
                for library, by_name in errors.items()
            },
        }
        for row, margin in enumerate(margins)
    ]


def seconds(subject: Subject, inputs: Inputs) -> Results:
    """The second derivatives of every library that is written in JAX, along one direction."""
    losses = {"jaxloss": jaxloss_loss(subject), **peers.losses(subject)}
    losses.pop("torch", None)
    if not subject.differentiated(inputs) or "derivatives_are_those_of_the_value" in subject.call.exempt:
        return {}
    true, found = true_second(subject, inputs), {}
    beyond = _beyond(true_outcome(subject, inputs), subject.dtype)
    for second in true.values():
        second[beyond] = np.inf
    for library, loss in losses.items():
        with suppress(NotImplementedError, TypeError):
            outcome = jax_second(subject, loss, inputs)
            found[library] = {
                name: summary(outcome[name], true[name], errors) for name, errors in ulps(outcome, true, subject.dtype)
            }
    return found


def _beyond(true: Outcome, dtype: Any) -> Array:
    """The cases whose value or gradient does not fit into a dtype: what has none of these has no second derivative."""
    limits = {name: float(jnp.finfo(np.float32 if name == VALUE else dtype).max) for name in true}
    outside = [np.abs(of_name) > limits[name] for name, of_name in true.items()]
    beyond: Array = np.any([array.reshape(len(array), -1).any(axis=-1) for array in outside], axis=0)
    return beyond


def ulps(outcome: Outcome, true: Outcome, dtype: Any) -> Iterator[tuple[str, Array]]:
    """Errors by name in units in the last place, NaN where they do not count."""
    for name, result in outcome.items():
        yield name, _ulps(result, true[name], np.float32 if name == VALUE else dtype)


def _ulps(result: Array, true: Array, dtype: Any) -> Array:
    info = jnp.finfo(dtype)
    digits = info.nmant + 1
    _, exponents = np.frexp(true)
    with np.errstate(all="ignore"):
        units = np.exp2(np.maximum(exponents, info.minexp + 1.0) - digits)
        distances = np.abs(result - true)
        errors = np.minimum(distances / units, 2.0**digits)
    # All hardware has the subnormals of float16; they are normal in float32.
    negligible = 0.0 if dtype == jnp.float16 else float(info.tiny)
    errors = np.where(distances <= negligible, 0.0, errors)
    errors = np.where(np.isfinite(result), errors, 2.0**digits)
    return np.where(np.abs(true) <= float(info.max), errors, np.nan)


def summary(result: Array, true: Array, errors: Array) -> Results:
    """The worst error, the 99th percentile, and how many results are not finite; of how many entries."""
    counted = errors[~np.isnan(errors)]
    return {
        "entries": counted.size,
        "not_finite": int(np.sum(_wrongly_infinite(result, true, errors))),
        "worst": float(counted.max(initial=0)),
        "p99": float(np.percentile(counted, 99)) if counted.size else 0.0,
    }


def _wrongly_infinite(result: Array, true: Array, errors: Array) -> Array:
    return np.asarray(~np.isfinite(result) & (np.isnan(true) | ~np.isnan(errors)))


def worst(errors: Array, result: Array, true: Array, inputs: Mapping[str, Array]) -> Results:
    """The case that is furthest off, and rather one that is not finite."""
    ranks = np.where(_wrongly_infinite(result, true, errors), np.inf, np.nan_to_num(errors, nan=-1.0))
    case = np.unravel_index(np.argmax(ranks), errors.shape)[0]
    return {
        "inputs": {name: _short(array[case]) for name, array in inputs.items()},
        "result": _short(result[case]),
        "truth": _short(true[case]),
    }


def _short(array: Any) -> Any:
    flat = np.asarray(array, np.float64).reshape(-1)
    return [float(f"{entry:.9g}") for entry in flat] if flat.size <= 16 else f"{flat.size} numbers"
