"""Values and gradients of every library beside the truth, entry by entry.

The unit of an error is a unit in the last place of the truth: of float32 for values, of the input's dtype for
gradients. An error below the least normal number is none, as hardware may take what lies there for 0. One as large as
the truth itself is all there can be: no digit is right. Truths beyond the dtype do not count, nor do gradients at a
kink; but there too they have to be finite.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from . import peers
from .outcomes import Array, Outcome, jaxloss_outcome, truth
from .subjects import Subject

Results = dict[str, Any]


def studied(subject: Subject, count: int, dtype: Any) -> Results:
    """Everything about one call on inputs of one dtype, as it goes into the results."""
    inputs = subject.inputs(count, dtype)
    true = truth(subject, inputs)
    outcomes = {"jaxloss": jaxloss_outcome(subject, inputs)}
    outcomes |= peers.outcomes(subject, inputs)
    return {
        "family": subject.family,
        "call": subject.name,
        "dtype": jnp.dtype(dtype).name,
        "cases": count,
        "libraries": {library: compared(outcome, true, dtype) for library, outcome in outcomes.items()},
        "worst": worst(outcomes["jaxloss"], true, inputs, dtype),
    }


# --- comparison -------------------------------------------------------------------------------------------------------


def compared(outcome: Outcome, true: Outcome, dtype: Any) -> Results:
    """The errors of the values, and those of each gradient that the library has."""
    return {
        "value": summary(outcome.values, true.values, np.float32),
        "gradients": [
            None if slope is None or result is None else summary(result, slope, dtype)
            for result, slope in zip(outcome.gradients, true.gradients, strict=True)
        ],
    }


def summary(result: Array, true: Array, dtype: Any) -> Results:
    """The worst error, the 99th percentile, and how many results are not finite; of how many entries."""
    errors = ulps(result, true, dtype)
    counted = errors[~np.isnan(errors)]
    could_be_finite = ~(np.abs(true) > float(jnp.finfo(dtype).max))
    return {
        "entries": counted.size,
        "not_finite": int(np.sum(could_be_finite & ~np.isfinite(result))),
        "worst": float(counted.max(initial=0)),
        "p99": float(np.percentile(counted, 99)) if counted.size else 0.0,
    }


def ulps(result: Array, true: Array, dtype: Any) -> Array:
    """Errors in units in the last place, NaN where they do not count."""
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


def worst(outcome: Outcome, true: Outcome, inputs: Sequence[Array], dtype: Any) -> Results:
    """The inputs where the value, and each gradient, is furthest off."""
    found = {"value": _worst_case(outcome.values, true.values, inputs, np.float32)}
    for index, (result, slope) in enumerate(zip(outcome.gradients, true.gradients, strict=True)):
        if result is not None and slope is not None:
            found[f"gradient {index}"] = _worst_case(result, slope, inputs, dtype)
    return found


def _worst_case(result: Array, true: Array, inputs: Sequence[Array], dtype: Any) -> Results:
    errors = np.nan_to_num(ulps(result, true, dtype), nan=-1.0)
    case = np.unravel_index(np.argmax(errors), errors.shape)[0]
    return {
        "inputs": [_short(array[case]) for array in inputs],
        "result": _short(result[case]),
        "truth": _short(true[case]),
    }


def _short(array: Any) -> Any:
    flat = np.asarray(array, np.float64).reshape(-1)
    return [float(f"{entry:.9g}") for entry in flat] if flat.size <= 16 else f"{flat.size} numbers"
