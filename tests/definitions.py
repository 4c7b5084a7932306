"""Every loss as its definition has it, in exact arithmetic: the truth that tests and the accuracy study hold losses to.

A definition has the name of its loss and the names of its inputs and options, and takes one entry, or one row or image:
a number is an `Exact`, a row a list of them, a label an integer. It returns what the loss is there, or a `Part` where
that counts in the mean for more or less than 1. Formulas are plain, and never in the order in which floats would need
them. What the docstrings say of edges and ruled-out classes holds here too.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from exact import (
    INF,
    MP,
    Exact,
    Number,
    absolute,
    constant,
    exp,
    hinge,
    kink,
    largest,
    log,
    log_gamma,
    logsumexp,
    normal_cdf,
    sigmoid,
    smallest,
    softplus,
    sqrt,
    tanh,
    total,
)

Row = Sequence[Exact]
Matrix = Sequence[Row]
Numbers = Sequence[Number]

PI: float = MP.pi
TINY: float = MP.mpf("1e-80")
NOTHING = Exact(0)
IMPOSSIBLE = Exact(INF)


class Part(NamedTuple):
    """A value, and what it counts for in the mean: that is the sum of values over the sum of weights."""

    value: Exact
    weight: Number


IGNORED = Part(NOTHING, 0)


def aside(number: Number, *singular: int) -> Number:
    """The number, or one close to it where a formula divides 0 by 0: that leaves digits enough."""
    return number + TINY if number in singular else number


def dot(x: Numbers, y: Numbers) -> Exact:
    """The inner product."""
    return total(a * b for a, b in zip(x, y, strict=True))


def apply(x: Row, kernel: Matrix) -> list[Exact]:
    """A row times a matrix."""
    return [dot(x, column) for column in zip(*kernel, strict=True)]


def plus(x: Row, y: Numbers | None) -> Row:
    """The sum of two rows, of which the second may be missing."""
    return x if y is None else [a + b for a, b in zip(x, y, strict=True)]


def norm(x: Row, p: Number) -> Exact:
    """The p-norm."""
    distances = map(absolute, x)
    return largest(distances) if p == INF else total(distance**p for distance in distances) ** (1 / MP.mpf(p))


def cosine(x: Row, y: Row, eps: Number = 0) -> Exact:
    """0 where a vector is zero; one shorter than `eps` is divided by that."""
    product = largest([norm(x, 2), eps]) * largest([norm(y, 2), eps])
    zeros = (vector for vector in (x, y) if not any(vector))
    return dot(x, y) / product if product else kink(0, *itertools.chain.from_iterable(zeros))


# --- regression -------------------------------------------------------------------------------------------------------


def l1_loss(predictions: Exact, targets: Exact) -> Exact:
    return absolute(predictions - targets)


def mse_loss(predictions: Exact, targets: Exact) -> Exact:
    return (predictions - targets) ** 2


def huber_loss(predictions: Exact, targets: Exact, delta: Number = 1) -> Exact:
    error = absolute(predictions - targets)
    return error**2 / 2 if error <= delta else delta * (error - delta / 2)


def smooth_l1_loss(predictions: Exact, targets: Exact, beta: Number = 1) -> Exact:
    return huber_loss(predictions, targets, beta) / beta if beta else l1_loss(predictions, targets)


def log_cosh_loss(predictions: Exact, targets: Exact) -> Exact:
    error = predictions - targets
    return log((exp(error) + exp(-error)) / 2)


def charbonnier_loss(predictions: Exact, targets: Exact, eps: Number = 1e-3) -> Exact:
    return sqrt((predictions - targets) ** 2 + eps**2)


def general_robust_loss(predictions: Exact, targets: Exact, alpha: Number = 1, scale: Number = 1) -> Exact:
    square = ((predictions - targets) / scale) ** 2
    if alpha == -INF:
        return 1 - exp(-square / 2)
    alpha = aside(alpha, 0, 2)
    distance = absolute(alpha - 2)
    return ((square / distance + 1) ** (alpha / 2) - 1) * distance / alpha


def tukey_biweight_loss(predictions: Exact, targets: Exact, cutoff: Number = 4.685) -> Exact:
    square = smallest([((predictions - targets) / cutoff) ** 2, 1])
    return cutoff**2 / 6 * (1 - (1 - square) ** 3)


def mape_loss(predictions: Exact, targets: Exact, eps: Number = 1e-7) -> Exact:
    return 100 * absolute(predictions - targets) / largest([absolute(targets), eps])


def msle_loss(predictions: Exact, targets: Exact) -> Exact:
    return (log(1 + predictions) - log(1 + targets)) ** 2


def cosine_distance(predictions: Row, targets: Row, eps: Number = 0) -> Exact:
    return 1 - cosine(predictions, targets, eps)


# --- forecasts --------------------------------------------------------------------------------------------------------


def quantile_loss(predictions: Exact | Row, targets: Exact, quantiles: Any) -> Exact:
    if isinstance(predictions, Exact):
        price: Number = quantiles if targets > predictions else 1 - quantiles
        return absolute(targets - predictions) * price
    pairs = zip(predictions, quantiles, strict=True)
    return total(quantile_loss(x, targets, level) for x, level in pairs) / len(predictions)


def expectile_loss(predictions: Exact, targets: Exact, expectile: Number = 0.5) -> Exact:
    error = targets - predictions
    return (expectile if error > 0 else 1 - expectile) * error**2


def quantile_huber_loss(predictions: Row, targets: Row, delta: Number = 1, quantiles: Numbers | None = None) -> Exact:
    n = len(predictions)
    levels = quantiles or [MP.mpf(2 * i + 1) / (2 * n) for i in range(n)]
    terms = (
        (1 - level if y < x else level) * smooth_l1_loss(x, y, delta)
        for x, level in zip(predictions, levels, strict=True)
        for y in targets
    )
    return total(terms) / len(targets)


def crps_gaussian(means: Exact, targets: Exact, scales: Exact, eps: Number = 1e-6) -> Exact:
    scale = largest([scales, eps])
    z = (targets - means) / scale
    density = exp(-(z**2) / 2) / sqrt(2 * PI)
    return scale * (z * (2 * normal_cdf(z) - 1) + 2 * density - 1 / sqrt(PI))


def crps_ensemble(predictions: Row, targets: Exact, fair: bool = False) -> Exact:
    m = len(predictions)
    apart = total(absolute(a - b) for a, b in itertools.combinations(predictions, 2))
    return total(absolute(x - targets) for x in predictions) / m - apart / (m * (m - 1) if fair else m * m)


# --- likelihood -------------------------------------------------------------------------------------------------------


def gaussian_nll_loss(
    means: Exact, targets: Exact, variances: Exact, full: bool = False, eps: Number = 1e-6, beta: Number = 0
) -> Exact:
    variance = largest([variances, eps])
    value = (log(variance) + (targets - means) ** 2 / variance) / 2
    if full:
        value = value + log(2 * PI) / 2
    return constant(variance) ** beta * value


def poisson_nll_loss(
    predictions: Exact, targets: Exact, log_input: bool = True, full: bool = False, eps: Number = 1e-8
) -> Exact:
    means, log_means = (exp(predictions), predictions) if log_input else (predictions, log(predictions + eps))
    value = means - targets * log_means
    if full and targets > 1:
        value = value + targets * log(targets) - targets + log(2 * PI * targets) / 2
    return value


def negative_binomial_nll_loss(means: Exact, targets: Exact, dispersions: Exact, eps: Number = 1e-6) -> Exact:
    if targets == 0:  # where the mean may be 0 too
        mean, targets = means, kink(0, targets)
    else:
        mean = largest([means, eps])
    if dispersions == 0:  # a Poisson distribution, and the first term of the series in the dispersion
        first = -(mean**2) / 2 + targets * mean - targets * (targets - 1) / 2
        value = mean + log_gamma(targets + 1) + dispersions * first
        return value - targets * log(mean) if targets else value
    r = 1 / dispersions
    value = r * log(1 + dispersions * mean) + log_gamma(targets + 1)
    if targets:
        value = value + targets * log((1 + dispersions * mean) / mean)
    return value + log_gamma(r) - log_gamma(targets + r) + targets * log(r)


def laplace_nll_loss(locations: Exact, targets: Exact, scales: Exact, eps: Number = 1e-6) -> Exact:
    scale = largest([scales, eps])
    return log(2 * scale) + absolute(targets - locations) / scale


def student_t_nll_loss(locations: Exact, targets: Exact, scales: Exact, dfs: Exact, eps: Number = 1e-6) -> Exact:
    scale = largest([scales, eps])
    if dfs == INF:  # a normal distribution
        return ((targets - locations) / scale) ** 2 / 2 + log(2 * PI) / 2 + log(scale) + kink(0, dfs)
    tail = (dfs + 1) / 2 * log(1 + ((targets - locations) / scale) ** 2 / dfs)
    return tail + log_gamma(dfs / 2) - log_gamma((dfs + 1) / 2) + log(dfs * PI) / 2 + log(scale)


def gaussian_mixture_nll_loss(means: Row, targets: Exact, scales: Row, logits: Row, eps: Number = 1e-6) -> Exact:
    if not existing(logits):
        return IMPOSSIBLE
    parts = []
    for k in existing(logits):
        scale = largest([scales[k], eps])
        parts.append(logits[k] - ((targets - means[k]) / scale) ** 2 / 2 - log(scale))
    return log_normalizer(logits) - logsumexp(parts) + log(2 * PI) / 2


def tweedie_loss(means: Exact, targets: Exact, power: Number = 1.5) -> Exact:
    if targets == 0 and power >= 2:
        return IMPOSSIBLE
    power = aside(power, 1, 2)
    gap, rest = 1 - power, 2 - power
    return 2 * (targets**rest / (gap * rest) - targets * means**gap / gap + means**rest / rest)


# --- classification ---------------------------------------------------------------------------------------------------


def existing(logits: Row) -> list[int]:
    """The classes that no logit of -inf rules out."""
    return [k for k, logit in enumerate(logits) if logit > -INF]


def log_normalizer(logits: Row) -> Exact:
    """The log of the sum over the classes that exist."""
    return logsumexp(logits[k] for k in existing(logits))


def softmax(logits: Row) -> list[Exact]:
    """Probabilities, 0 for ruled-out classes."""
    log_z = log_normalizer(logits)
    return [exp(logit - log_z) if logit > -INF else NOTHING for logit in logits]


def logistic(logit: Exact, sign: Number = 1) -> Exact:
    """-log σ(±s)."""
    return softplus(-sign * logit)


def probabilities(labels: int | Row) -> dict[int, Number]:
    """Of the classes that have any."""
    return {labels: 1} if isinstance(labels, int) else dict(enumerate(labels))


def impossible(logits: Row, labels: int | Row, class_weights: Numbers | None = None) -> bool:
    """Whether what counts is of a class that is ruled out."""
    weights = class_weights or [1] * len(logits)
    return any(logits[k] == -INF and weights[k] * target > 0 for k, target in probabilities(labels).items())


def weighted(value: Exact, labels: int | Row, class_weights: Numbers | None) -> Exact | Part:
    """A value that counts for the weight of its label."""
    if class_weights is None:
        return value
    return Part(value, total(class_weights[k] * target for k, target in probabilities(labels).items()))


def _cross_entropy(
    logits: Row,
    labels: int | Row,
    class_weights: Numbers | None = None,
    label_smoothing: Number = 0,
    z_loss_weight: Number = 0,
) -> Exact:
    classes, targets = existing(logits), probabilities(labels)
    weights = class_weights or [1] * len(logits)
    if impossible(logits, labels, class_weights):
        return IMPOSSIBLE
    if not classes:
        return NOTHING
    log_z = log_normalizer(logits)
    value = total(weights[k] * target * (log_z - logits[k]) for k, target in targets.items() if logits[k] > -INF)
    if label_smoothing:
        spread = total(weights[k] * (log_z - logits[k]) for k in classes) / len(classes)
        value = (1 - label_smoothing) * value + label_smoothing * spread
    return value + z_loss_weight * log_z**2


def cross_entropy(
    logits: Row,
    labels: int | Row,
    class_weights: Numbers | None = None,
    ignore_index: int | None = -100,
    label_smoothing: Number = 0,
    z_loss_weight: Number = 0,
) -> Exact | Part:
    if labels == ignore_index:
        return IGNORED
    value = _cross_entropy(logits, labels, class_weights, label_smoothing, z_loss_weight)
    return weighted(value, labels, class_weights)


def logit_adjusted_cross_entropy(
    logits: Row, labels: int | Row, log_prior: Numbers, tau: Number = 1, ignore_index: int | None = -100
) -> Exact | Part:
    return cross_entropy(plus(logits, [tau * prior for prior in log_prior]), labels, ignore_index=ignore_index)


def nll_loss(
    log_probs: Row, labels: int, class_weights: Numbers | None = None, ignore_index: int | None = -100
) -> Exact | Part:
    if labels == ignore_index:
        return IGNORED
    weight = class_weights[labels] if class_weights else 1
    if log_probs[labels] == -INF:
        return weighted(IMPOSSIBLE if weight else NOTHING, labels, class_weights)
    return weighted(-weight * log_probs[labels], labels, class_weights)


def binary_cross_entropy(probs: Exact, targets: Exact, label_smoothing: Number = 0) -> Exact:
    def bounded_log(x: Exact) -> Exact:
        y = log(x)
        return y if y > -100 else kink(-100, x)

    smooth = (1 - label_smoothing) * targets + label_smoothing / MP.mpf(2)
    value: Exact = -smooth * bounded_log(probs) - (1 - smooth) * bounded_log(1 - probs)
    return value


def binary_cross_entropy_with_logits(
    logits: Exact, targets: Exact, pos_weight: Number | None = None, label_smoothing: Number = 0
) -> Exact:
    if absolute(logits) == INF:
        return NOTHING if targets == (1 if logits > 0 else 0) else IMPOSSIBLE
    smooth = (1 - label_smoothing) * targets + label_smoothing / MP.mpf(2)
    price = 1 if pos_weight is None else pos_weight
    value: Exact = price * smooth * logistic(logits) + (1 - smooth) * logistic(logits, -1)
    return value


def multilabel_soft_margin_loss(logits: Row, targets: Row, class_weights: Numbers | None = None) -> Exact:
    weights = class_weights or [1] * len(logits)
    terms = [binary_cross_entropy_with_logits(s, y) for s, y in zip(logits, targets, strict=True)]
    if any(weight and term == INF for weight, term in zip(weights, terms, strict=True)):
        return IMPOSSIBLE
    finite = (weight * term for weight, term in zip(weights, terms, strict=True) if term < INF)
    return total(finite) / max(len(existing(logits)), 1)


def adaptive_log_softmax_with_loss(
    hidden: Row,
    labels: int,
    head: Matrix,
    tails: Sequence[tuple[Matrix, Matrix]],
    cutoffs: Sequence[int],
    head_bias: Numbers | None = None,
    ignore_index: int | None = -100,
) -> Exact | Part:
    if labels == ignore_index:
        return IGNORED
    scores = plus(apply(hidden, head), head_bias)
    if labels < cutoffs[0]:
        return _cross_entropy(scores, labels)
    tail = max(index for index, cutoff in enumerate(cutoffs) if labels >= cutoff)
    project, expand = tails[tail]
    inside = _cross_entropy(apply(apply(hidden, project), expand), labels - cutoffs[tail])
    return _cross_entropy(scores, cutoffs[0] + tail) + inside


# --- focal ------------------------------------------------------------------------------------------------------------


def sigmoid_focal_loss(
    logits: Exact, targets: Exact, alpha: Number | None = None, gamma: Number = 2, label_smoothing: Number = 0
) -> Exact:
    if absolute(logits) == INF:
        return binary_cross_entropy_with_logits(logits, targets)
    smooth = (1 - label_smoothing) * targets + label_smoothing / MP.mpf(2)
    wrong = smooth * sigmoid(-logits) + (1 - smooth) * sigmoid(logits)
    balance = 1 if alpha is None else smooth * alpha + (1 - smooth) * (1 - alpha)
    value: Exact = balance * wrong**gamma * binary_cross_entropy_with_logits(logits, smooth)
    return value


def softmax_focal_loss(
    logits: Row,
    labels: int | Row,
    gamma: Number = 2,
    class_weights: Numbers | None = None,
    ignore_index: int | None = -100,
    label_smoothing: Number = 0,
) -> Exact | Part:
    if labels == ignore_index:
        return IGNORED
    if impossible(logits, labels, class_weights):
        return weighted(IMPOSSIBLE, labels, class_weights)
    targets, probs, log_z = probabilities(labels), softmax(logits), log_normalizer(logits)
    weights = class_weights or [1] * len(logits)
    present = [k for k, logit in enumerate(logits) if logit > -INF]
    shares = {k: (1 - label_smoothing) * targets.get(k, 0) + label_smoothing / MP.mpf(len(present)) for k in present}
    wrong = {k: total(p for j, p in enumerate(probs) if j != k) for k in present}
    value = total(weights[k] * shares[k] * wrong[k] ** gamma * (log_z - logits[k]) for k in present)
    return weighted(value, labels, class_weights)


def poly_cross_entropy(
    logits: Row, labels: int | Row, poly_weight: Number = 2, ignore_index: int | None = -100
) -> Exact | Part:
    if labels == ignore_index:
        return IGNORED
    probs, targets = softmax(logits), probabilities(labels)
    linear = total(target * (1 - probs[k]) for k, target in targets.items() if logits[k] > -INF)
    return _cross_entropy(logits, labels) + poly_weight * linear


def generalized_cross_entropy(
    logits: Row, labels: int, q: Number = 0.7, ignore_index: int | None = -100
) -> Exact | Part:
    if labels == ignore_index:
        return IGNORED
    prob, q = softmax(logits)[labels], aside(q, 0)
    return (1 - prob**q) / q if prob or q > TINY else IMPOSSIBLE


def asymmetric_loss(
    logits: Exact, targets: Exact, gamma_neg: Number = 4, gamma_pos: Number = 1, clip: Number = 0.05
) -> Exact:
    if absolute(logits) == INF:
        return binary_cross_entropy_with_logits(logits, targets)
    shifted, rest = sigmoid(logits) - clip, sigmoid(-logits) + clip
    value = targets * sigmoid(-logits) ** gamma_pos * logistic(logits)
    return value - (1 - targets) * shifted**gamma_neg * log(rest) if shifted > 0 else value


# --- Fenchel-Young ----------------------------------------------------------------------------------------------------


def entmax_loss(logits: Row, labels: int | Row, alpha: Number = 1.5, ignore_index: int | None = -100) -> Exact | Part:
    """⟨p - y, s - τ⟩ + H(p) - H(y) for p = max(0, (a - 1)(s - τ))^(1/(a - 1)), with that threshold τ for which Σp = 1.

    As the maximiser p is constant. For labels whose sum is rounded it matters that s counts from τ.
    """
    if labels == ignore_index:
        return IGNORED
    classes, targets = existing(logits), probabilities(labels)
    power = alpha - Exact(1)
    if impossible(logits, labels):
        return IMPOSSIBLE
    if not classes:
        return NOTHING
    if power:
        threshold, probs = _projected(logits, power)
    else:
        threshold, probs = log_normalizer(logits), {k: p.value for k, p in enumerate(softmax(logits)) if p > 0}
        threshold += kink(0, power)

    def entropy(p: Number) -> Number:
        if power:
            return (Exact(0) + p) ** (power + 1) / (-power * (power + 1))
        return p - p * log(p) if p > 0 else kink(0, p)

    gaps = {k: logits[k] - threshold for k in classes}
    value = total((probs.get(k, 0) - targets.get(k, 0)) * gap for k, gap in gaps.items())
    return value + total(map(entropy, probs.values())) - total(map(entropy, targets.values()))


def _projected(logits: Row, exponent: Exact) -> tuple[Exact, dict[int, float]]:
    """The threshold, whose slopes follow from Σp = 1, and the probabilities above 0."""
    power = exponent.value
    scores = {k: power * logits[k].value for k in existing(logits)}

    least, most = max(scores.values()) - 1, max(scores.values())
    for _ in range(250):  # to 75 digits: floats lie as close to each other as 1e-38
        middle = (least + most) / 2
        mass = sum((score - middle) ** (1 / power) for score in scores.values() if score > middle)
        least, most = (middle, most) if mass > 1 else (least, middle)
    probs = {k: (score - least) ** (1 / power) for k, score in scores.items() if score > least}
    slopes = {k: p ** (1 - power) for k, p in probs.items()}
    whole = sum(slopes.values())
    drift = sum(p * (1 - power * MP.ln(p)) for p in probs.values()) / power**2
    sources = [(logits[k], slope / whole) for k, slope in slopes.items()]
    return Exact(least / power, [*sources, (exponent, drift / whole)]), probs


def sparsemax_loss(logits: Row, labels: int | Row, ignore_index: int | None = -100) -> Exact | Part:
    return entmax_loss(logits, labels, 2, ignore_index)


def fenchel_young_loss(logits: Row, targets: Row) -> Exact:
    """That of logsumexp."""
    pairs = list(zip(logits, targets, strict=True))
    if any(logit == -INF and target for logit, target in pairs):
        return IMPOSSIBLE
    if not existing(logits):
        return NOTHING
    return log_normalizer(logits) - total(target * logit for logit, target in pairs if logit > -INF)


# --- linear -----------------------------------------------------------------------------------------------------------


def linear_cross_entropy(
    hidden: Row,
    kernel: Matrix,
    labels: int | Row,
    bias: Numbers | None = None,
    class_weights: Numbers | None = None,
    ignore_index: int | None = -100,
    label_smoothing: Number = 0,
    z_loss_weight: Number = 0,
    softcap: Number | None = None,
) -> Exact | Part:
    logits = plus(apply(hidden, kernel), bias)
    if softcap is not None:
        logits = [softcap * tanh(logit / softcap) for logit in logits]
    return cross_entropy(logits, labels, class_weights, ignore_index, label_smoothing, z_loss_weight)


# --- hinge ------------------------------------------------------------------------------------------------------------


def hinge_loss(logits: Exact, targets: Number) -> Exact:
    return hinge(1 - targets * logits)


def squared_hinge_loss(logits: Exact, targets: Number) -> Exact:
    return hinge(1 - targets * logits) ** 2


def perceptron_loss(logits: Exact, targets: Number) -> Exact:
    return hinge(-targets * logits)


def soft_margin_loss(logits: Exact, targets: Number) -> Exact:
    return logistic(logits, targets)


def multiclass_hinge_loss(logits: Row, labels: int, ignore_index: int | None = -100) -> Exact | Part:
    if labels == ignore_index:
        return IGNORED
    if impossible(logits, labels):
        return IMPOSSIBLE
    others = [logits[k] for k in existing(logits) if k != labels]
    return hinge(1 + largest(others) - logits[labels]) if others else NOTHING


def multiclass_perceptron_loss(logits: Row, labels: int, ignore_index: int | None = -100) -> Exact | Part:
    if labels == ignore_index:
        return IGNORED
    return IMPOSSIBLE if impossible(logits, labels) else largest(logits) - logits[labels]


def multi_margin_loss(
    logits: Row,
    labels: int,
    p: Number = 1,
    margin: Number = 1,
    class_weights: Numbers | None = None,
    ignore_index: int | None = -100,
) -> Exact | Part:
    if labels == ignore_index:
        return IGNORED
    if impossible(logits, labels):
        return weighted(IMPOSSIBLE, labels, class_weights)
    classes = existing(logits)
    violations = (hinge(margin - logits[labels] + logits[k]) for k in classes if k != labels)
    weight = class_weights[labels] if class_weights else 1
    return weighted(weight * total(violation**p for violation in violations) / len(classes), labels, class_weights)


def multilabel_margin_loss(logits: Row, labels: Sequence[int]) -> Exact:
    listed = list(itertools.takewhile(lambda label: label != -1, labels))
    classes = existing(logits)
    if not set(listed) <= set(classes):
        return IMPOSSIBLE
    others = [k for k in classes if k not in listed]
    return total(hinge(1 - logits[y] + logits[k]) for y in listed for k in others) / max(len(classes), 1)


# --- margin -----------------------------------------------------------------------------------------------------------


def margin_ranking_loss(x1: Exact, x2: Exact, targets: Number, margin: Number = 0) -> Exact:
    return hinge(margin - targets * (x1 - x2))


def hinge_embedding_loss(predictions: Exact, targets: Number, margin: Number = 1) -> Exact:
    return predictions if targets == 1 else hinge(margin - predictions)


def cosine_embedding_loss(x1: Row, x2: Row, targets: Number, margin: Number = 0) -> Exact:
    return 1 - cosine(x1, x2) if targets == 1 else hinge(cosine(x1, x2) - margin)


def triplet_margin_loss(
    anchors: Row,
    positives: Row,
    negatives: Row,
    margin: Number = 1,
    p: Number = 2,
    eps: Number = 1e-6,
    swap: bool = False,
) -> Exact:
    def distance(x: Row, y: Row) -> Exact:
        return norm([a - b + eps for a, b in zip(x, y, strict=True)], p)

    return triplet_margin_with_distance_loss(anchors, positives, negatives, distance, margin, swap)


def triplet_margin_with_distance_loss(
    anchors: Row,
    positives: Row,
    negatives: Row,
    distance_function: Callable[[Row, Row], Exact],
    margin: Number = 1,
    swap: bool = False,
) -> Exact:
    near, far = distance_function(anchors, positives), distance_function(anchors, negatives)
    if swap:
        far = smallest([far, distance_function(positives, negatives)])
    return hinge(near - far + margin)


def manhattan(x: Row, y: Row) -> Exact:
    """The distance function of the catalogue."""
    return total(absolute(a - b) for a, b in zip(x, y, strict=True))


# --- divergence -------------------------------------------------------------------------------------------------------


def kl_div(log_predictions: Row, targets: Row, log_target: bool = False) -> Exact:
    terms = []
    for log_prediction, target in zip(log_predictions, targets, strict=True):
        if target == (-INF if log_target else 0):
            terms.append(kink(0, target))
            continue
        if log_prediction == -INF:
            return IMPOSSIBLE
        prob, log_prob = (exp(target), target) if log_target else (target, log(target))
        terms.append(prob * (log_prob - log_prediction))
    return total(terms)


def generalized_kl_div(log_predictions: Row, targets: Row) -> Exact:
    amounts = total(exp(log_prediction) for log_prediction in log_predictions if log_prediction > -INF)
    return kl_div(log_predictions, targets) + amounts - total(target for target in targets if target > 0)


def js_div(log_predictions: Row, targets: Row, beta: Number = 0.5, log_target: bool = False) -> Exact:
    if log_target:
        targets = [exp(target) if target > -INF else NOTHING for target in targets]
    if beta == 0:
        return kl_div(log_predictions, targets)
    terms = []
    for log_prediction, target in zip(log_predictions, targets, strict=True):
        prob = exp(log_prediction) if log_prediction > -INF else NOTHING
        mixture = beta * target + (1 - beta) * prob
        if target == 0:
            terms.append(kink(0, target))
        else:
            terms.append(beta * target * log(target / mixture))
        if prob > 0 and mixture == 0:
            return IMPOSSIBLE
        if prob > 0:
            terms.append((1 - beta if beta != 1 else 1) * prob * log(prob / mixture))
    return total(terms)


def gaussian_kl(
    means: Row,
    log_variances: Row,
    prior_means: Number | Numbers | None = None,
    prior_log_variances: Number | Numbers | None = None,
) -> Exact:
    def spread(option: Number | Numbers | None) -> Numbers:
        return option if isinstance(option, Sequence) else [0 if option is None else option] * len(means)

    rows = zip(means, log_variances, spread(prior_means), spread(prior_log_variances), strict=True)
    return total(exp(u - v) - 1 - (u - v) + (m - n) ** 2 / exp(v) for m, u, n, v in rows) / 2


# --- metric learning: of a whole batch, a part for each row -----------------------------------------------------------


def nt_xent_loss(embeddings: Matrix, labels: Sequence[int], temperature: Number = 0.07) -> list[Part]:
    def part(i: int) -> Part:
        scores = [cosine(embeddings[i], other) / temperature for other in embeddings]
        negatives = [score for score, label in zip(scores, labels, strict=True) if label != labels[i]]
        positives = [scores[j] for j, label in enumerate(labels) if label == labels[i] and j != i]
        # The mean is over pairs of an anchor and a positive.
        return Part(total(logsumexp([positive, *negatives]) - positive for positive in positives), len(positives))

    return list(map(part, range(len(labels))))


def circle_loss(embeddings: Matrix, labels: Sequence[int], gamma: Number = 80, margin: Number = 0.4) -> list[Part]:
    def part(i: int) -> Part:
        cosines = [cosine(embeddings[i], other) for other in embeddings]
        positives = [c for j, c in enumerate(cosines) if labels[j] == labels[i] and j != i]
        negatives = [c for j, c in enumerate(cosines) if labels[j] != labels[i]]
        if not positives or not negatives:
            return IGNORED
        # The weights do not move with the embeddings.
        pull = [-gamma * hinge(1 + margin - constant(c)) * (c - 1 + margin) for c in positives]
        push = [gamma * hinge(constant(c) + margin) * (c - margin) for c in negatives]
        return Part(softplus(logsumexp(pull) + logsumexp(push)), 1)

    return list(map(part, range(len(labels))))


# --- ranking ----------------------------------------------------------------------------------------------------------


def ranking_softmax_loss(scores: Row, relevance: Row, valid: Sequence[bool] | None = None) -> Exact | Part:
    items = [i for i in range(len(scores)) if valid is None or valid[i]]
    if not items:
        return IGNORED
    return _cross_entropy([scores[i] for i in items], [relevance[i] for i in items])


# --- segmentation -----------------------------------------------------------------------------------------------------


class Overlap(NamedTuple):
    """For one class what is in both, what is predicted, and what is true."""

    both: Exact
    predicted: Exact
    true: Number


def overlaps(
    probs: Matrix, labels: Sequence[int] | Matrix, ignore_index: int | None, valid: Sequence[bool] | None
) -> list[Overlap]:
    """Those of the classes, over the pixels that take part: none if there is no such pixel."""
    pixels = [i for i, label in enumerate(labels) if (valid is None or valid[i]) and label != ignore_index]
    if not pixels:
        return []

    def overlap(k: int) -> Overlap:
        members: Numbers = [_membership(labels[i], k) for i in pixels]
        column = [probs[i][k] for i in pixels]
        return Overlap(dot(column, members), total(column), total(members))

    return list(map(overlap, range(len(probs[0]))))


def _membership(label: int | Row, k: int) -> Number:
    return int(label == k) if isinstance(label, int) else label[k]


def class_mean(terms: Numbers, class_weights: Numbers | None) -> Exact | Part:
    """The weighted mean of the losses of an image's classes."""
    if not terms:
        return IGNORED
    weights = class_weights or [1] * len(terms)
    return dot(weights, terms) / total(weights)


