"""What is studied: a line per call of a loss, with the inputs that are drawn for it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import jaxloss

from . import references
from .inputs import Draw, rounded

CLASSES, FEATURES = 5, 4
MANY_CLASSES = 131_072
ENTRIES, ROWS, BATCHES, WIDE_ROWS = 3000, 1000, 60, 2
WIDE_DTYPES = (jnp.float32, jnp.bfloat16)

Inputs = tuple[Any, ...]


def _as_is(*inputs: Any) -> Inputs:
    return inputs


@dataclass(frozen=True)
class Subject:
    """A call of a loss.

    Attributes:
        family: Where the page shows it.
        loss: The name of the loss, and of its reference.
        sample: Draws the inputs: arrays with an axis of entries, rows or batches first.
        options: The options of the call. Those that every library rounds otherwise are powers of two.
        count: How many entries, rows or batches.
        whole: Whether a case is a batch, which is handed to the loss by itself.
        reduction: "none", or "mean" where the others have nothing else.
        arranged: From arrays to the arguments of the loss.
        title: What is special about the inputs.
        dtypes: Those of the inputs.
    """

    family: str
    loss: str
    sample: Callable[[Draw], Inputs]
    options: Mapping[str, Any] = field(default_factory=dict)
    count: int = ENTRIES
    whole: bool = False
    reduction: str = "none"
    arranged: Callable[..., Inputs] = _as_is
    title: str = ""
    dtypes: tuple[Any, ...] = (jnp.float32, jnp.bfloat16, jnp.float16)

    @property
    def name(self) -> str:
        """How the page calls it."""
        options = ", ".join(f"{name}={_short(value)}" for name, value in self.options.items())
        return f"{self.loss}({options})" + (f", {self.title}" if self.title else "")

    @property
    def function(self) -> Callable[..., Any] | None:
        """The loss, if the library has it."""
        return getattr(jaxloss, self.loss, None)

    @property
    def reference(self) -> Callable[..., Any]:
        """What it should be."""
        reference: Callable[..., Any] = getattr(references, self.loss)
        return reference

    def inputs(self, count: int, dtype: Any, seed: int = 0) -> dict[str, NDArray[Any]]:
        """Inputs for so many cases, rounded to a dtype, by their names."""
        arrays = self.sample(Draw(np.random.default_rng(seed), count, dtype))
        parameters = inspect.signature(self.function or self.reference).parameters.values()
        *names, last = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][: len(arrays)]
        names += [last] + [f"{last} {number}" for number in range(2, len(arrays) - len(names) + 1)]
        return {name: rounded(array, dtype) for name, array in zip(names, arrays, strict=True)}


def _short(value: Any) -> str:
    if callable(value):
        return str(value.__name__)
    return "…" if isinstance(value, np.ndarray) else repr(value)


# --- inputs -----------------------------------------------------------------------------------------------------------


def _pairs(d: Draw) -> Inputs:
    x = d.reals()
    return x, d.near(x)


def _signed_pairs(d: Draw) -> Inputs:
    return *_pairs(d), d.whole(-1, 1)


def _with_variances(d: Draw) -> Inputs:
    return *_pairs(d), d.rates()


def _counted(d: Draw) -> Inputs:
    counts = d.counts()
    # Log-rates near the log of the count, where the terms cancel, and elsewhere.
    near = np.log(np.maximum(counts, 1e-3)) * (1 + 10 ** d.rng.uniform(-8, -1, d.count))
    return np.where(d.rng.random(d.count) < 0.3, near, np.minimum(d.reals(), 80)), counts


def _counted_rates(d: Draw) -> Inputs:
    rates = d.rates()
    return rates, np.where(d.rng.random(d.count) < 0.3, rates, d.counts())


def _labelled(classes: int, *, finite: bool = False) -> Callable[[Draw], Inputs]:
    def sample(d: Draw) -> Inputs:
        logits = d.scores(classes) if finite else d.class_logits(classes)
        return logits, d.labels(logits)

    return sample


def _soft(d: Draw) -> Inputs:
    logits = d.class_logits(CLASSES)
    return logits, d.distributions(logits)


def _wide(d: Draw) -> Inputs:
    logits = d.rng.standard_normal((d.count, MANY_CLASSES)) * np.array([[1.0], [8.0]])[: d.count]
    return logits, d.labels(logits)


def _wide_soft(d: Draw) -> Inputs:
    logits, _ = _wide(d)
    return logits, d.distributions(logits)


def _log_labelled(d: Draw) -> Inputs:
    log_probs = d.log_probs(CLASSES)
    return log_probs, d.labels(log_probs)


def _certain(d: Draw) -> Inputs:
    logits = d.logits()
    targets = np.where(d.rng.random(d.count) < 0.5, d.probs(), d.chosen([0.0, 1.0])(d.count))
    return logits, np.where(np.isinf(logits), np.heaviside(logits, 0.0), targets)


def _binary(d: Draw) -> Inputs:
    return d.probs(), np.where(d.rng.random(d.count) < 0.5, d.probs(), d.chosen([0.0, 1.0])(d.count))


def _bits(d: Draw) -> Inputs:
    logits = d.class_logits(CLASSES)
    return logits, d.bits(logits)


def _lists(d: Draw) -> Inputs:
    logits = d.class_logits(CLASSES)
    return logits, d.label_lists(logits)


def _vectors(number: int, *, signs: bool = False) -> Callable[[Draw], Inputs]:
    def sample(d: Draw) -> Inputs:
        first = d.vectors(FEATURES)
        vectors = [first, *(d.similar(first) for _ in range(number - 1))]
        return *vectors, *([d.whole(-1, 1)] if signs else [])

    return sample


def _logs_and_probs(d: Draw) -> Inputs:
    log_probs = d.log_probs(CLASSES)
    targets = d.distributions(log_probs)
    same = d.rng.random((d.count, 1)) < 0.3
    return log_probs, np.where(same, np.exp(log_probs), targets)


def _two_logs(d: Draw) -> Inputs:
    log_probs, targets = _logs_and_probs(d)
    with np.errstate(divide="ignore"):
        return log_probs, np.log(targets)


def _frames(d: Draw) -> Inputs:
    """Alignments that are possible: at least as many frames as labels and repeats."""
    frames, symbols = 6, 3
    rows = Draw(d.rng, d.count * frames, d.dtype).class_logits(CLASSES).reshape(d.count, frames, CLASSES)
    return (
        np.where(rows == -np.inf, -3.0, rows),
        d.rng.integers(1, CLASSES, (d.count, symbols)).astype(np.int32),
        d.rng.integers(2 * symbols - 1, frames + 1, d.count).astype(np.int32),
        d.rng.integers(0, symbols + 1, d.count).astype(np.int32),
    )


def _scaled_pairs(d: Draw) -> Inputs:
    """With a scale for each pair, often that of their difference."""
    x, y = _pairs(d)
    scales = np.where(d.rng.random(d.count) < 0.3, np.abs(x - y) * (1 + d.rng.random(d.count)), d.rates())
    return x, y, scales


def _student(d: Draw) -> Inputs:
    return *_scaled_pairs(d), np.maximum(d.rates(), 10**-d.decades)


def _overdispersed(d: Draw) -> Inputs:
    return d.rates(), d.counts().astype(np.int32), d.rates()


def _mixtures(d: Draw) -> Inputs:
    means = d.vectors(3)
    targets = d.near(means[:, 0])
    return means, targets, np.abs(d.similar(means - targets[:, None])), d.class_logits(3)


def _amounts(d: Draw) -> Inputs:
    """Positive numbers, and others that are often close to them, or 0."""
    means = np.maximum(d.rates(), 10**-d.decades)
    return means, np.abs(d.near(means))


def _ensembles(d: Draw) -> Inputs:
    members = d.vectors(5)
    return members, d.near(members[:, 0])


def _quantiles(d: Draw) -> Inputs:
    predictions = d.vectors(3)
    return predictions, d.near(predictions[:, 0])


def _two_samples(d: Draw) -> Inputs:
    return d.vectors(3), d.vectors(4)


def _codes(d: Draw) -> Inputs:
    means = d.vectors(FEATURES)
    return means, np.clip(d.similar(means), -80, 80)


def _regions(d: Draw) -> Inputs:
    """Images of nine pixels."""
    shape = (d.count, 9, CLASSES)
    pixels = Draw(d.rng, d.count * 9, d.dtype)
    probs = pixels.distributions(np.zeros((pixels.count, CLASSES))).reshape(shape)
    sure = d.rng.random((d.count, 1)) < 0.3
    labels = np.where(sure, probs.argmax(-1), d.rng.integers(0, CLASSES, shape[:-1]))
    return probs, labels.astype(np.int32)


def _embedded(d: Draw) -> Inputs:
    """Batches of vectors, with pairs that point the same way."""
    n = 6
    vectors = d.rng.standard_normal((d.count, n, FEATURES)) * np.abs(d.magnitudes(d.count, n, 1)) ** 0.2
    vectors[:, 1] = np.where(d.rng.random((d.count, 1)) < 0.5, 2 * vectors[:, 0], vectors[:, 1])
    vectors[:, 2] *= d.rng.random((d.count, 1)) < 0.8  # some are zero
    return vectors, d.rng.integers(0, 3, (d.count, n)).astype(np.int32)


def _layer(d: Draw) -> Inputs:
    """Batches of features with their kernels, of every scale."""
    rows = 3
    scale = 10 ** d.rng.uniform(-2, 1, (d.count, 1, 1))
    hidden = scale * d.rng.standard_normal((d.count, rows, FEATURES))
    kernel = d.rng.standard_normal((d.count, FEATURES, CLASSES))
    return hidden, kernel, d.rng.integers(0, CLASSES, (d.count, rows)).astype(np.int32)


def _soft_layer(d: Draw) -> Inputs:
    hidden, kernel, labels = _layer(d)
    targets = Draw(d.rng, labels.size, d.dtype).distributions(np.zeros((labels.size, CLASSES)))
    return hidden, kernel, targets.reshape(*labels.shape, CLASSES)


CUTOFFS = (2, 4)


def _tailed(d: Draw) -> Inputs:
    hidden, _, labels = _layer(d)
    shapes = [(FEATURES, 4), (FEATURES, 3), (3, 2), (FEATURES, 2), (2, 3)]
    kernels = [d.rng.standard_normal((d.count, *shape)) for shape in shapes]
    return hidden, d.rng.integers(0, 7, labels.shape).astype(np.int32), *kernels


def _pairs_of_kernels(hidden: Any, labels: Any, head: Any, *kernels: Any) -> Inputs:
    return hidden, labels, head, tuple(zip(kernels[::2], kernels[1::2], strict=True))


def _manhattan(x: Any, y: Any) -> Any:
    return ((x - y) * jnp.sign(x - y)).sum(axis=-1)  # without a slope at 0, where that of `jnp.abs` is 1


# --- the losses -------------------------------------------------------------------------------------------------------

WEIGHTS = np.array([0.5, 2.0, 1.0, 0.0, 3.0], np.float32)
BIAS = np.array([0.5, -1.0, 0.0, 2.0, 1.0], np.float32)
WEIGHTED = {"class_weights": WEIGHTS}
SMOOTHED = {"label_smoothing": 0.125}
EVERYTHING = {**WEIGHTED, **SMOOTHED, "z_loss_weight": 0.0625}
UNSMOOTHED = {"smooth_nr": 0.0, "smooth_dr": 1e-7}  # as Keras
DISTANCE = {"distance_function": _manhattan}

REGRESSION, LIKELIHOOD, CLASSIFICATION, LINEAR = "Regression", "Likelihood", "Classification", "Linear"
MARGIN, DIVERGENCE, SEQUENCE = "Margin", "Divergence", "Sequence"
FORECASTS, METRIC, RANKING, SEGMENTATION = "Forecasts", "Metric", "Ranking", "Segmentation"
LEVELS = np.array([0.125, 0.5, 0.875], np.float32)
LOG_PRIOR = np.log(np.array([0.5, 0.25, 0.125, 0.0625, 0.0625], np.float32))

SUBJECTS = [
    Subject(REGRESSION, "l1_loss", _pairs),
    Subject(REGRESSION, "mse_loss", _pairs),
    Subject(REGRESSION, "huber_loss", _pairs),
    Subject(REGRESSION, "huber_loss", _pairs, {"delta": 0.75}),
    Subject(REGRESSION, "smooth_l1_loss", _pairs),
    Subject(REGRESSION, "smooth_l1_loss", _pairs, {"beta": 0.0}),
    Subject(REGRESSION, "smooth_l1_loss", _pairs, {"beta": 0.375}),
    Subject(REGRESSION, "log_cosh_loss", _pairs),
    Subject(REGRESSION, "charbonnier_loss", _pairs),
    Subject(REGRESSION, "general_robust_loss", _pairs),
    Subject(REGRESSION, "general_robust_loss", _pairs, {"alpha": 2.0, "scale": 0.5}),
    Subject(REGRESSION, "general_robust_loss", _pairs, {"alpha": 0.0}),
    Subject(REGRESSION, "general_robust_loss", _pairs, {"alpha": -2.0}),
    Subject(REGRESSION, "general_robust_loss", _pairs, {"alpha": -np.inf}),
    Subject(REGRESSION, "mape_loss", _pairs),
    Subject(REGRESSION, "msle_loss", _amounts),
    Subject(REGRESSION, "cosine_distance", _vectors(2), {}, ROWS),
    Subject(REGRESSION, "cosine_distance", _vectors(2), {"eps": 0.25}, ROWS),
    Subject(FORECASTS, "quantile_loss", _pairs, {"quantiles": 0.875}),
    Subject(FORECASTS, "quantile_loss", _quantiles, {"quantiles": LEVELS}, ROWS),
    Subject(FORECASTS, "expectile_loss", _pairs, {"expectile": 0.875}),
    Subject(FORECASTS, "quantile_huber_loss", _two_samples, {}, ROWS),
    Subject(FORECASTS, "quantile_huber_loss", _two_samples, {"delta": 0.0}, ROWS),
    Subject(FORECASTS, "crps_gaussian", _scaled_pairs, {}, ROWS),
    Subject(FORECASTS, "crps_ensemble", _ensembles, {}, ROWS),
    Subject(FORECASTS, "crps_ensemble", _ensembles, {"fair": True}, ROWS),
    Subject(LIKELIHOOD, "gaussian_nll_loss", _with_variances),
    Subject(LIKELIHOOD, "gaussian_nll_loss", _with_variances, {"full": True, "eps": 2.0**-10}),
    Subject(LIKELIHOOD, "gaussian_nll_loss", _with_variances, {"beta": 0.5}),
    Subject(LIKELIHOOD, "poisson_nll_loss", _counted),
    Subject(LIKELIHOOD, "poisson_nll_loss", _counted, {"full": True}),
    Subject(LIKELIHOOD, "poisson_nll_loss", _counted_rates, {"log_input": False, "eps": 1e-7}),
    Subject(LIKELIHOOD, "poisson_nll_loss", _counted_rates, {"log_input": False, "full": True}),
    Subject(LIKELIHOOD, "negative_binomial_nll_loss", _overdispersed, {}, ROWS),
    Subject(LIKELIHOOD, "laplace_nll_loss", _scaled_pairs),
    Subject(LIKELIHOOD, "student_t_nll_loss", _student, {}, ROWS),
    Subject(LIKELIHOOD, "gaussian_mixture_nll_loss", _mixtures, {}, ROWS),
    Subject(LIKELIHOOD, "tweedie_loss", _amounts),
    Subject(LIKELIHOOD, "tweedie_loss", _amounts, {"power": 1.0}),
    Subject(LIKELIHOOD, "tweedie_loss", _amounts, {"power": 2.0}),
    Subject(LIKELIHOOD, "tweedie_loss", _amounts, {"power": 3.0}),
    Subject(CLASSIFICATION, "cross_entropy", _labelled(CLASSES), {}, ROWS),
    Subject(CLASSIFICATION, "cross_entropy", _labelled(CLASSES), WEIGHTED, ROWS),
    Subject(CLASSIFICATION, "cross_entropy", _labelled(CLASSES), SMOOTHED, ROWS),
    Subject(CLASSIFICATION, "cross_entropy", _labelled(CLASSES), EVERYTHING, ROWS),
    Subject(CLASSIFICATION, "cross_entropy", _soft, {}, ROWS, title="probabilities"),
    Subject(CLASSIFICATION, "cross_entropy", _soft, EVERYTHING, ROWS, title="probabilities"),
    Subject(CLASSIFICATION, "cross_entropy", _wide, {}, WIDE_ROWS, title="128k classes", dtypes=WIDE_DTYPES),
    Subject(CLASSIFICATION, "cross_entropy", _wide, SMOOTHED, WIDE_ROWS, title="128k classes", dtypes=WIDE_DTYPES[:1]),
    Subject(CLASSIFICATION, "cross_entropy", _wide_soft, {}, WIDE_ROWS, title="128k classes", dtypes=WIDE_DTYPES[:1]),
    Subject(CLASSIFICATION, "nll_loss", _log_labelled, {}, ROWS),
    Subject(CLASSIFICATION, "nll_loss", _log_labelled, WEIGHTED, ROWS),
    Subject(CLASSIFICATION, "binary_cross_entropy", _binary),
    Subject(CLASSIFICATION, "binary_cross_entropy_with_logits", _certain),
    Subject(CLASSIFICATION, "binary_cross_entropy_with_logits", _certain, {"pos_weight": 3.0}),
    Subject(CLASSIFICATION, "binary_cross_entropy_with_logits", _certain, SMOOTHED),
    Subject(CLASSIFICATION, "multilabel_soft_margin_loss", _bits, {}, ROWS),
    Subject(CLASSIFICATION, "multilabel_soft_margin_loss", _bits, WEIGHTED, ROWS),
    Subject(CLASSIFICATION, "sigmoid_focal_loss", _certain),
    Subject(CLASSIFICATION, "sigmoid_focal_loss", _certain, {"alpha": 0.25, "gamma": 1.5}),
    Subject(CLASSIFICATION, "softmax_focal_loss", _labelled(CLASSES), {}, ROWS),
    Subject(CLASSIFICATION, "softmax_focal_loss", _soft, {"gamma": 0.5, **WEIGHTED}, ROWS, title="probabilities"),
    Subject(CLASSIFICATION, "poly_cross_entropy", _labelled(CLASSES), {}, ROWS),
    Subject(CLASSIFICATION, "poly_cross_entropy", _soft, {"poly_weight": -0.5}, ROWS, title="probabilities"),
    Subject(CLASSIFICATION, "generalized_cross_entropy", _labelled(CLASSES), {}, ROWS),
    Subject(CLASSIFICATION, "asymmetric_loss", _certain),
    Subject(CLASSIFICATION, "logit_adjusted_cross_entropy", _labelled(CLASSES), {"log_prior": LOG_PRIOR}, ROWS),
    Subject(CLASSIFICATION, "sparsemax_loss", _labelled(CLASSES), {}, ROWS),
    Subject(CLASSIFICATION, "entmax_loss", _labelled(CLASSES), {}, ROWS),
    Subject(CLASSIFICATION, "entmax_loss", _labelled(CLASSES), {"alpha": 1.25}, ROWS),
    Subject(
        CLASSIFICATION,
        "adaptive_log_softmax_with_loss",
        _tailed,
        {"cutoffs": CUTOFFS},
        BATCHES,
        whole=True,
        arranged=_pairs_of_kernels,
    ),
    Subject(LINEAR, "linear_cross_entropy", _layer, {}, BATCHES, whole=True),
    Subject(LINEAR, "linear_cross_entropy", _layer, {**EVERYTHING, "bias": BIAS, "softcap": 4.0}, BATCHES, whole=True),
    Subject(LINEAR, "linear_cross_entropy", _soft_layer, {}, BATCHES, whole=True, title="probabilities"),
    Subject(MARGIN, "margin_ranking_loss", _signed_pairs),
    Subject(MARGIN, "margin_ranking_loss", _signed_pairs, {"margin": 0.5}),
    Subject(MARGIN, "hinge_embedding_loss", lambda d: (d.rates(), d.whole(-1, 1))),
    Subject(MARGIN, "soft_margin_loss", lambda d: (d.logits(), d.whole(-1, 1))),
    Subject(MARGIN, "hinge_loss", lambda d: (d.reals(), d.whole(-1, 1))),
    Subject(MARGIN, "squared_hinge_loss", lambda d: (d.reals(), d.whole(-1, 1))),
    Subject(MARGIN, "perceptron_loss", lambda d: (d.reals(), d.whole(-1, 1))),
    Subject(MARGIN, "multiclass_hinge_loss", _labelled(CLASSES), {}, ROWS),
    Subject(MARGIN, "multiclass_perceptron_loss", _labelled(CLASSES), {}, ROWS),
    Subject(MARGIN, "cosine_embedding_loss", _vectors(2, signs=True), {}, ROWS),
    Subject(MARGIN, "cosine_embedding_loss", _vectors(2, signs=True), {"margin": -0.5}, ROWS),
    Subject(MARGIN, "triplet_margin_loss", _vectors(3), {}, ROWS),
    Subject(MARGIN, "triplet_margin_loss", _vectors(3), {"p": 1.0, "eps": 0.0}, ROWS),
    Subject(MARGIN, "triplet_margin_loss", _vectors(3), {"p": 3.0, "eps": 0.0, "margin": 2.0, "swap": True}, ROWS),
    Subject(MARGIN, "triplet_margin_loss", _vectors(3), {"p": np.inf}, ROWS),
    Subject(MARGIN, "triplet_margin_with_distance_loss", _vectors(3), DISTANCE, ROWS),
    Subject(MARGIN, "multi_margin_loss", _labelled(CLASSES), {}, ROWS),
    Subject(MARGIN, "multi_margin_loss", _labelled(CLASSES), {"p": 2, "margin": 0.5, **WEIGHTED}, ROWS),
    Subject(MARGIN, "multilabel_margin_loss", _lists, {}, ROWS),
    Subject(DIVERGENCE, "kl_div", _logs_and_probs, {}, ROWS),
    Subject(DIVERGENCE, "kl_div", _two_logs, {"log_target": True}, ROWS),
    Subject(DIVERGENCE, "generalized_kl_div", _logs_and_probs, {}, ROWS),
    Subject(DIVERGENCE, "js_div", _logs_and_probs, {}, ROWS),
    Subject(DIVERGENCE, "js_div", _logs_and_probs, {"beta": 0.0}, ROWS),
    Subject(DIVERGENCE, "js_div", _logs_and_probs, {"beta": 0.875}, ROWS),
    Subject(DIVERGENCE, "gaussian_kl", _codes, {}, ROWS),
    Subject(METRIC, "nt_xent_loss", _embedded, {}, BATCHES, whole=True, reduction="mean"),
    Subject(METRIC, "circle_loss", _embedded, {}, BATCHES, whole=True),
    Subject(RANKING, "ranking_softmax_loss", _soft, {}, ROWS),
    Subject(SEGMENTATION, "dice_loss", _regions, {}, ROWS // 4),
    Subject(SEGMENTATION, "dice_loss", _regions, UNSMOOTHED, ROWS // 4),
    Subject(SEGMENTATION, "generalized_dice_loss", _regions, {}, ROWS // 4),
    Subject(SEGMENTATION, "tversky_loss", _regions, {"alpha": 0.25, "beta": 0.75}, ROWS // 4),
    Subject(SEGMENTATION, "tversky_loss", _regions, {"alpha": 0.25, "beta": 0.75, **UNSMOOTHED}, ROWS // 4),
    Subject(SEGMENTATION, "tversky_loss", _regions, {"gamma": 0.75}, ROWS // 4),
    Subject(SEQUENCE, "ctc_loss", _frames, {}, ROWS // 4),
]
