"""Values and gradients of every library beside the truth, entry by entry.

The unit of an error is a unit in the last place of the truth: of float32 for values, of the input's dtype for
gradients. An error below the least normal number is none, as hardware may take what lies there for 0. One as large as
the truth itself is all there can be: no digit is right. Truths beyond the dtype do not count, nor do gradients at kinks;
but there too they have to be finite.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..peers import torch
from . import peers
from .exact import MP, Exact, gradient, total
from .subjects import Subject

Array = NDArray[Any]
Results = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """Values, and the gradients of their sum: None for inputs that have none. The first axis is that of the cases."""

    values: Array
    gradients: Sequence[Array | None]


def studied(subject: Subject, count: int, dtype: Any) -> Results:
    """Everything about one call on inputs of one dtype, as it goes into the results."""
    inputs = subject.inputs(count, dtype)
    true = truth(subject, inputs)
    outcomes = {"jaxloss": jaxloss_outcome(subject, inputs)}
    for library, call in peers.calls(subject.loss, subject.options):
        outcome = _torch_outcome if library == "torch" else _jax_outcome
        outcomes[library] = outcome(subject, partial(call, **subject.options), inputs)
    return {
        "family": subject.family,
        "call": subject.name,
        "dtype": jnp.dtype(dtype).name,
        "cases": count,
        "libraries": {library: compared(outcome, true, dtype) for library, outcome in outcomes.items()},
        "worst": worst(outcomes["jaxloss"], true, inputs, dtype),
    }


# --- the truth --------------------------------------------------------------------------------------------------------


def truth(subject: Subject, inputs: Sequence[Array]) -> Outcome:
    """What the reference says, rounded to float64. Where the loss is infinite its gradients are too: neither counts."""
    reference = partial(subject.reference, **_exact_options({**_defaults(subject.reference), **subject.options}))
    values: list[Any] = []
    gradients: list[Array | None] = [np.empty(array.shape) if _is_floating(array) else None for array in inputs]
    for case in range(len(inputs[0])):
        variables = [_lifted(array[case]) for array in inputs]
        result = reference(*subject.arranged(*variables))
        results = result if isinstance(result, list) else [result]
        value = total(results)
        leaves = [leaf for variable in variables for leaf in _leaves(variable)]
        slopes = iter(gradient(value, leaves) if abs(value.value) < MP.inf else [MP.inf] * len(leaves))
        for slot, variable in zip(gradients, variables, strict=True):
            if slot is not None:
                slot[case] = np.array([float(next(slopes)) for _ in _leaves(variable)]).reshape(slot.shape[1:])
        values.append([float(number.value) for number in results] if isinstance(result, list) else float(result.value))
    return Outcome(np.array(values), gradients)


def _defaults(reference: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(reference).parameters
    return {name: p.default for name, p in parameters.items() if isinstance(p.default, float)}


def _exact_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the losses cast them, exactly."""

    def exact(option: Any) -> Any:
        if isinstance(option, np.ndarray):
            return [MP.mpf(float(entry)) for entry in option]
        return MP.mpf(float(np.float32(option))) if isinstance(option, float) else option

    return {name: exact(option) for name, option in options.items() if not callable(option)}


def _lifted(array: Any) -> Any:
    """An array as nested lists of exact numbers, or of integers."""
    if np.ndim(array):
        return [_lifted(entry) for entry in array]
    return Exact(float(array)) if _is_floating(array) else int(array)


def _leaves(variable: Any) -> list[Exact]:
    if isinstance(variable, list):
        return [leaf for entry in variable for leaf in _leaves(entry)]
    return [variable] if isinstance(variable, Exact) else []


def _is_floating(array: Any) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


# --- the libraries ----------------------------------------------------------------------------------------------------


def jaxloss_outcome(subject: Subject, inputs: Sequence[Array]) -> Outcome:
    """What jaxloss computes."""
    assert subject.function is not None
    return _jax_outcome(subject, partial(subject.function, reduction=subject.reduction, **subject.options), inputs)


def _jax_outcome(subject: Subject, call: Callable[..., Any], inputs: Sequence[Array]) -> Outcome:
    """Compiled, as in a training step."""
    floating = [index for index, array in enumerate(inputs) if _is_floating(array)]

    def summed(*arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
        values = call(*subject.arranged(*arrays))
        return jnp.sum(values, dtype=jnp.float32), values

    compiled = jax.jit(jax.value_and_grad(summed, argnums=floating, has_aux=True))

    def run(*arrays: Array) -> list[Array]:
        (_, values), slopes = compiled(*map(jnp.asarray, arrays))
        return [np.asarray(array, np.float64) for array in (values, *slopes)]

    values, *slopes = _over_cases(subject, run, inputs)
    gradients = dict(zip(floating, slopes, strict=True))
    return Outcome(values, [gradients.get(index) for index in range(len(inputs))])


def _torch_outcome(subject: Subject, call: Callable[..., Any], inputs: Sequence[Array]) -> Outcome:
    floating = [index for index, array in enumerate(inputs) if _is_floating(array)]
    differentiable: set[int] = set()

    def run(*arrays: Array) -> list[Array]:
        tensors = list(map(_tensor, arrays))
        leaves = [tensors[index].requires_grad_() for index in floating]
        values = call(*subject.arranged(*tensors))
        slopes = torch.autograd.grad(values.sum(), leaves, allow_unused=True)
        differentiable.update(index for index, slope in zip(floating, slopes, strict=True) if slope is not None)
        results = [values, *(torch.zeros(()) if slope is None else slope for slope in slopes)]
        return [result.detach().double().numpy() for result in results]

    values, *slopes = _over_cases(subject, run, inputs)
    gradients = {index: slope for index, slope in zip(floating, slopes, strict=True) if index in differentiable}
    return Outcome(values, [gradients.get(index) for index in range(len(inputs))])


def _over_cases(subject: Subject, run: Callable[..., list[Array]], inputs: Sequence[Array]) -> list[Array]:
    """All cases in one call, or each by itself."""
    if not subject.whole:
        return run(*inputs)
    return [
        np.stack(np.broadcast_arrays(*arrays))
        for arrays in zip(*(run(*case) for case in zip(*inputs, strict=True)), strict=True)
    ]


def _tensor(array: Array) -> Any:
    if not _is_floating(array):
        return torch.tensor(array).long()
    return torch.tensor(np.asarray(array, np.float64)).to(getattr(torch, array.dtype.name))


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
