"""What is studied: every line of the tests' catalogue, on awkward inputs of several dtypes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from awkward import Draw, is_float, rounded
from catalogue import CATALOGUE, CLASSES, Call

import jaxloss

MOST, NUMBERS = 2000, 4000  # entries or rows, and what they hold in all
BATCHES, ROWS = 60, 6  # where a call is of a batch as a whole
MANY_CLASSES, FEW_ROWS = 131_072, 2

Inputs = tuple[Any, ...]
"""Of a call: arrays, or tuples of them, with an axis of cases first."""


@dataclass(frozen=True)
class Subject:
    """A call on inputs of a dtype. A case is an entry or a row; a batch, where rows have something in common.

    Attributes:
        call: A line of the catalogue.
        dtype: Of the floating inputs.
        classes: How many of them a row has.
    """

    call: Call
    dtype: Any
    classes: int = CLASSES

    @property
    def name(self) -> str:
        """What the tables call it."""
        inputs = self.call.inputs((1,))
        soft = any(name == "labels" and x.dtype.kind == "f" for name, x in zip(self.call.names, inputs, strict=True))
        titles = [self.call.name, *["probabilities"] * soft, *[f"{self.classes:,} classes"] * (self.classes > CLASSES)]
        return ", ".join(titles)

    @property
    def options(self) -> dict[str, Any]:
        """Those of the call as float32, which is how every library rounds them."""
        return {name: _single(value) for name, value in self.call.options.items()}

    @property
    def whole(self) -> bool:
        """Whether a case is a batch, which is handed to the loss by itself."""
        return self.call.in_batch or not all(kind.batched for kind in self.call.kinds)

    @property
    def reduction(self) -> str:
        """Of a case: where rows are compared, others have the mean only."""
        return "mean" if self.call.in_batch else "none"

    @property
    def cases(self) -> int:
        """How many are worth the time."""
        if self.classes > CLASSES:
            return FEW_ROWS
        if self.whole:
            return BATCHES
        return min(MOST, NUMBERS // sum(int(x.size) for x in self.call.inputs((1,))))

    def inputs(self, cases: int, seed: int = 0) -> Inputs:
        """So many cases."""
        rng = np.random.default_rng(seed)
        if self.whole:
            drawn = [self.call.awkward_inputs(Draw(rng, ROWS, self.dtype, self.classes)) for _ in range(cases)]
            inputs: Inputs = jax.tree.map(lambda *batches: np.stack(batches), *drawn)
        else:
            inputs = self.call.awkward_inputs(Draw(rng, cases, self.dtype, self.classes))
        cast: Inputs = jax.tree.map(lambda x: rounded(x, self.dtype), inputs)
        return cast

    def named(self, inputs: Inputs) -> dict[str, Any]:
        """The arrays of inputs, or of something of their structure, by name."""
        found: dict[str, Any] = {}
        for name, tree in zip(self.call.names, inputs, strict=True):
            leaves = jax.tree.leaves(tree)
            found |= {name if len(leaves) == 1 else f"{name} {i}": leaf for i, leaf in enumerate(leaves, 1)}
        return found

    def differentiated(self, inputs: Inputs) -> list[str]:
        """The names of those that have a gradient."""
        discrete = {name for name, kind in zip(self.call.names, self.call.kinds, strict=True) if kind.discrete}
        return [name for name, x in self.named(inputs).items() if is_float(x) and name not in discrete]


def subjects() -> Iterator[Subject]:
    """Of every line of the catalogue, and of cross-entropy as language models have it."""
    for call in CATALOGUE:
        for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
            yield Subject(call, dtype)
        if call.loss is jaxloss.cross_entropy and not call.options:
            for dtype in (jnp.float32, jnp.bfloat16):
                yield Subject(call, dtype, MANY_CLASSES)


def _single(option: Any) -> Any:
    if isinstance(option, float):
        return float(np.float32(option))
    return option.astype(np.float32) if isinstance(option, np.ndarray) and is_float(option) else option
