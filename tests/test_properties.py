"""What holds for any shape, dtype, mask, weights and hyperparameters.

A form of call (shape, dtype, reduction, which mask and weights) is a program to compile: each call of the catalogue has
a few, picked by its name. What goes into the program hypothesis draws. Every call is compared with the same loss in
double precision, entry by entry, and NumPy's sums of these.
"""

from random import Random
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import CATALOGUE, Call
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_laws import LOSS, N, is_float, over, program, rounded

SHAPES = [(), (1,), (N,), (2, 3), (1, 3, 2), (0,), (2, 0)]
DTYPES = [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64]
OPTIONAL = ["absent", "absent", "scalar", "whole", "stretched"]

# In the others an entry's loss depends on the rest of its batch, or there is one batch axis only.
APART = [call for call in CATALOGUE if not {"mask_is_indexing", "several_batch_axes"} & call.exempt]


class Form(NamedTuple):
    """A way of calling, which is one program."""

    shape: tuple[int, ...]
    dtype: Any
    where: str
    weights: str
    reduction: str


def forms(call: Call, count: int) -> list[Form]:
    choose = Random(call.name).choice
    return [
        Form(
            *(choose(SHAPES), choose(DTYPES)),
            *(choose(OPTIONAL), choose(OPTIONAL), choose(["none", "sum", "mean"])),
        )
        for _ in range(count)
    ]


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], kind: str, values: list[Any]) -> np.ndarray | None:
    """A scalar, an array of the loss's shape, or of its with axes of size 1."""
    if kind == "absent":
        return None
    if kind == "scalar":
        shape = ()
    if kind == "stretched":
        shape = tuple(1 if axis % 2 else n for axis, n in enumerate(shape))
    size = int(np.prod(shape))
    chosen = draw(st.lists(st.sampled_from(range(len(values))), min_size=size, max_size=size))
    return np.take(values, np.array(chosen, int)).reshape(shape)


def entry_by_entry(call: Call, inputs: tuple[Any, ...], options: dict[str, Any], *, mean: bool) -> list[np.ndarray]:
    """The loss of each entry and, for a mean, its share in that, in double precision."""
    losses = program(call)(inputs, **options).none
    if not mean:
        return [losses, np.ones(N)]
    alone = [program(call)(inputs, where=np.arange(N) == i, **options).partial for i in range(N)]
    totals, shares = (np.array(parts) for parts in zip(*map(jax.tree.leaves, alone), strict=True))
    np.testing.assert_allclose(losses, totals, rtol=1e-12)
    return [losses, shares]


def hold(call: Call, form: Form, *, seed: int, factor: float, where: Any, weights: Any) -> None:
    size = int(np.prod(form.shape))
    options = {name: value * factor for name, value in call.traced.items() if is_float(value) and value.ndim == 0}
    entries = rounded(call.inputs((N,), seed), form.dtype)
    inputs = call.batched(lambda x: x[:size].reshape((*form.shape, *x.shape[1:])), entries)
    found = call.loss(
        *inputs, **call.traced | options, **call.static, where=where, weights=weights, reduction=form.reduction
    )
    double = form.dtype == jnp.float64
    assert found.dtype == (jnp.float64 if double else jnp.float32)

    whole = entry_by_entry(call, rounded(entries, float), options, mean=form.reduction == "mean")
    losses, shares = (x[:size].reshape(form.shape) for x in whole)
    counted = np.broadcast_to(True if where is None else where, form.shape)
    multipliers = np.broadcast_to(1.0 if weights is None else weights, form.shape)
    with np.errstate(invalid="ignore"):  # a weight of 0 does not shield from an infinite loss
        values = np.where(counted, multipliers * losses, 0)
    total = np.where(counted, multipliers * shares, 0).sum()
    mean = values.sum() / total if total else 0
    expected = {"none": values, "sum": values.sum(), "mean": mean}[form.reduction]
    tolerance = 1e-9 if double else 1e-4  # the inputs are not extreme
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def hold_for_any(call: Call, form: Form) -> None:
    # Without shrinking, which takes minutes where it fails already when it is traced.
    @settings(max_examples=4, phases=[Phase.generate], deadline=None, derandomize=True, database=None)
    @given(
        seed=st.integers(0, 999),
        factor=st.floats(0.5, 1.0),
        where=arrays(form.shape, form.where, [True, False]),
        weights=arrays(form.shape, form.weights, [0.0, 0.75, 1.5]),
    )
    def held(**drawn: Any) -> None:
        hold(call, form, **drawn)

    held()


@over(APART, first_of=LOSS)
def test_any_call_is_the_sum_of_its_entries(call: Call) -> None:
    for form in forms(call, 2):
        hold_for_any(call, form)


@pytest.mark.slow
@over(APART)
def test_many_calls_are_the_sums_of_their_entries(call: Call) -> None:
    for form in forms(call, 10)[2:]:
        hold_for_any(call, form)


@over(CATALOGUE, first_of=LOSS)
@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_no_input_is_broadcast(call: Call, data: st.DataObject) -> None:
    position = data.draw(st.sampled_from([i for i, kind in enumerate(call.kinds) if kind.batched]))
    change = data.draw(st.sampled_from([lambda x: x[:1], lambda x: x[..., None], lambda x: x[None], lambda x: x[0]]))
    inputs = list(call.inputs((N,)))
    inputs[position] = change(inputs[position])
    with pytest.raises((ValueError, TypeError), match=f"^{call.loss.__name__}: "):
        jax.eval_shape(lambda: call.loss(*inputs, **call.options))
