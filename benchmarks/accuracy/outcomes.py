"""What a loss is on some inputs, and its gradients: in truth, and as a JAX function computes them."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .exact import MP, Exact, gradient, total
from .subjects import Subject

Array = NDArray[Any]


Inputs = Mapping[str, Array]
Outcome = dict[str, Array]
"""The values as VALUE, and by the names of the floating inputs the gradients of their sum. Cases go first."""

VALUE = "value"


# --- the truth --------------------------------------------------------------------------------------------------------


def truth(subject: Subject, inputs: Inputs) -> Outcome:
    """What the reference says, rounded to float64.

    A derivative that does not exist is NaN. Where the loss is infinite its gradients are too: neither counts.
    """
    reference = partial(subject.reference, **_exact_options({**_defaults(subject.reference), **subject.options}))
    values, gradients = [], {name: np.empty(inputs[name].shape) for name in floating(inputs)}
    for case, arrays in enumerate(zip(*inputs.values(), strict=True)):
        variables = dict(zip(inputs, map(_lifted, arrays), strict=True))
        results = reference(*subject.arranged(*variables.values()))
        sum_of_results = total(_leaves(results))
        leaves = _leaves([variables[name] for name in gradients])
        finite = abs(sum_of_results.value) < MP.inf
        slopes = iter(gradient(sum_of_results, leaves) if finite else [MP.inf] * len(leaves))
        for array in gradients.values():
            array[case] = np.reshape([float(next(slopes)) for _ in range(array[case].size)], array[case].shape)
        numbers = [float(result.value) for result in _leaves(results)]
        values.append(numbers if isinstance(results, list) else numbers[0])
    return {VALUE: np.array(values), **gradients}


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


def floating(inputs: Inputs) -> list[str]:
    """The inputs that have a gradient."""
    return [name for name, array in inputs.items() if _is_floating(array)]


def _is_floating(array: Any) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


# --- in JAX -----------------------------------------------------------------------------------------------------------


def jaxloss_outcome(subject: Subject, inputs: Inputs) -> Outcome:
    """What jaxloss computes."""
    assert subject.function is not None
    return jax_outcome(subject, partial(subject.function, reduction=subject.reduction, **subject.options), inputs)


def jax_outcome(subject: Subject, call: Callable[..., Any], inputs: Inputs) -> Outcome:
    """Compiled, as in a training step."""

    def summed(leaves: Mapping[str, jax.Array], arrays: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        # In the order of the inputs, which is not that of the compiled function's dictionaries.
        values = call(*subject.arranged(*(leaves.get(name, arrays[name]) for name in inputs)))
        return jnp.sum(values, dtype=jnp.float32), values

    compiled = jax.jit(jax.value_and_grad(summed, has_aux=True))

    def run(arrays: Inputs) -> Outcome:
        on_device = {name: jnp.asarray(array) for name, array in arrays.items()}
        (_, values), slopes = compiled({name: on_device[name] for name in floating(arrays)}, on_device)
        return {name: np.asarray(array, np.float64) for name, array in ({VALUE: values} | slopes).items()}

    return over_cases(subject, run, inputs)


def over_cases(subject: Subject, run: Callable[[Inputs], Outcome], inputs: Inputs) -> Outcome:
    """All cases in one call, or each by itself."""
    if not subject.whole:
        return run(inputs)
    cases = [run(dict(zip(inputs, arrays, strict=True))) for arrays in zip(*inputs.values(), strict=True)]
    return {name: np.stack([case[name] for case in cases]) for name in cases[0]}
