"""Random and adversarial inputs: all that is awkward about numbers, and about pairs and rows of them.

`Draw` has what there is to draw. Below it stand the inputs of a loss, each drawn with those before it at hand: targets
are often close to predictions, and labels are rarely of classes that logits rule out. They are drawn in float64 and
then rounded to the dtype that is studied, so that every library and the truth get the same numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
        classes: How many classes, or entries of a vector, there are in a row.
    """

    rng: np.random.Generator
    count: int
    dtype: Any
    classes: int

    @cached_property
    def decades(self) -> float:
        """Magnitudes are up to ten to this power: 30, or what the dtype holds."""
        return float(min(30.0, np.log10(float(jnp.finfo(self.dtype).max))))

    def mixed(self, *modes: Mode) -> Array:
        """Entries in equal parts from each mode, in random order: a mode makes as many as it is asked for."""
        first = self.rng.integers(len(modes))  # where there are fewer entries than modes
        parts = self.rng.permutation(first + np.arange(self.count)) % len(modes)
        drawn = [mode(int(np.sum(parts == index))) for index, mode in enumerate(modes)]
        result = np.empty((self.count, *drawn[0].shape[1:]))
        for index, values in enumerate(drawn):
            result[parts == index] = values
        return result

    def either(self, probability: float, x: Array, y: Array) -> Array:
        """Entries or rows of the first with some probability, else of the second."""
        chosen = self.rng.random((self.count, *[1] * (y.ndim - 1))) < probability
        return np.where(chosen, x, y)

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

    # --- rows ---------------------------------------------------------------------------------------------------------

    def vectors(self) -> Array:
        """Of any length, also 0, and of entries that are alike or far apart."""
        shape = (self.classes,)
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

    def scores(self) -> Array:
        """Finite logits: with ties, far apart, one far ahead."""
        normal, classes = self.rng.standard_normal, self.classes
        return self.mixed(
            lambda n: 2 * normal((n, classes)),
            lambda n: normal((n, classes)) * 10 ** self.rng.uniform(-3, 3, (n, 1)),
            lambda n: self.rng.integers(-1, 2, (n, classes)).astype(float),
            lambda n: np.broadcast_to(self.magnitudes(n, 1), (n, classes)),
            lambda n: normal((n, classes)) + self.rng.uniform(5, 110, (n, 1)) * self._one_hot(n),
            lambda n: self.magnitudes(n, classes),
            lambda n: self.rng.choice(SPECIAL, (n, classes)),
        )

    def class_logits(self) -> Array:
        """Logits of which some rule their class out."""
        logits = self.scores()
        out = (self.rng.random(logits.shape) < 0.4) & (self.rng.random((self.count, 1)) < 0.15)
        out[np.arange(self.count), self.rng.integers(0, self.classes, self.count)] = False  # one is left
        return np.where(out, -np.inf, logits)

    def labels(self, logits: Array) -> Array:
        """Classes that are not ruled out, half of them those of the largest logit."""
        random = self.rng.random(logits.shape)
        likely = np.where(self.rng.random((self.count, 1)) < 0.5, logits, random)
        return np.asarray(np.argmax(np.where(logits == -np.inf, -np.inf, likely), axis=-1), np.int32)

    def distributions(self, logits: Array | float = 0.0) -> Array:
        """Probabilities of the classes that are not ruled out: even, certain, with zeros, with tiny ones."""
        weights = self.mixed(
            lambda n: self.rng.random((n, self.classes)),
            lambda n: 10 ** -self.rng.uniform(0, 30, (n, self.classes)),
            lambda n: np.where(self.rng.random((n, self.classes)) < 0.5, 0.0, 1.0),
            lambda n: np.ones((n, self.classes)),
        )
        weights = np.where(logits == -np.inf, 0.0, self.either(0.2, self._one_hot(self.count), weights))
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

    def _one_hot(self, n: int) -> Array:
        return np.asarray(np.arange(self.classes) == self.rng.integers(0, self.classes, (n, 1)), float)


