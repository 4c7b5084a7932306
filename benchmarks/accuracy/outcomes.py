"""What a loss is on some inputs, and its gradients: in truth, and as a JAX function computes them."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .exact import MP, Exact, gradient, total
from .subjects import Subject

Array = NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """Values, and the gradients of their sum: None for inputs that have none. The first axis is that of the cases."""

    values: Array
    gradients: Sequence[Array | None]


# --- the truth --------------------------------------------------------------------------------------------------------


def truth(subject: Subject, inputs: Sequence[Array]) -> Outcome:
    """What the reference says, rounded to float64. Where the loss is infinite its gradients are too: neither counts."""
    reference = partial(subject.reference, **_exact_options({**_defaults(subject.reference), **subject.options}))
    values: list[Any] = []
    gradients: list[Array | None] = [np.empty(array.shape) if is_floating(array) else None for array in inputs]
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
    return Exact(float(array)) if is_floating(array) else int(array)


def _leaves(variable: Any) -> list[Exact]:
    if isinstance(variable, list):
        return [leaf for entry in variable for leaf in _leaves(entry)]
    return [variable] if isinstance(variable, Exact) else []


def is_floating(array: Any) -> bool:
    """Whether it has a gradient."""
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


# --- in JAX ---------------------------------------------------------------------------------------------------------


def jaxloss_outcome(subject: Subject, inputs: Sequence[Array]) -> Outcome:
    """What jaxloss computes."""
    assert subject.function is not None
    return jax_outcome(subject, partial(subject.function, reduction=subject.reduction, **subject.options), inputs)


def jax_outcome(subject: Subject, call: Callable[..., Any], inputs: Sequence[Array]) -> Outcome:
    """Compiled, as in a training step."""
    floating = [index for index, array in enumerate(inputs) if is_floating(array)]

    def summed(*arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
        values = call(*subject.arranged(*arrays))
        return jnp.sum(values, dtype=jnp.float32), values

    compiled = jax.jit(jax.value_and_grad(summed, argnums=floating, has_aux=True))

    def run(*arrays: Array) -> list[Array]:
        (_, values), slopes = compiled(*map(jnp.asarray, arrays))
        return [np.asarray(array, np.float64) for array in (values, *slopes)]

    values, *slopes = over_cases(subject, run, inputs)
    gradients = dict(zip(floating, slopes, strict=True))
    return Outcome(values, [gradients.get(index) for index in range(len(inputs))])


def over_cases(subject: Subject, run: Callable[..., list[Array]], inputs: Sequence[Array]) -> list[Array]:
    """All cases in one call, or each by itself."""
    if not subject.whole:
        return run(*inputs)
    return [
        np.stack(np.broadcast_arrays(*arrays))
        for arrays in zip(*(run(*case) for case in zip(*inputs, strict=True)), strict=True)
    ]
