"""Finite inputs at the ends of a dtype's range: what a loss makes of them, and whether that is right.

A value is to be within some ulp of the largest term that its definition is made of, and neither it nor a gradient may
be NaN or infinite where the truth fits into the dtype.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from awkward import Array, is_float, rounded
from catalogue import Call, Input
from truth import entries

ULPS = 8
MOST, TINY, EPS = (
    float(number) for number in (np.finfo(np.float32).max, np.finfo(np.float32).tiny, np.finfo(np.float32).eps)
)


def extremes(dtype: Any) -> list[float]:
    """The largest numbers and the least, their roots, and what lies between."""
    info = jnp.finfo(dtype)
    ends = [float(end) for end in (info.max, info.tiny)]
    numbers = [0.0, 1.0, float(info.eps), *ends, *np.sqrt(ends), ends[0] / 4, ends[1] * 4]
    return [sign * float(np.asarray(number, dtype)) for number in numbers for sign in (1, -1)]


def extreme_inputs(call: Call, rng: np.random.Generator, rows: int, dtype: Any) -> tuple[Any, ...]:
    """Inputs of such numbers alone; what is not floating is drawn as ever."""

    def drawn(kind: Input) -> Any:
        def extreme(leaf: Array) -> Array:
            return rounded(kind.within(rng.choice(extremes(dtype), leaf.shape)), dtype) if is_float(leaf) else leaf

        return jax.tree.map(extreme, kind.sample(rng, (rows,)))

    return tuple(drawn(kind) for kind in call.kinds)


def compiled(call: Call) -> Callable[..., Any]:
    """The values under a mask, and the gradients of their sum by the number of the input, as a program."""

    @jax.jit
    def run(inputs: Any, where: Any) -> Any:
        floating = [
            i
            for i, (kind, x) in enumerate(zip(call.kinds, inputs, strict=True))
            if is_float(jax.tree.leaves(x)[0]) and not kind.discrete
        ]

        def loss(chosen: Any) -> Any:
            arguments = [chosen.get(i, x) for i, x in enumerate(inputs)]
            values = call.loss(*arguments, **call.options, where=where, reduction="none")
            return jnp.sum(values, dtype=jnp.float32), values

        (_, values), slopes = jax.value_and_grad(loss, has_aux=True)({i: inputs[i] for i in floating})
        return values, slopes

    return lambda inputs, where: jax.device_get(run(inputs, where))


def checked(call: Call, inputs: tuple[Any, ...], where: Array, values: Array, slopes: dict[int, Any]) -> float:
    """The largest error of the values in ulp of their terms.

    Raises:
        AssertionError: Something is not as it is to be.
    """
    doubled = jax.tree.map(lambda x: x.astype(np.float64) if is_float(x) else x, inputs)
    true = entries(call, call.batched(lambda x: jax.tree.map(lambda a: a[where], x), doubled), dtype=np.float32)
    worst = 0.0
    for value, entry in zip(np.asarray(values, np.float64)[where], true, strict=True):
        if abs(entry.value) < MOST * (1 - ULPS * EPS):
            assert np.isfinite(value), f"{value} is in truth {entry.value}"
            # Hardware may take what lies below the least normal number for 0: also half an input.
            error = max(abs(value - entry.value) - 2 * TINY, 0.0) / (EPS * max(entry.size, abs(entry.value), TINY))
            assert error <= ULPS, (
                f"{value} is in truth {entry.value}: {error:.1f} ulp of its largest term, {entry.size}"
            )
            worst = max(worst, error)
    assert not np.any(values[~where]), "what is masked is not 0"
    if true:
        finite = np.isfinite([entry.value for entry in true])
        for i, slope in slopes.items():
            apart = call.kinds[i].batched and not call.in_batch
            rows = finite if apart else slice(None) if finite.all() else slice(0)
            for found, *parts in zip(*map(jax.tree.leaves, (slope, *(entry.inputs[i] for entry in true))), strict=True):
                expected, largest = np.sum(parts, axis=0)[rows], float(jnp.finfo(found.dtype).max)
                found = np.asarray(found[where] if call.kinds[i].batched else found, np.float64)[rows]
                wrong = ~np.isfinite(found) & ~(np.abs(expected) > largest * (1 - ULPS * EPS))
                assert not wrong.any(), f"the gradient by {call.names[i]} is {found}, in truth {expected}"
    return worst