def log_softmax(logits: Array) -> Array:
    """What logits say, as logs of probabilities."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def softmax(logits: Array) -> Array:
    """What they say."""
    return np.asarray(np.exp(log_softmax(logits)))


def is_float(array: Any) -> bool:
    """Whether an array is of floats, half precision among them."""
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


def rounded(array: Array, dtype: Any) -> Array:
    """Floats in a dtype: finite ones stay so, and subnormals that hardware may take for 0 become 0."""
    if not is_float(array):
        return array
    info = jnp.finfo(dtype)
    largest = float(info.max)
    clipped = np.where(np.isinf(array), array, np.clip(array, -largest, largest)).astype(dtype)
    least = float(np.finfo(np.float32).tiny)
    return np.where(np.abs(clipped.astype(np.float64)) < least, np.zeros_like(clipped), clipped)


# --- the inputs of losses ---------------------------------------------------------------------------------------------


def real(d: Draw, *before: Array) -> Array:
    """Any number, often close to the first of those before it."""
    return d.near(before[0].reshape(d.count, -1)[:, 0]) if before else d.reals()


def above_minus_one(d: Draw, *before: Array) -> Array:
    """A number, or its opposite where that is not below -0.99: close to -1 float16 has no other."""
    x = real(d, *before)
    return np.where(x < -0.99, -x, x)


def positive(d: Draw, *before: Array) -> Array:
    """A positive number, or with one before it one that is often close to that, or 0."""
    return np.abs(d.near(before[0])) if before else np.maximum(d.rates(), 10**-d.decades)


def scale(d: Draw, *before: Array) -> Array:
    """Of a distribution: often that of what is between its mean and the target, the two before it."""
    rates = d.rates()
    if len(before) < 2:
        return rates
    return d.either(0.3, np.abs(before[0] - before[1]) * (1 + d.rng.random(d.count)), rates)


def log_rate(d: Draw, *_: Array) -> Array:
    """The log of a rate: often close to that of a count."""
    near = np.log(np.maximum(d.counts(), 1e-3)) * (1 + 10 ** d.rng.uniform(-8, -1, d.count))
    return d.either(0.3, near, np.minimum(d.reals(), 80))


def count(d: Draw, rates: Array, *_: Array) -> Array:
    """A whole number: often the closest to the rate before it, or to that of which this is the log."""
    with np.errstate(over="ignore"):
        near = np.rint(d.either(0.5, rates, np.exp(rates)))
    return np.where((near >= 0) & (near <= 1e4) & (d.rng.random(d.count) < 0.4), near, d.counts())


def logit(d: Draw, *_: Array) -> Array:
    """Log-odds, a few of them infinite."""
    return d.logits()


def prob(d: Draw, *before: Array) -> Array:
    """A probability; with logits before it, as a target, that of those which are certain."""
    if not before:
        return d.probs()
    return _certain(before[0], d.either(0.5, d.probs(), d.chosen([0.0, 1.0])(d.count)))


def bit(d: Draw, *before: Array) -> Array:
    """0 or 1, likewise."""
    return _certain(before[0], d.chosen([0.0, 1.0])(d.count))


def _certain(logits: Array, targets: Array) -> Array:
    return np.where(np.isinf(logits), np.heaviside(logits, 0.0), targets)


def vector(d: Draw, *before: Array) -> Array:
    """A vector, often similar to the first."""
    return d.similar(before[0]) if before else d.vectors()


def samples(d: Draw, quantiles: Array) -> Array:
    """Three numbers, often close to the first quantiles."""
    return d.near(quantiles[:, :3])


def log_variances(d: Draw, means: Array) -> Array:
    """A row of them, often similar to the means."""
    return np.clip(d.similar(means), -80, 80)


def scales(d: Draw, means: Array, targets: Array) -> Array:
    """A row of them, often similar to the distances of the target from the means."""
    return np.abs(d.similar(means - targets[:, None]))


def class_logits(d: Draw, *_: Array) -> Array:
    """A row of logits."""
    return d.class_logits()


def log_probs(d: Draw, *before: Array) -> Array:
    """A row of logs of probabilities, as a target often those before it."""
    with np.errstate(divide="ignore"):
        return np.log(predicted(d, *before)) if before else log_softmax(d.class_logits())


def distribution(d: Draw, *before: Array) -> Array:
    """A row of probabilities of the classes that no logit rules out."""
    logits = _logits(d, before)
    return d.distributions() if logits is None else d.distributions(logits)


def predicted(d: Draw, logits: Array) -> Array:
    """The same, often what the logits say."""
    return d.either(0.3, softmax(logits), d.distributions(logits))


def amounts(d: Draw, logits: Array) -> Array:
    """The same, often with another sum."""
    return d.either(0.5, np.ones((d.count, 1)), 10 ** d.rng.uniform(-2, 2, (d.count, 1))) * predicted(d, logits)


def label(d: Draw, *before: Array) -> Array:
    """A class that no logit rules out; of a layer, any class."""
    logits = _logits(d, before)
    return d.rng.integers(0, d.classes, d.count) if logits is None else d.labels(logits)


def _logits(d: Draw, before: tuple[Array, ...]) -> Array | None:
    """The logits among inputs, or their logs of probabilities, where they are not still to be computed."""
    return next((x for x in before if x.shape == (d.count, d.classes)), None)


def bits(d: Draw, logits: Array) -> Array:
    """A row of targets."""
    return d.bits(logits)


def label_lists(d: Draw, logits: Array) -> Array:
    """A row of labels."""
    return d.label_lists(logits)


def hidden(d: Draw, features: int) -> Array:
    """Features of a layer, of every scale that leaves digits to their products with a kernel."""
    return np.asarray(10 ** d.rng.uniform(-2, 1, (d.count, 1)) * d.rng.standard_normal((d.count, features)))


def image(d: Draw, pixels: int, *before: Array) -> Array:
    """Pixels of probabilities, as a target often those before it."""
    probs = replace(d, count=pixels * d.count).distributions().reshape(d.count, pixels, d.classes)
    return d.either(0.3, before[0], probs) if before else probs


def label_image(d: Draw, probs: Array) -> Array:
    """The classes of pixels, often the most probable ones."""
    return d.either(0.3, probs.argmax(axis=-1), d.rng.integers(0, d.classes, probs.shape[:-1]))


def frames(d: Draw, number: int) -> Array:
    """A row of finite logits for each frame of a sequence."""
    return replace(d, count=number * d.count).scores().reshape(d.count, number, d.classes)