def dice_loss(
    probs: Matrix,
    labels: Sequence[int] | Matrix,
    class_weights: Numbers | None = None,
    smooth_nr: Number = 1e-5,
    smooth_dr: Number = 1e-5,
    ignore_index: int | None = -100,
    valid: Sequence[bool] | None = None,
) -> Exact | Part:
    def term(both: Exact, predicted: Exact, true: Number) -> Exact:
        whole = predicted + true + smooth_dr
        return 1 - (2 * both + smooth_nr) / whole if whole else kink(0, predicted)  # a class that is nowhere

    return class_mean([term(*overlap) for overlap in overlaps(probs, labels, ignore_index, valid)], class_weights)


def generalized_dice_loss(
    probs: Matrix,
    labels: Sequence[int] | Matrix,
    class_weights: Numbers | None = None,
    smooth_nr: Number = 1e-5,
    smooth_dr: Number = 1e-5,
    ignore_index: int | None = -100,
    valid: Sequence[bool] | None = None,
) -> Exact | Part:
    of_classes = overlaps(probs, labels, ignore_index, valid)
    if not of_classes:
        return IGNORED
    sizes = [true for *_, true in of_classes if true]
    least = smallest(sizes) if sizes else 0
    shares: Numbers = [(least / true) ** 2 if true else bool(sizes) for *_, true in of_classes]
    if class_weights is not None:
        shares = [share * weight for share, weight in zip(shares, class_weights, strict=True)]
    both, predicted, true = (dot(shares, sums) for sums in zip(*of_classes, strict=True))
    return 1 - (2 * both + smooth_nr) / (predicted + true + smooth_dr)


