"""What a loss is on some inputs, and its gradients: in truth, and as a JAX function computes them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from awkward import Array
from truth import curvature, truth

from .subjects import Inputs, Subject

Outcome = dict[str, Array]
"""The values as VALUE, and by the names of the inputs the gradients of their sum. Cases go first."""

VALUE = "value"


def true_outcome(subject: Subject, inputs: Inputs) -> Outcome:
    """What the definition says, rounded to float64.

    A derivative that does not exist is NaN. Where the loss is infinite its gradients are too: neither counts.
    """
    return over_cases(subject, partial(_true, subject), inputs)


def _true(subject: Subject, inputs: Inputs) -> Outcome:
    reduction = "sum" if subject.reduction == "none" else subject.reduction
    true = truth(subject.call, inputs, reduction=reduction, dtype=np.float32)
    values = true.values if subject.reduction == "none" else np.array(true.reduced)
    slopes = subject.named(true.inputs)
    gradients = {name: np.array(slopes[name]) for name in subject.differentiated(inputs)}
    infinite = ~np.isfinite(true.values)
    for gradient in gradients.values():
        gradient[infinite.any() if subject.whole else infinite] = np.inf
    return {VALUE: values, **gradients}


def jaxloss_outcome(subject: Subject, inputs: Inputs) -> Outcome:
    """What jaxloss computes."""
    return jax_outcome(subject, jaxloss_loss(subject), inputs)


def jaxloss_loss(subject: Subject) -> Callable[..., Any]:
    """The loss of the inputs."""
    return partial(subject.call.loss, reduction=subject.reduction, **subject.options)


def jax_outcome(subject: Subject, loss: Callable[..., Any], inputs: Inputs) -> Outcome:
    """Compiled, as in a training step."""
    compiled = jax.jit(jax.value_and_grad(_summed(subject, loss, inputs), has_aux=True))

    def run(inputs: Inputs) -> Outcome:
        arrays = {name: jnp.asarray(array) for name, array in subject.named(inputs).items()}
        (_, values), slopes = compiled({name: arrays[name] for name in subject.differentiated(inputs)}, arrays)
        return {name: np.asarray(array, np.float64) for name, array in ({VALUE: values} | slopes).items()}

    return over_cases(subject, run, inputs)


def _summed(subject: Subject, loss: Callable[..., Any], inputs: Inputs) -> Callable[..., Any]:
    """The sum of a loss and its values, by the inputs that have a gradient and by all, both by name."""
    structure, names = jax.tree.structure(inputs), list(subject.named(inputs))

    def summed(leaves: Mapping[str, jax.Array], arrays: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        # In the order of the inputs, which is not that of the compiled function's dictionaries.
        values = loss(*jax.tree.unflatten(structure, [leaves.get(name, arrays[name]) for name in names]))
        return jnp.sum(values, dtype=jnp.float32), values

    return summed


# --- second derivatives -----------------------------------------------------------------------------------------------


def directions(subject: Subject, inputs: Inputs) -> Outcome:
    """In which the inputs move: each by another power of 2, inwards from the ends of [0, 1], where that is a domain."""
    named, weights = subject.named(inputs), 0.5 ** np.arange(8)
    return {
        name: np.where(np.asarray(named[name], np.float64) < 0.5, weight, -weight).astype(subject.dtype)
        for name, weight in zip(subject.differentiated(inputs), weights, strict=False)
    }


def true_second(subject: Subject, inputs: Inputs) -> Outcome:
    """How the gradients move along these directions, in truth."""

    def run(inputs: Inputs) -> Outcome:
        structure, names = jax.tree.structure(inputs), list(subject.named(inputs))
        moves = directions(subject, inputs)
        tree = jax.tree.unflatten(structure, [moves.get(name) for name in names])
        found = subject.named(curvature(subject.call, inputs, tree, dtype=np.float32))
        return {name: np.array(found[name]) for name in moves}

    if subject.whole:
        return over_cases(subject, run, inputs)
    rows = len(jax.tree.leaves(inputs)[0])
    entries = [run(jax.tree.map(lambda x, row=row: x[row : row + 1], inputs)) for row in range(rows)]
    return {name: np.concatenate([entry[name] for entry in entries]) for name in entries[0]}


def jax_second(subject: Subject, loss: Callable[..., Any], inputs: Inputs) -> Outcome:
    """The same of a JAX function, compiled."""
    gradient = jax.grad(_summed(subject, loss, inputs), has_aux=True)

    @jax.jit
    def moved(arrays: Mapping[str, jax.Array], moves: Mapping[str, jax.Array]) -> Any:
        at = {name: arrays[name] for name in moves}
        return jax.jvp(lambda leaves: gradient(leaves, arrays)[0], (at,), (moves,))[1]

    def run(inputs: Inputs) -> Outcome:
        arrays = {name: jnp.asarray(array) for name, array in subject.named(inputs).items()}
        found = moved(arrays, directions(subject, inputs))
        return {name: np.asarray(array, np.float64) for name, array in found.items()}

    return over_cases(subject, run, inputs)


def over_cases(subject: Subject, run: Callable[[Inputs], Outcome], inputs: Inputs) -> Outcome:
    """All cases in one call, or each by itself."""
    if not subject.whole:
        return run(inputs)
    number = len(jax.tree.leaves(inputs)[0])
    cases = [run(jax.tree.map(lambda x, case=case: x[case], inputs)) for case in range(number)]
    return {name: np.stack([case[name] for case in cases]) for name in cases[0]}
