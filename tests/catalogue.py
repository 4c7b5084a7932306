"""One line per call of a loss: what it takes, with which options, and which laws it is exempt from.

Over every line run the laws of `test_laws.py`, the comparison with its definition, and the study of accuracy. A new
loss needs one here, and its definition, to be held to all of them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import awkward
import jax
import numpy as np
from awkward import Draw, softmax

import jaxloss
from jaxloss._kit.decorator import loss_of

CLASSES = 5
SYMBOLS = 3
FRAMES = 5
PIXELS = 4

# Every public loss by its name.
LOSSES: dict[str, Callable[..., jax.Array]] = {
    name: function for name, function in vars(jaxloss).items() if loss_of(function) is not None
}


def static_options(loss: Callable[..., jax.Array]) -> frozenset[str]:
    """The names of the options of a loss that change the program."""
    made = loss_of(loss)
    assert made is not None
    return made.definition.static


Sampler = Callable[[np.random.Generator, tuple[int, ...]], Any]


@dataclass(frozen=True)
class Input:
    """One kind of argument.

    Attributes:
        sample: Makes it for a batch shape, away from kinks: for the laws, and beside the definition.
        edges: Entries where gradients are prone to break, stacked along the first axis: they have to be finite there.
        awkward: Draws entries on which floats lose digits, given the inputs before it: for the study of accuracy. By
            default `sample` and `edges` in turns.
        within: What it makes of any finite numbers, to be one of its kind: for the fuzz.
        batched: Whether it has an entry per loss, unlike parameters.
        invalid: A value that is not allowed, which checkify has to find.
        discrete: Whether values between its own mean nothing, so that it has no derivative.
    """

    sample: Sampler
    edges: Any = None
    awkward: Callable[..., np.ndarray] | None = None
    within: Callable[[np.ndarray], np.ndarray] = lambda x: x
    batched: bool = True
    invalid: float | None = None
    discrete: bool = False

    def drawn(self, draw: Draw, *before: Any) -> Any:
        """Awkward ones, after the inputs before it."""
        if self.awkward is not None:
            return self.awkward(draw, *before)
        if not self.batched:
            return self.sample(draw.rng, ())
        ordinary = self.sample(draw.rng, (draw.count,))
        return ordinary if self.edges is None else draw.either(0.5, draw.rng.choice(self.edges, draw.count), ordinary)


def _part(x: np.ndarray) -> np.ndarray:
    """From 0 to 1, at either end as fine as floats are."""
    folded = np.minimum(np.abs(x), 1 / np.maximum(np.abs(x), 1))
    return np.asarray(np.where(x < 0, 1 - folded, folded))


def _shares(x: np.ndarray) -> np.ndarray:
    """Of a sum of 1; zeros stay what they are."""
    most = np.abs(x).max(axis=-1, keepdims=True)
    x = np.abs(x) / np.where(most > 0, most, 1)
    return np.asarray(x / np.maximum(x.sum(axis=-1, keepdims=True), 1))


def _factor(x: np.ndarray) -> np.ndarray:
    """One whose products with two others stay in the dtype."""
    return np.asarray(np.sign(x) * np.abs(x) ** 0.3)


def _moderate(x: np.ndarray) -> np.ndarray:
    """Of which any few have a sum or a difference in the dtype."""
    return np.asarray(x / 16)


def _normal(*entry: int, scale: float = 1.0) -> Sampler:
    return lambda rng, batch: scale * rng.normal(size=(*batch, *entry))


def _uniform(low: float, high: float, *entry: int) -> Sampler:
    return lambda rng, batch: rng.uniform(low, high, (*batch, *entry))


def _label_lists(rng: np.random.Generator, batch: tuple[int, ...]) -> np.ndarray:
    lists = rng.permuted(np.broadcast_to(np.arange(CLASSES), (*batch, CLASSES)), axis=-1)
    lists[..., 2] = -1
    return lists


def _rows(*rows: list[float]) -> np.ndarray:
    return np.array([(row * CLASSES)[:CLASSES] for row in rows])


REAL = Input(_normal(), np.array([0.0, 1.0, -1.0, 1e-20, 1e4, -1e4]), awkward.real)
LOGIT = Input(_normal(scale=2.0), np.array([0.0, 1.0, 1e4, -1e4, 1e30, -1e30]), awkward.logit)
LOG_RATE = Input(_normal(), np.array([0.0, 1.0, -1e4, 40.0]), awkward.log_rate)
PROB = Input(_uniform(0.1, 0.9), np.array([0.0, 1.0, 0.5, 1e-30]), awkward.prob, invalid=1.5, within=_part)
BIT = Input(
    lambda rng, batch: rng.integers(0, 2, batch).astype(float),
    np.array([0.0, 1.0]),
    awkward.bit,
    invalid=-0.5,
    within=lambda x: np.where(x > 0, 1.0, 0.0),
)
SIGN = Input(
    lambda rng, batch: rng.choice([-1.0, 1.0], batch),
    np.array([-1.0, 1.0]),
    invalid=0.5,
    discrete=True,
    within=lambda x: np.where(x > 0, 1.0, -1.0),
)
COUNT = Input(
    lambda rng, batch: rng.poisson(3.0, batch) + 2.0,
    np.array([0.0, 1.0, 2.0, 1e4]),
    awkward.count,
    invalid=-3.0,
    within=lambda x: np.floor(np.abs(x)),
)
ABOVE_MINUS_ONE = Input(
    _uniform(-0.9, 3.0),
    np.array([0.0, 1.0, -1 + 1e-7, 1e-20, 1e30]),
    awkward.above_minus_one,
    invalid=-3.0,
    within=lambda x: np.where(x < -0.99, -x, x),
)
RATE = Input(_uniform(0.5, 3.0), np.array([0.0, 1e-30, 1.0, 1e30]), awkward.scale, within=np.abs)
MEAN_COUNT = Input(_uniform(0.5, 3.0), np.array([0.0, 1e-30, 1.0, 1e4]), awkward.scale, invalid=-2.0, within=np.abs)
DISPERSION = Input(_uniform(0.2, 2.0), np.array([0.0, 1e-8, 1.0, 1e8]), awkward.scale, invalid=-2.0, within=np.abs)
DF = Input(
    _uniform(0.5, 5.0),
    np.array([1e-3, 1.0, 1e8, np.inf]),
    lambda d, *_: awkward.positive(d),
    invalid=-2.0,
    within=lambda x: np.where(x == 0, 1.0, np.abs(x)),
)
AMOUNT = Input(_uniform(0.5, 3.0), np.array([0.0, 1e-10, 1.0, 1e4]), awkward.positive, invalid=-2.0, within=np.abs)
MEAN_AMOUNT = replace(
    AMOUNT, edges=np.array([1e-10, 1.0, 1.0001, 1e4]), within=lambda x: np.where(x == 0, 1.0, np.abs(x))
)
LABEL = Input(lambda rng, batch: rng.integers(0, CLASSES, batch), np.arange(CLASSES), awkward.label, invalid=77)

_LOGIT_ROWS = [[0.0], [1e30, 0.0], [-1e30, 1e30], [1e4, -1e4, 3.0], [1e-30], [-np.inf, 1.0, 2.0], [-np.inf]]
LOGITS = Input(_normal(CLASSES, scale=2.0), _rows(*_LOGIT_ROWS, [1e38, -1e38]), awkward.class_logits)
MODERATE_LOGITS = replace(LOGITS, within=_moderate)
WEIGHTED_LOGITS = replace(LOGITS, edges=_rows(*_LOGIT_ROWS))  # three times 2e38 is beyond float32
UNNORMALISED = Input(
    lambda rng, batch: np.log(softmax(rng.normal(size=(*batch, CLASSES)))),
    _rows([-1.6], [0.0, -np.inf, -1e30]),
    awkward.log_probs,
)
LOG_PROBS = replace(UNNORMALISED, invalid=2.0, within=awkward.log_softmax)
SCORES = replace(LOGITS, edges=_rows([0.0], [1e4, -1e4, 3.0], [1e-30], [-np.inf, 1.0, 2.0], [-np.inf]))
SIMPLEX = Input(
    lambda rng, batch: softmax(rng.normal(size=(*batch, CLASSES))),
    _rows([0.2], [1.0, 0.0, 0.0, 0.0, 0.0], [0.0]),
    awkward.distribution,
    within=_shares,
)
DISTRIBUTION = replace(SIMPLEX, invalid=-0.5)
PREDICTED = replace(DISTRIBUTION, awkward=awkward.predicted)
AMOUNTS = Input(
    _uniform(0.1, 2.0, CLASSES), _rows([0.2], [1.0, 0.0, 3.0], [0.0]), awkward.amounts, invalid=-2.0, within=np.abs
)
LATENTS = Input(_normal(CLASSES), _rows([0.0], [1.0], [1e4, -1e4, 1e-20]), awkward.vector)
LOG_VARIANCES = Input(_normal(CLASSES), _rows([0.0], [1.0, -1e4, 40.0, 1e-20]), awkward.log_variances)
SCALES = Input(_uniform(0.5, 2.0, CLASSES), _rows([1.0], [0.0, 1e-30, 1e30, 2.0]), awkward.scales, within=np.abs)
BITS = Input(
    lambda rng, batch: rng.integers(0, 2, (*batch, CLASSES)).astype(float),
    _rows([0.0], [1.0], [1.0, 0.0]),
    awkward.bits,
    invalid=2.0,
    within=lambda x: np.where(x > 0, 1.0, 0.0),
)
LABEL_LISTS = Input(
    _label_lists, _rows([-1], [3, -1], [0, 1, 2, 3, 4], [1, 1, 0, -1]).astype(int), awkward.label_lists, invalid=77
)
VECTOR = Input(
    _normal(CLASSES),
    _rows([0.0], [1.0], [1e-25], [1e25, -1e25], [1e25, 1e-25], [0.0, 1.0, 0.0], [1e-40]),
    awkward.vector,
)

SAMPLES = Input(_normal(3), _rows([0.0], [1.0], [1e25, -1e25, 1e-25])[:, :3], awkward.samples)

FEATURES = replace(VECTOR, awkward=lambda d: awkward.hidden(d, CLASSES), within=_factor)
HEAD = Input(lambda rng, batch: rng.normal(size=(CLASSES, 4)), batched=False, within=_factor)
TAILS = Input(
    lambda rng, batch: tuple((rng.normal(size=(CLASSES, 3)), rng.normal(size=(3, size))) for size in (2, 3)),
    batched=False,
    within=_factor,
)
HIDDEN = Input(
    _normal(4),
    _rows([0.0], [1.0], [1e-25], [0.0, 1.0, 0.0], [1e-40])[:, :4],
    lambda d: awkward.hidden(d, 4),
    within=_factor,
)
KERNEL = Input(lambda rng, batch: rng.normal(size=(4, CLASSES)), batched=False, within=_factor)
ADAPTIVE_LABEL = Input(lambda rng, batch: rng.integers(0, 7, batch), np.arange(7), invalid=77)
FRAME_LOGITS = Input(_normal(FRAMES, CLASSES), np.zeros((1, FRAMES, CLASSES)), lambda d: awkward.frames(d, FRAMES))
SYMBOL_LISTS = Input(
    lambda rng, batch: rng.integers(1, 4, (*batch, SYMBOLS)), np.array([[1, 1, 1], [1, 2, 3]]), invalid=77
)
FRAME_COUNT = Input(
    lambda rng, batch: rng.integers(FRAMES - 1, FRAMES + 1, batch), np.array([0, 1, FRAMES]), invalid=77
)
SYMBOL_COUNT = Input(lambda rng, batch: rng.integers(1, SYMBOLS + 1, batch), np.array([0, SYMBOLS]), invalid=77)

IMAGE = Input(
    _uniform(0.1, 0.9, PIXELS, CLASSES),
    np.stack(
        [np.broadcast_to(row, (PIXELS, CLASSES)) for row in _rows([0.0], [1.0], [0.5], [1e-30], [1.0, 0.0], [1e-25, 0])]
    ),
    lambda d, *before: awkward.image(d, PIXELS, *before),
    invalid=1.5,
    within=_part,
)
LABEL_IMAGE = Input(
    lambda rng, batch: rng.integers(0, CLASSES, (*batch, PIXELS)),
    np.array([[0, 0, 0, 0], [0, 1, 2, 3], [1, 4, 4, 4]]),
    awkward.label_image,
    invalid=77,
)
MEMBERSHIPS = replace(IMAGE, invalid=-0.5)
RELEVANCE = Input(
    _uniform(0.1, 3.0, CLASSES),
    _rows([0.0], [1.0], [1e-30, 4.0], [3.0, 0.0]),
    awkward.distribution,
    invalid=-2.0,
    within=lambda x: _moderate(np.abs(x)),
)
ID = Input(lambda rng, batch: 7 - 9 * rng.integers(0, 2, batch), np.array([7, -2, 10**6]))

TRIPLET = (VECTOR, VECTOR, VECTOR)
MODERATE_TRIPLET = 3 * (replace(VECTOR, within=_moderate),)  # a distance function may overflow
# A softcap hides from the definition how large the numbers are that cancel before it.
SMALL_HIDDEN, SMALL_KERNEL = (replace(kind, within=lambda x: np.clip(x, -3, 3)) for kind in (HIDDEN, KERNEL))
ADAPTIVE = (FEATURES, ADAPTIVE_LABEL, HEAD, TAILS)
LINEAR = (HIDDEN, KERNEL, LABEL)
CTC = (FRAME_LOGITS, SYMBOL_LISTS, FRAME_COUNT, SYMBOL_COUNT)

CLASS_WEIGHTS = np.array([0.5, 2.0, 1.0, 0.0, 3.0])
LEVELS = np.array([0.05, 0.3, 0.5, 0.8, 1.0])
MIXTURE = (LATENTS, REAL, SCALES, SCORES)
PRIOR: dict[str, Any] = {"prior_means": CLASS_WEIGHTS[None], "prior_log_variances": np.array(-0.5)}
BIAS = np.array([0.5, -1.0, 0.0, 2.0])
LOG_PRIOR = np.log([0.5, 0.2, 0.1, 0.15, 0.05])
EVERY_OPTION: dict[str, Any] = {"class_weights": CLASS_WEIGHTS, "label_smoothing": 0.1, "z_loss_weight": 0.01}

SOME_PIXELS = np.array([[True, True, False, True]])
SOME_ITEMS = np.array([[True, False, True, True, True]])
# The items that do not exist get a score of -inf, which the float checks find.
RULED_OUT = ("several_batch_axes", "checkify_finds_nothing_in_good_inputs")
SMOOTH: dict[str, Any] = {"smooth_nr": 0.3, "smooth_dr": 0.7}
LINEAR_OPTIONS = EVERY_OPTION | {"bias": np.array([0.5, -1.0, 0.0, 2.0, 1.0]), "softcap": 3.0}


# Losses that compare the rows of a batch with each other: a row that is repeated, left out or NaN changes the others'
# losses, the parts of a batch know nothing of each other's rows, and devices have to. tests/test_metric.py has what
# holds instead.
IN_BATCH = (
    "partial_means_add_up_to_the_mean",
    "mask_is_indexing",
    "weights_are_repetition_and_removal",
    "a_nan_that_counts_surfaces",
    "batch_sharding",
)


@dataclass(frozen=True, eq=False)
class Call:
    """A loss, its inputs, its options, and the laws that do not hold for it."""

    loss: Callable[..., jax.Array]
    kinds: tuple[Input, ...]
    options: Mapping[str, Any]
    exempt: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        options = ",".join(f"{name}={_short(value)}" for name, value in self.options.items())
        return f"{self.loss.__name__}({options})"

    @property
    def static(self) -> dict[str, Any]:
        """The options that change the program."""
        static = static_options(self.loss)
        return {name: value for name, value in self.options.items() if name in static or callable(value)}

    @property
    def traced(self) -> dict[str, Any]:
        """The others: numbers and arrays."""
        static = self.static
        return {name: np.asarray(value) for name, value in self.options.items() if name not in static}

    @property
    def in_batch(self) -> bool:
        """Whether the rows of a batch are compared with each other."""
        return self.exempt.issuperset(IN_BATCH)

    @property
    def names(self) -> list[str]:
        return list(inspect.signature(self.loss).parameters)[: len(self.kinds)]

    @property
    def has_class_labels(self) -> bool:
        """Whether there are integer labels that name classes, unlike probabilities and ids."""
        return any(
            name == "labels" and kind.invalid is not None and kind.sample(np.random.default_rng(0), (1,)).dtype == int
            for name, kind in zip(self.names, self.kinds, strict=True)
        )

    def inputs(self, batch: tuple[int, ...], seed: int = 0) -> tuple[Any, ...]:
        """Random inputs, the same for the same seed."""
        rng = np.random.default_rng(seed)
        return tuple(kind.sample(rng, batch) for kind in self.kinds)

    def awkward_inputs(self, draw: Draw) -> tuple[Any, ...]:
        """Random inputs on which floats lose digits."""
        inputs: tuple[Any, ...] = ()
        for kind in self.kinds:
            inputs = (*inputs, kind.drawn(draw, *inputs))
        return inputs

    def edge_inputs(self) -> tuple[Any, ...]:
        """Every combination of the inputs' edges, as one batch."""
        rng = np.random.default_rng(0)
        batched = [kind for kind in self.kinds if kind.batched]
        combinations = np.array(list(product(*(range(len(kind.edges)) for kind in batched))))
        columns = iter(combinations.T)
        return tuple(kind.edges[next(columns)] if kind.batched else kind.sample(rng, ()) for kind in self.kinds)

    def batched(self, function: Callable[[Any], Any], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs with those that have an entry per loss mapped."""
        return tuple(function(x) if kind.batched else x for kind, x in zip(self.kinds, inputs, strict=True))


def _short(value: Any) -> str:
    if callable(value):
        return str(value.__name__)
    return "[...]" if isinstance(value, np.ndarray) else repr(value)


def call(loss: Callable[..., jax.Array], *kinds: Input, exempt: tuple[str, ...] = (), **options: Any) -> Call:
    return Call(loss, kinds, options, frozenset(exempt))


def manhattan(x: jax.Array, y: jax.Array) -> jax.Array:
    return jax.numpy.abs(x - y).sum(axis=-1)


CATALOGUE = [
    # Regression.
    call(jaxloss.l1_loss, REAL, REAL),
    call(jaxloss.mse_loss, REAL, REAL),
    call(jaxloss.huber_loss, REAL, REAL),
    call(jaxloss.huber_loss, REAL, REAL, delta=0.7),
    call(jaxloss.smooth_l1_loss, REAL, REAL),
    call(jaxloss.smooth_l1_loss, REAL, REAL, beta=0.3),
    call(jaxloss.smooth_l1_loss, REAL, REAL, beta=0.0, exempt=("option_derivatives",)),  # at its least value
    call(jaxloss.log_cosh_loss, REAL, REAL),
    call(jaxloss.charbonnier_loss, REAL, REAL),
    call(jaxloss.charbonnier_loss, REAL, REAL, eps=0.5),
    call(jaxloss.charbonnier_loss, REAL, REAL, eps=0.0, exempt=("option_derivatives",)),  # at its least value
    call(jaxloss.general_robust_loss, REAL, REAL),
    call(jaxloss.general_robust_loss, REAL, REAL, alpha=0.0, scale=0.5),
    call(jaxloss.general_robust_loss, REAL, REAL, alpha=-np.inf),
    call(jaxloss.general_robust_loss, REAL, REAL, alpha=-1.5, scale=2.0),
    # There the slope in alpha is infinite, and taken as 0.
    call(jaxloss.general_robust_loss, REAL, REAL, alpha=2.0, scale=0.5, exempt=("option_derivatives",)),
    call(jaxloss.tukey_biweight_loss, REAL, REAL),
    call(jaxloss.tukey_biweight_loss, REAL, REAL, cutoff=1.5),
    call(jaxloss.mape_loss, REAL, REAL),
    call(jaxloss.mape_loss, REAL, REAL, eps=0.8),
    call(jaxloss.msle_loss, ABOVE_MINUS_ONE, ABOVE_MINUS_ONE),
    call(jaxloss.cosine_distance, VECTOR, VECTOR),
    call(jaxloss.cosine_distance, VECTOR, VECTOR, eps=2.0),
    # Likelihood.
    call(jaxloss.gaussian_nll_loss, REAL, REAL, RATE),
    call(jaxloss.gaussian_nll_loss, REAL, REAL, RATE, full=True, eps=1.0),
    # The factor is held constant by definition, so the gradient is not that of the value.
    call(jaxloss.gaussian_nll_loss, REAL, REAL, RATE, beta=0.5, exempt=("derivatives_are_those_of_the_value",)),
    call(jaxloss.poisson_nll_loss, LOG_RATE, COUNT),
    call(jaxloss.poisson_nll_loss, RATE, COUNT, log_input=False, full=True, eps=1e-3),
    call(jaxloss.negative_binomial_nll_loss, MEAN_COUNT, COUNT, DISPERSION),
    call(jaxloss.negative_binomial_nll_loss, MEAN_COUNT, COUNT, DISPERSION, eps=1.0),
    call(jaxloss.laplace_nll_loss, REAL, REAL, RATE),
    call(jaxloss.laplace_nll_loss, REAL, REAL, RATE, eps=1.0),
    call(jaxloss.student_t_nll_loss, REAL, REAL, RATE, DF),
    call(jaxloss.student_t_nll_loss, REAL, REAL, RATE, DF, eps=1.0),
    call(jaxloss.gaussian_mixture_nll_loss, *MIXTURE),
    call(jaxloss.gaussian_mixture_nll_loss, *MIXTURE, eps=1.0),
    call(jaxloss.tweedie_loss, MEAN_AMOUNT, AMOUNT),
    call(jaxloss.tweedie_loss, MEAN_AMOUNT, AMOUNT, power=1.0),
    call(jaxloss.tweedie_loss, MEAN_AMOUNT, AMOUNT, power=2.0),
    # Forecast.
    call(jaxloss.quantile_loss, REAL, REAL, quantiles=0.3),
    call(jaxloss.quantile_loss, VECTOR, REAL, quantiles=LEVELS),
    call(jaxloss.expectile_loss, REAL, REAL),
    call(jaxloss.expectile_loss, REAL, REAL, expectile=0.8),
    call(jaxloss.quantile_huber_loss, VECTOR, SAMPLES),
    call(jaxloss.quantile_huber_loss, VECTOR, SAMPLES, delta=0.5, quantiles=LEVELS),
    call(jaxloss.quantile_huber_loss, VECTOR, SAMPLES, delta=0.0, exempt=("option_derivatives",)),  # at its least value
    call(jaxloss.crps_gaussian, REAL, REAL, RATE),
    call(jaxloss.crps_gaussian, REAL, REAL, RATE, eps=1.5),
    # It sorts the members.
    call(jaxloss.crps_ensemble, VECTOR, REAL, exempt=("class_sharding",)),
    call(jaxloss.crps_ensemble, VECTOR, REAL, fair=True, exempt=("class_sharding",)),
    # Classification.
    call(jaxloss.cross_entropy, LOGITS, LABEL),
    call(jaxloss.cross_entropy, WEIGHTED_LOGITS, LABEL, **EVERY_OPTION),
    call(jaxloss.cross_entropy, LOGITS, DISTRIBUTION),
    call(jaxloss.cross_entropy, WEIGHTED_LOGITS, DISTRIBUTION, **EVERY_OPTION),
    call(jaxloss.logit_adjusted_cross_entropy, LOGITS, LABEL, log_prior=LOG_PRIOR),
    call(jaxloss.logit_adjusted_cross_entropy, LOGITS, DISTRIBUTION, log_prior=LOG_PRIOR, tau=0.5),
    call(jaxloss.nll_loss, LOG_PROBS, LABEL),
    call(jaxloss.nll_loss, LOG_PROBS, LABEL, class_weights=CLASS_WEIGHTS, ignore_index=1),
    call(jaxloss.binary_cross_entropy, PROB, PROB),
    call(jaxloss.binary_cross_entropy, PROB, BIT, label_smoothing=0.1),
    call(jaxloss.binary_cross_entropy_with_logits, LOGIT, PROB),
    call(jaxloss.binary_cross_entropy_with_logits, LOGIT, BIT, pos_weight=3.0, label_smoothing=0.1),
    call(jaxloss.multilabel_soft_margin_loss, LOGITS, BITS),
    call(jaxloss.multilabel_soft_margin_loss, LOGITS, BITS, class_weights=CLASS_WEIGHTS),
    # The class axes of its head and tails are of different sizes: they cannot all be sharded alike.
    call(jaxloss.adaptive_log_softmax_with_loss, *ADAPTIVE, cutoffs=(2, 4), exempt=("class_sharding",)),
    call(jaxloss.adaptive_log_softmax_with_loss, *ADAPTIVE, cutoffs=(2, 4), head_bias=BIAS, exempt=("class_sharding",)),
    # Focal.
    call(jaxloss.sigmoid_focal_loss, LOGIT, PROB),
    call(jaxloss.sigmoid_focal_loss, LOGIT, BIT, alpha=0.25, gamma=0.5),
    call(jaxloss.sigmoid_focal_loss, LOGIT, BIT, label_smoothing=0.1),
    call(jaxloss.softmax_focal_loss, LOGITS, LABEL),
    call(jaxloss.softmax_focal_loss, WEIGHTED_LOGITS, LABEL, gamma=0.5, class_weights=CLASS_WEIGHTS),
    call(jaxloss.softmax_focal_loss, LOGITS, LABEL, label_smoothing=0.1),
    call(jaxloss.softmax_focal_loss, WEIGHTED_LOGITS, DISTRIBUTION, gamma=0.5, class_weights=CLASS_WEIGHTS),
    call(jaxloss.poly_cross_entropy, LOGITS, LABEL),
    call(jaxloss.poly_cross_entropy, MODERATE_LOGITS, DISTRIBUTION, poly_weight=-1.0),
    call(jaxloss.generalized_cross_entropy, LOGITS, LABEL),
    call(jaxloss.generalized_cross_entropy, LOGITS, LABEL, q=0.0),
    call(jaxloss.asymmetric_loss, LOGIT, PROB),
    call(jaxloss.asymmetric_loss, LOGIT, BIT, gamma_neg=1.5, gamma_pos=0.5, clip=0.1),
    call(jaxloss.asymmetric_loss, LOGIT, PROB, gamma_neg=0.0, gamma_pos=0.0, clip=0.0),
    # Fenchel-Young.
    call(jaxloss.sparsemax_loss, LOGITS, LABEL),
    call(jaxloss.sparsemax_loss, MODERATE_LOGITS, DISTRIBUTION),
    call(jaxloss.entmax_loss, LOGITS, LABEL),
    call(jaxloss.entmax_loss, MODERATE_LOGITS, DISTRIBUTION),
    call(jaxloss.entmax_loss, LOGITS, LABEL, alpha=1.2),
    call(
        jaxloss.entmax_loss, MODERATE_LOGITS, DISTRIBUTION, alpha=1.0, exempt=("option_derivatives",)
    ),  # at its least value
    call(jaxloss.entmax_loss, MODERATE_LOGITS, DISTRIBUTION, alpha=3.0),
    call(jaxloss.make_fenchel_young_loss(jax.nn.logsumexp), LOGITS, SIMPLEX),
    # Hinge.
    call(jaxloss.hinge_loss, LOGIT, SIGN),
    call(jaxloss.squared_hinge_loss, REAL, SIGN),
    call(jaxloss.perceptron_loss, LOGIT, SIGN),
    call(jaxloss.multiclass_hinge_loss, LOGITS, LABEL),
    call(jaxloss.multiclass_perceptron_loss, LOGITS, LABEL),
    call(jaxloss.soft_margin_loss, LOGIT, SIGN),
    call(jaxloss.multi_margin_loss, SCORES, LABEL),
    call(jaxloss.multi_margin_loss, SCORES, LABEL, p=2, margin=0.5, class_weights=CLASS_WEIGHTS),
    call(jaxloss.multilabel_margin_loss, SCORES, LABEL_LISTS),
    # Linear. Chunks of fewer rows than there are devices cannot be shared among them.
    call(jaxloss.linear_cross_entropy, HIDDEN, KERNEL, LABEL),
    call(jaxloss.linear_cross_entropy, HIDDEN, KERNEL, DISTRIBUTION, chunk_size=4, exempt=("auto_batch_sharding",)),
    call(
        jaxloss.linear_cross_entropy,
        SMALL_HIDDEN,
        KERNEL,
        LABEL,
        chunk_size=2,
        **LINEAR_OPTIONS,
        exempt=("auto_batch_sharding",),
    ),
    call(jaxloss.linear_cross_entropy, SMALL_HIDDEN, SMALL_KERNEL, DISTRIBUTION, precision="highest", **LINEAR_OPTIONS),
    # Margin.
    call(jaxloss.margin_ranking_loss, REAL, REAL, SIGN),
    call(jaxloss.margin_ranking_loss, REAL, REAL, SIGN, margin=0.5),
    call(jaxloss.hinge_embedding_loss, RATE, SIGN),
    call(jaxloss.hinge_embedding_loss, RATE, SIGN, margin=2.0),
    call(jaxloss.cosine_embedding_loss, VECTOR, VECTOR, SIGN),
    call(jaxloss.cosine_embedding_loss, VECTOR, VECTOR, SIGN, margin=-0.5),
    call(jaxloss.triplet_margin_loss, *TRIPLET),
    call(jaxloss.triplet_margin_loss, *TRIPLET, p=3.0, eps=0.0, margin=2.0, swap=True),
    call(jaxloss.triplet_margin_loss, *TRIPLET, p=1.0),
    call(jaxloss.triplet_margin_loss, *TRIPLET, p=np.inf),
    call(jaxloss.triplet_margin_with_distance_loss, *MODERATE_TRIPLET, distance_function=manhattan),
    call(
        jaxloss.triplet_margin_with_distance_loss, *MODERATE_TRIPLET, distance_function=manhattan, margin=0.3, swap=True
    ),
    # Divergence.
    call(jaxloss.kl_div, LOG_PROBS, PREDICTED),
    call(jaxloss.kl_div, LOG_PROBS, LOG_PROBS, log_target=True),
    call(jaxloss.generalized_kl_div, UNNORMALISED, AMOUNTS),
    call(jaxloss.js_div, LOG_PROBS, PREDICTED),
    call(jaxloss.js_div, LOG_PROBS, LOG_PROBS, beta=0.3, log_target=True),
    call(jaxloss.js_div, LOG_PROBS, PREDICTED, beta=0.0, exempt=("option_derivatives",)),  # it jumps there
    call(jaxloss.js_div, LOG_PROBS, PREDICTED, beta=1.0, exempt=("option_derivatives",)),
    call(jaxloss.gaussian_kl, LATENTS, LOG_VARIANCES),
    call(jaxloss.gaussian_kl, LATENTS, LOG_VARIANCES, **PRIOR, exempt=("several_batch_axes",)),
    # Metric. The weights of circle_loss are held constant by definition.
    call(jaxloss.nt_xent_loss, VECTOR, ID, exempt=IN_BATCH),
    call(jaxloss.nt_xent_loss, VECTOR, ID, temperature=0.5, exempt=IN_BATCH),
    call(jaxloss.circle_loss, VECTOR, ID, exempt=(*IN_BATCH, "derivatives_are_those_of_the_value")),
    call(
        jaxloss.circle_loss,
        *(VECTOR, ID),
        gamma=3.0,
        margin=0.25,
        exempt=(*IN_BATCH, "derivatives_are_those_of_the_value"),
    ),
    # Ranking. `valid` has the rank of the scores, as the prior of gaussian_kl has that of the means.
    call(jaxloss.ranking_softmax_loss, LOGITS, RELEVANCE),
    call(jaxloss.ranking_softmax_loss, LOGITS, RELEVANCE, valid=SOME_ITEMS, exempt=RULED_OUT),
    # Segmentation. `valid` has the rank of the pixels; unless `space` counts from the last axis, images have one axis.
    call(jaxloss.dice_loss, IMAGE, LABEL_IMAGE, exempt=("several_batch_axes",)),
    call(
        jaxloss.dice_loss,
        *(IMAGE, LABEL_IMAGE),
        ignore_index=1,
        smooth_nr=0.0,
        smooth_dr=0.0,
        # The curvature by what overlaps is 1e60 at probabilities of 1e-30, times 0 where nothing does.
        exempt=("several_batch_axes", "option_derivatives", "edges_have_finite_curvatures"),
    ),
    call(
        jaxloss.dice_loss,
        *(IMAGE, MEMBERSHIPS),
        class_weights=CLASS_WEIGHTS,
        valid=SOME_PIXELS,
        space=-2,
        **SMOOTH,
        exempt=("several_batch_axes",),
    ),
    call(jaxloss.generalized_dice_loss, IMAGE, LABEL_IMAGE, exempt=("several_batch_axes",)),
    call(
        jaxloss.generalized_dice_loss,
        *(IMAGE, LABEL_IMAGE),
        class_weights=CLASS_WEIGHTS,
        valid=SOME_PIXELS,
        **SMOOTH,
        exempt=("several_batch_axes",),
    ),
    call(jaxloss.generalized_dice_loss, IMAGE, MEMBERSHIPS, space=(1,), exempt=("several_batch_axes",)),
    call(jaxloss.tversky_loss, IMAGE, LABEL_IMAGE, exempt=("several_batch_axes",)),
    call(
        jaxloss.tversky_loss,
        *(IMAGE, LABEL_IMAGE),
        alpha=0.3,
        beta=0.7,
        gamma=0.75,
        valid=SOME_PIXELS,
        **SMOOTH,
        exempt=("several_batch_axes",),
    ),
    call(jaxloss.tversky_loss, IMAGE, MEMBERSHIPS, class_weights=CLASS_WEIGHTS, gamma=2.0, space=-2),
    # Sequence. CTC picks its labels' columns out of the class axis, once per frame: that gathers.
    call(jaxloss.ctc_loss, *CTC, exempt=("class_sharding",)),
    call(jaxloss.ctc_loss, *CTC, blank=4, zero_infinity=True, exempt=("class_sharding",)),
]