def tversky_loss(
    probs: Matrix,
    labels: Sequence[int] | Matrix,
    alpha: Number = 0.5,
    beta: Number = 0.5,
    gamma: Number = 1,
    class_weights: Numbers | None = None,
    smooth_nr: Number = 1e-5,
    smooth_dr: Number = 1e-5,
    ignore_index: int | None = -100,
    valid: Sequence[bool] | None = None,
) -> Exact | Part:
    def term(both: Exact, predicted: Exact, true: Number) -> Exact:
        whole = both + alpha * (predicted - both) + beta * (true - both) + smooth_dr
        return (1 - (both + smooth_nr) / whole) ** gamma if whole else kink(0, predicted)

    return class_mean([term(*overlap) for overlap in overlaps(probs, labels, ignore_index, valid)], class_weights)


# --- sequence ---------------------------------------------------------------------------------------------------------


def ctc_loss(
    logits: Matrix,
    labels: Sequence[int],
    logit_lengths: int,
    label_lengths: int,
    blank: int = 0,
    zero_infinity: bool = False,
) -> Exact:
    """The forward variables of Graves et al., as probabilities."""
    symbols = [blank, *itertools.chain.from_iterable((label, blank) for label in labels[:label_lengths])]
    paths = [Exact(int(state == 0)) for state in range(len(symbols))]
    for row in logits[:logit_lengths]:
        log_z = log_normalizer(row)
        before, paths = paths, []
        for state, symbol in enumerate(symbols):
            skips = state >= 2 and symbol not in (blank, symbols[state - 2])
            arriving = total(before[max(state - (2 if skips else 1), 0) : state + 1])
            paths.append(arriving * exp(row[symbol] - log_z) if row[symbol] > -INF else NOTHING)
    likelihood = total(paths[-2:])
    if likelihood == 0:
        return NOTHING if zero_infinity else IMPOSSIBLE
    return -log(likelihood)
