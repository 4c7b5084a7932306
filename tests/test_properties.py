"""What holds for any shape, dtype, mask, weights and hyperparameters, tried on those that hypothesis draws.

Every call is compared with the same loss in double precision, entry by entry, and NumPy's sums of these.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import CATALOGUE, Call
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import is_float, over

import jaxloss

N = 6
SHAPES = [(), (1,), (N,), (2, 3), (1, 3, 2), (0,), (2, 0)]
DTYPES = [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64]

# In the others an entry's loss depends on the rest of its batch, or there is one batch axis only.
APART = [call for call in CATALOGUE if not {"mask_is_indexing", "several_batch_axes"} & call.exempt]


class Drawn(NamedTuple):
    """What hypothesis chose."""

    shape: tuple[int, ...]
    dtype: Any
    seed: int
    where: np.ndarray | None
    weights: np.ndarray | None
    reduction: str
    factor: float

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@st.composite
def drawings(draw: st.DrawFn) -> Drawn:
    shape = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 999)))

    def some_shape() -> tuple[int, ...]:
        """A scalar's, the loss's, or its with axes of size 1."""
        kept = draw(st.sampled_from(["scalar", "whole", "stretched"]))
        return () if kept == "scalar" else tuple(1 if kept == "stretched" and i % 2 else n for i, n in enumerate(shape))

    return Drawn(
        shape,
        draw(st.sampled_from(DTYPES)),
        draw(st.integers(0, 999)),
        np.asarray(rng.random(some_shape()) < 0.6) if draw(st.booleans()) else None,
        np.asarray(rng.integers(0, 3, some_shape()) * 0.75) if draw(st.booleans()) else None,
        draw(st.sampled_from(["none", "sum", "mean"])),
        draw(st.floats(0.5, 1.0)),
    )


@cache
def entry_by_entry(call: Call) -> Any:
    """The loss and the share in the mean of each entry of a batch, in double precision."""
    axes = tuple(0 if kind.batched else None for kind in call.kinds)

    @jax.jit
    def evaluate(inputs: Any, options: Any) -> jaxloss.PartialMean:
        partial_loss = jaxloss.partial_mean(call.loss)
        return jax.vmap(lambda *inputs: partial_loss(*inputs, **options, **call.static), in_axes=axes)(*inputs)

    return evaluate


def expected(call: Call, drawn: Drawn, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    losses, shares = (np.asarray(x)[: drawn.size] for x in jax.tree.leaves(entry_by_entry(call)(inputs, options)))
    where, weights = (
        np.broadcast_to(default if option is None else option, drawn.shape).ravel()
        for option, default in ((drawn.where, True), (drawn.weights, 1.0))
    )
    with np.errstate(invalid="ignore"):  # a weight of 0 does not shield from an infinite loss
        values = np.where(where, weights * losses, 0)
    total = np.where(where, weights * shares, 0).sum()
    return {
        "none": values.reshape(drawn.shape),
        "sum": values.sum(),
        "mean": values.sum() / total if total else 0,
    }[drawn.reduction]


def hold(call: Call, drawn: Drawn) -> None:
    scalars = {name: value * drawn.factor for name, value in call.traced.items() if is_float(value) and value.ndim == 0}
    options = call.traced | scalars
    rounded = jax.tree.map(lambda x: np.asarray(x, drawn.dtype) if is_float(x) else x, call.inputs((N,), drawn.seed))
    doubled = jax.tree.map(lambda x: np.asarray(x, float) if is_float(x) else x, rounded)
    inputs = call.batched(lambda x: x[: drawn.size].reshape((*drawn.shape, *x.shape[1:])), rounded)
    found = call.loss(
        *inputs, **options, **call.static, where=drawn.where, weights=drawn.weights, reduction=drawn.reduction
    )
    double = drawn.dtype == jnp.float64
    assert found.dtype == (jnp.float64 if double else jnp.float32)
    tolerance = 1e-9 if double else 1e-4  # the inputs are not extreme
    np.testing.assert_allclose(found, expected(call, drawn, doubled, options), rtol=tolerance, atol=tolerance)


@over(APART, dear=True)
def test_any_call_is_the_sum_of_its_entries(call: Call) -> None:
    settings(max_examples=4, deadline=None, derandomize=True, database=None)(holding(call))()


@pytest.mark.slow
@over(APART)
def test_many_calls_are_the_sums_of_their_entries(call: Call) -> None:
    settings(max_examples=10, deadline=None, derandomize=True, database=None)(holding(call))()


def holding(call: Call) -> Callable[[], None]:
    @given(drawings())
    def held(drawn: Drawn) -> None:
        hold(call, drawn)

    return held


@over(CATALOGUE, dear=True)
@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_no_input_is_broadcast(call: Call, data: st.DataObject) -> None:
    position = data.draw(st.sampled_from([i for i, kind in enumerate(call.kinds) if kind.batched]))
    change = data.draw(st.sampled_from([lambda x: x[:1], lambda x: x[..., None], lambda x: x[None], lambda x: x[0]]))
    inputs = list(call.inputs((N,)))
    inputs[position] = change(inputs[position])
    with pytest.raises((ValueError, TypeError), match=f"^{call.loss.__name__}: "):
        jax.eval_shape(lambda: call.loss(*inputs, **call.options))
