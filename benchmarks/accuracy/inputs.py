"""Random and adversarial inputs: all that is awkward about numbers, and about pairs and rows of them.

They are drawn in float64 and then rounded to the dtype that is studied, so that every library and the reference get the
same numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mode = Callable[[int], Array]

SPECIAL = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 1e-30, -1e-30, 1e30, -1e30, 1e4, -1e4, 1e-6, 1e-20, 88.0, -88.0, 20.0)
PARTS = (0.0, 1.0, 0.5, 1e-30, 1e-6, 1 - 1e-7, 0.999, 1e-3)


@dataclass(frozen=True)
class Draw:
    """A source of inputs.

    Attributes:
        rng: What chance there is.
        count: How many entries or rows to draw.
        dtype: The floating dtype they will be rounded to.
    """

    rng: np.random.Generator
    count: int
    dtype: Any

    @cached_property
    def decades(self) -> float:
        """Magnitudes are up to ten to this power: 30, or what the dtype holds."""
        return float(min(30.0, np.log10(float(jnp.finfo(self.dtype).max))))

    def mixed(self, *modes: Mode) -> Array:
        """Entries in equal parts from each mode, in random order: a mode makes as many as it is asked for."""
        parts = np.array_split(self.rng.permutation(self.count), len(modes))
        drawn = [mode(len(part)) for mode, part in zip(modes, parts, strict=True)]
        result = np.empty((self.count, *drawn[0].shape[1:]))
        for part, values in zip(parts, drawn, strict=True):
            result[part] = values
        return result

    def chosen(self, values: Sequence[float]) -> Mode:
        """One of some numbers."""
        return lambda n: self.rng.choice(values, n)

    def magnitudes(self, *shape: int) -> Array:
        """Log-uniform, of either sign."""
        return self.signs_of(*shape) * 10 ** self.rng.uniform(-self.decades, self.decades, shape)

    def signs_of(self, *shape: int) -> Array:
        """Of -1 and 1."""
        return self.rng.choice([-1.0, 1.0], shape)

    # --- entries ------------------------------------------------------------------------------------------------------

    def reals(self) -> Array:
        """Any number."""
        return self.mixed(self.rng.standard_normal, self.magnitudes, self.chosen(SPECIAL))

    def logits(self) -> Array:
        """Log-odds, a few of them infinite."""
        return self.mixed(
            lambda n: 3 * self.rng.standard_normal(n),
            lambda n: self.rng.uniform(-110, 110, n),
            self.magnitudes,
            self.chosen((*SPECIAL, -np.inf)),
        )

    def probs(self) -> Array:
        """From 0 to 1, both among them, and what is close to either."""
        return self.mixed(
            self.rng.random,
            lambda n: 10 ** -self.rng.uniform(0, 37, n),
            lambda n: 1 - 10 ** -self.rng.uniform(0, 8, n),
            self.chosen(PARTS),
        )

    def rates(self) -> Array:
        """Positive numbers, and 0."""
        return np.abs(self.reals())

    def counts(self) -> Array:
        """Whole numbers."""
        return self.mixed(
            lambda n: self.rng.poisson(3.0, n).astype(float), self.chosen([0.0, 1.0, 2.0, 3.0, 100.0, 1e4])
        )

    def near(self, x: Array) -> Array:
        """To each number another: often equal, nearly equal or opposite."""
        eps = float(jnp.finfo(self.dtype).eps)
        other = self.rng.permutation(x)
        candidates = [
            other,
            other,
            x,
            x * (1 + eps * self.rng.integers(-3, 4, x.shape)),
            x * (1 + 10 ** self.rng.uniform(-6, -1, x.shape)),
            x + self.signs_of(*x.shape),
            np.zeros_like(x),
            -x,
        ]
        return np.choose(self.rng.integers(0, len(candidates), (self.count, *[1] * (x.ndim - 1))), candidates)

    def whole(self, *values: int) -> Array:
        """One of some integers."""
        return self.rng.choice(np.array(values, np.int32), self.count)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def vectors(self, n: int) -> Array:
        """Rows of any length, also 0, and of entries that are alike or far apart."""
        shape = (n,)
        return self.mixed(
            lambda m: self.rng.standard_normal((m, *shape)),
            lambda m: self.rng.standard_normal((m, *shape)) * np.abs(self.magnitudes(m, 1)),
            lambda m: self.magnitudes(m, *shape),
            lambda m: np.zeros((m, *shape)),
            lambda m: np.where(self.rng.random((m, *shape)) < 0.5, 0.0, self.rng.standard_normal((m, *shape))),
            lambda m: np.broadcast_to(self.magnitudes(m, 1), (m, *shape)),
        )

    def similar(self, x: Array) -> Array:
        """To each row another: often equal, nearly equal, parallel, opposite or zero."""
        stretch = np.abs(self.magnitudes(self.count, *[1] * (x.ndim - 1))) ** 0.2
        rows = self.near(x)
        return np.where(self.rng.random(stretch.shape) < 0.2, stretch * rows, rows)

    def scores(self, classes: int) -> Array:
        """Finite logits: with ties, far apart, one far ahead."""
        normal = self.rng.standard_normal
        return self.mixed(
            lambda n: 2 * normal((n, classes)),
            lambda n: normal((n, classes)) * 10 ** self.rng.uniform(-3, 3, (n, 1)),
            lambda n: self.rng.integers(-1, 2, (n, classes)).astype(float),
            lambda n: np.broadcast_to(self.magnitudes(n, 1), (n, classes)),
            lambda n: normal((n, classes)) + self.rng.uniform(5, 110, (n, 1)) * self._one_hot(n, classes),
            lambda n: self.magnitudes(n, classes),
            lambda n: self.rng.choice(SPECIAL, (n, classes)),
        )

    def class_logits(self, classes: int) -> Array:
        """Logits of which some rule their class out."""
        logits = self.scores(classes)
        out = (self.rng.random(logits.shape) < 0.4) & (self.rng.random((self.count, 1)) < 0.15)
        out[np.arange(self.count), self._classes(self.count, classes)] = False  # one is left
        return np.where(out, -np.inf, logits)

    def labels(self, logits: Array) -> Array:
        """Classes that are not ruled out, half of them those of the largest logit."""
        random = self.rng.random(logits.shape)
        likely = np.where(self.rng.random((self.count, 1)) < 0.5, logits, random)
        return np.asarray(np.argmax(np.where(logits == -np.inf, -np.inf, likely), axis=-1), np.int32)

    def log_probs(self, classes: int) -> Array:
        """Log-probabilities, certain and impossible ones among them."""
        logits = self.class_logits(classes)
        with np.errstate(over="ignore", invalid="ignore"):
            shifted = logits - logits.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))

    def distributions(self, logits: Array) -> Array:
        """Probabilities of the classes that are not ruled out: even, certain, with zeros, with tiny ones."""
        shape = logits.shape
        weights = self.mixed(
            lambda n: self.rng.random((n, *shape[1:])),
            lambda n: 10 ** -self.rng.uniform(0, 30, (n, *shape[1:])),
            lambda n: np.where(self.rng.random((n, *shape[1:])) < 0.5, 0.0, 1.0),
            lambda n: np.ones((n, *shape[1:])),
        )
        certain = self._one_hot(self.count, shape[-1])
        weights = np.where(self.rng.random((self.count, 1)) < 0.2, certain, weights)
        weights = np.where(logits == -np.inf, 0.0, weights)
        return np.asarray(weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300))

    def bits(self, logits: Array) -> Array:
        """0, 1, or between; 0 for classes that are ruled out."""
        targets = self.rng.choice([0.0, 1.0, 0.25], logits.shape)
        return np.where(logits == -np.inf, 0.0, targets)

    def label_lists(self, logits: Array) -> Array:
        """Lists of classes that are not ruled out, ended by -1."""
        order = np.argsort(np.where(logits == -np.inf, 2.0, self.rng.random(logits.shape)), axis=-1)
        lengths = self.rng.integers(0, np.sum(logits > -np.inf, axis=-1) + 1)
        return np.where(np.arange(logits.shape[-1]) < lengths[:, None], order, -1).astype(np.int32)

    def _classes(self, n: int, classes: int) -> Array:
        return self.rng.integers(0, classes, n)

    def _one_hot(self, n: int, classes: int) -> Array:
        return np.asarray(np.arange(classes) == self._classes(n, classes)[:, None], float)


def rounded(array: Array, dtype: Any) -> Array:
    """Floats in a dtype: finite ones stay so, and subnormals that hardware may take for 0 become 0."""
    if not np.issubdtype(array.dtype, np.floating):
        return array
    info = jnp.finfo(dtype)
    largest = float(info.max)
    clipped = np.where(np.isinf(array), array, np.clip(array, -largest, largest)).astype(dtype)
    least = float(np.finfo(np.float32).tiny)
    return np.where(np.abs(clipped.astype(np.float64)) < least, np.zeros_like(clipped), clipped)
