"""Every loss as its definition has it, on exact numbers: plain, and never in the order in which floats would need it.

A reference has the name of its loss and takes one entry, or one row: a number is an `Exact`, a row a list of them, a
label an integer, an option an exact constant. What the docstrings say of edges and ruled-out classes holds here too.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .exact import (
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
    softplus,
    sqrt,
    tanh,
    total,
)

Row = Sequence[Exact]
Matrix = Sequence[Row]
Constant = float  # or what is exact in its place

PI: float = MP.pi
HALF: float = MP.one / 2
NOTHING = Exact(0)
IMPOSSIBLE = Exact(INF)


def real(number: float) -> float:
    """An exact constant."""
    constant: float = MP.mpf(number)
    return constant


def logistic(logit: Exact, sign: Constant = 1) -> Exact:
    """-log σ(±s)."""
    return softplus(-sign * logit)


def dot(x: Sequence[Number], y: Sequence[Number]) -> Exact:
    """The inner product."""
    return total(a * b for a, b in zip(x, y, strict=True))


def apply(x: Row, kernel: Matrix) -> list[Exact]:
    """A row times a matrix."""
    return [dot(x, column) for column in zip(*kernel, strict=True)]


# --- regression -------------------------------------------------------------------------------------------------------


def l1_loss(prediction: Exact, target: Exact) -> Exact:
    return absolute(prediction - target)


def mse_loss(prediction: Exact, target: Exact) -> Exact:
    return (prediction - target) ** 2


def huber_loss(prediction: Exact, target: Exact, delta: Constant = 1) -> Exact:
    error = prediction - target
    return error**2 / 2 if absolute(error) <= delta else delta * (absolute(error) - delta * HALF)


def smooth_l1_loss(prediction: Exact, target: Exact, beta: Constant = 1) -> Exact:
    return huber_loss(prediction, target, beta) / beta if beta else l1_loss(prediction, target)


def log_cosh_loss(prediction: Exact, target: Exact) -> Exact:
    error = prediction - target
    return log((exp(error) + exp(-error)) / 2)


def charbonnier_loss(prediction: Exact, target: Exact, eps: Constant = 1e-3) -> Exact:
    return sqrt((prediction - target) ** 2 + eps**2)


def general_robust_loss(prediction: Exact, target: Exact, alpha: Constant = 1, scale: Constant = 1) -> Exact:
    square = ((prediction - target) / scale) ** 2
    if alpha == 2:
        return square / 2
    if alpha == 0:
        return log(1 + square / 2)
    if alpha == -INF:
        return 1 - exp(-square / 2)
    return ((square / abs(alpha - 2) + 1) ** (alpha * HALF) - 1) * abs(alpha - 2) / alpha


def mape_loss(prediction: Exact, target: Exact, eps: Constant = 1e-7) -> Exact:
    return 100 * absolute(prediction - target) / largest([absolute(target), Exact(eps)])


def msle_loss(prediction: Exact, target: Exact) -> Exact:
    return (log(1 + prediction) - log(1 + target)) ** 2


def cosine_distance(prediction: Row, target: Row, eps: Constant = 0) -> Exact:
    return 1 - cosine(prediction, target, eps)


# --- forecasts --------------------------------------------------------------------------------------------------------


def quantile_loss(prediction: Exact | Row, target: Exact, quantiles: Any = HALF) -> Exact:
    if isinstance(prediction, Exact):
        error = target - prediction
        price: float = quantiles if error > 0 else 1 - quantiles
        return absolute(error) * price
    pairs = zip(prediction, quantiles, strict=True)
    return total(quantile_loss(x, target, level) for x, level in pairs) / len(prediction)


def expectile_loss(prediction: Exact, target: Exact, expectile: Constant = 0.5) -> Exact:
    error = target - prediction
    return (expectile if error > 0 else 1 - expectile) * error**2


def quantile_huber_loss(
    predictions: Row, targets: Row, delta: Constant = 1, quantiles: Sequence[Constant] | None = None
) -> Exact:
    n = len(predictions)
    levels = quantiles or [real(2 * i + 1) / (2 * n) for i in range(n)]
    terms = (
        abs(level - (y < x)) * smooth_l1_loss(x, y, delta)
        for x, level in zip(predictions, levels, strict=True)
        for y in targets
    )
    return total(terms) / len(targets)


def crps_gaussian(mean: Exact, target: Exact, scale: Exact, eps: Constant = 1e-6) -> Exact:
    scale = largest([scale, Exact(eps)])
    z = (target - mean) / scale
    density = exp(-(z**2) / 2) / sqrt(2 * PI)
    return scale * (z * (2 * normal_cdf(z) - 1) + 2 * density - 1 / sqrt(PI))


def crps_ensemble(members: Row, target: Exact, fair: bool = False) -> Exact:
    m = len(members)
    apart = total(absolute(a - b) for a, b in itertools.combinations(members, 2))
    return total(absolute(x - target) for x in members) / m - apart / (m * (m - 1) if fair else m * m)


# --- likelihood -------------------------------------------------------------------------------------------------------


def gaussian_nll_loss(
    mean: Exact, target: Exact, variance: Exact, full: bool = False, eps: Constant = 1e-6, beta: Constant = 0
) -> Exact:
    variance = largest([variance, Exact(eps)])
    value = (log(variance) + (target - mean) ** 2 / variance) / 2
    if full:
        value = value + log(2 * PI) / 2
    return constant(variance) ** beta * value


def poisson_nll_loss(
    prediction: Exact, target: Exact, log_input: bool = True, full: bool = False, eps: Constant = 1e-8
) -> Exact:
    value = exp(prediction) - target * prediction if log_input else prediction - target * log(prediction + eps)
    if full and target > 1:
        value = value + target * log(target) - target + log(2 * PI * target) / 2
    return value


def negative_binomial_nll_loss(mean: Exact, target: int, dispersion: Exact, eps: Constant = 1e-6) -> Exact:
    if target > 0:
        mean = largest([mean, Exact(eps)])
    if dispersion == 0:  # a Poisson distribution, and the first term of the series in the dispersion
        first = -(mean**2) / 2 + target * mean - target * (target - 1) * HALF
        value = mean + log_gamma(target + 1) + dispersion * first
        return value - target * log(mean) if target else value
    r = 1 / dispersion
    value = r * log(1 + dispersion * mean) + log_gamma(target + 1)
    if target:
        value = value + target * log((1 + dispersion * mean) / mean)
    return value + log_gamma(r) - log_gamma(target + r) + target * log(r)


def laplace_nll_loss(location: Exact, target: Exact, scale: Exact, eps: Constant = 1e-6) -> Exact:
    scale = largest([scale, Exact(eps)])
    return log(2 * scale) + absolute(target - location) / scale


def student_t_nll_loss(location: Exact, target: Exact, scale: Exact, df: Exact, eps: Constant = 1e-6) -> Exact:
    scale = largest([scale, Exact(eps)])
    tail = (df + 1) / 2 * log(1 + ((target - location) / scale) ** 2 / df)
    return tail + log_gamma(df / 2) - log_gamma((df + 1) / 2) + log(df * PI) / 2 + log(scale)


def gaussian_mixture_nll_loss(means: Row, target: Exact, scales: Row, logits: Row, eps: Constant = 1e-6) -> Exact:
    parts = []
    for k in existing(logits):
        scale = largest([scales[k], Exact(eps)])
        parts.append(logits[k] - ((target - means[k]) / scale) ** 2 / 2 - log(scale))
    return logsumexp(logits[k] for k in existing(logits)) - logsumexp(parts) + log(2 * PI) / 2


def tweedie_loss(mean: Exact, target: Exact, power: Constant = 1.5) -> Exact:
    if target == 0 and power >= 2:
        return IMPOSSIBLE
    if power == 1:
        return 2 * (mean - target + (target * log(target / mean) if target > 0 else kink(0, target)))
    if power == 2:
        return 2 * (log(mean / target) + target / mean - 1)
    gap, rest = 1 - real(power), 2 - real(power)
    return 2 * (target**rest / (gap * rest) - target * mean**gap / gap + mean**rest / rest)


# --- classification ---------------------------------------------------------------------------------------------------


def existing(logits: Row) -> list[int]:
    """The classes that no logit of -inf rules out."""
    return [k for k, logit in enumerate(logits) if logit > -INF]


def cross_entropy(
    logits: Row,
    labels: int | Row,
    class_weights: Sequence[Constant] | None = None,
    label_smoothing: Constant = 0,
    z_loss_weight: Constant = 0,
) -> Exact:
    classes = existing(logits)
    weights = class_weights or [1] * len(logits)
    targets = {labels: 1} if isinstance(labels, int) else dict(enumerate(labels))
    if any(logits[k] == -INF and weights[k] * target > 0 for k, target in targets.items()):
        return IMPOSSIBLE
    log_z = logsumexp(logits[k] for k in classes)
    value = total(weights[k] * target * (log_z - logits[k]) for k, target in targets.items() if logits[k] > -INF)
    if label_smoothing:
        spread = total(weights[k] * (log_z - logits[k]) for k in classes) / len(classes)
        value = (1 - label_smoothing) * value + label_smoothing * spread
    return value + z_loss_weight * log_z**2


def nll_loss(log_probs: Row, label: int, class_weights: Sequence[Constant] | None = None) -> Exact:
    weight = class_weights[label] if class_weights else 1
    if log_probs[label] == -INF:
        return IMPOSSIBLE if weight else NOTHING
    return -weight * log_probs[label]


def binary_cross_entropy(prob: Exact, target: Exact) -> Exact:
    def bounded_log(x: Exact) -> Exact:
        y = log(x)
        return y if y > -100 else kink(-100, x)

    return -target * bounded_log(prob) - (1 - target) * bounded_log(1 - prob)


def binary_cross_entropy_with_logits(
    logit: Exact, target: Number, pos_weight: Constant = 1, label_smoothing: Constant = 0
) -> Exact:
    if absolute(logit) == INF:
        return NOTHING if target == (1 if logit > 0 else 0) else IMPOSSIBLE
    smooth: Number = (1 - label_smoothing) * target + label_smoothing * HALF
    value: Exact = pos_weight * smooth * logistic(logit) + (1 - smooth) * logistic(logit, -1)
    return value


def multilabel_soft_margin_loss(logits: Row, targets: Row, class_weights: Sequence[Constant] | None = None) -> Exact:
    weights = class_weights or [1] * len(logits)
    terms = [binary_cross_entropy_with_logits(s, y) for s, y in zip(logits, targets, strict=True)]
    if any(weight and term == INF for weight, term in zip(weights, terms, strict=True)):
        return IMPOSSIBLE
    finite = (weight * term for weight, term in zip(weights, terms, strict=True) if term < INF)
    return total(finite) / max(len(existing(logits)), 1)


def softmax(logits: Row) -> list[Exact]:
    """Probabilities, 0 for ruled-out classes."""
    log_z = logsumexp(logits[k] for k in existing(logits))
    return [exp(logit - log_z) if logit > -INF else NOTHING for logit in logits]


def sigmoid_focal_loss(logit: Exact, target: Exact, alpha: Constant | None = None, gamma: Constant = 2) -> Exact:
    if absolute(logit) == INF:
        return binary_cross_entropy_with_logits(logit, target)
    wrong = target * sigmoid(-logit) + (1 - target) * sigmoid(logit)
    balance = 1 if alpha is None else target * alpha + (1 - target) * (1 - alpha)
    return balance * wrong**gamma * binary_cross_entropy_with_logits(logit, target)


def softmax_focal_loss(
    logits: Row, labels: int | Row, gamma: Constant = 2, class_weights: Sequence[Constant] | None = None
) -> Exact:
    targets = {labels: 1} if isinstance(labels, int) else dict(enumerate(labels))
    weights = class_weights or [1] * len(logits)
    log_z = logsumexp(logits[k] for k in existing(logits))
    wrong = {k: total(p for j, p in enumerate(softmax(logits)) if j != k) for k in targets}
    present = (k for k in targets if logits[k] > -INF)
    return total(weights[k] * targets[k] * wrong[k] ** gamma * (log_z - logits[k]) for k in present)


def poly_cross_entropy(logits: Row, labels: int | Row, poly_weight: Constant = 2) -> Exact:
    targets = {labels: 1} if isinstance(labels, int) else dict(enumerate(labels))
    probs = softmax(logits)
    linear = total(target * (1 - probs[k]) for k, target in targets.items() if logits[k] > -INF)
    return cross_entropy(logits, labels) + poly_weight * linear


def generalized_cross_entropy(logits: Row, label: int, q: Constant = 0.7) -> Exact:
    return (1 - softmax(logits)[label] ** q) / q if q else cross_entropy(logits, label)


def asymmetric_loss(
    logit: Exact, target: Exact, gamma_neg: Constant = 4, gamma_pos: Constant = 1, clip: Constant = 0.05
) -> Exact:
    if absolute(logit) == INF:  # only drawn where the target agrees
        return NOTHING
    shifted = sigmoid(logit) - clip
    value = target * sigmoid(-logit) ** gamma_pos * logistic(logit)
    return value - (1 - target) * shifted**gamma_neg * log(1 - shifted) if shifted > 0 else value


def logit_adjusted_cross_entropy(
    logits: Row, labels: int | Row, log_prior: Sequence[Constant], tau: Constant = 1, **options: Any
) -> Exact:
    adjusted = [logit + tau * prior for logit, prior in zip(logits, log_prior, strict=True)]
    return cross_entropy(adjusted, labels, **options)


def entmax_loss(logits: Row, label: int, alpha: Constant = 1.5) -> Exact:
    """⟨p - y, s⟩ and the entropy of p, which is found by bisection; as the maximiser it is constant."""
    classes = existing(logits)
    if label not in classes:
        return IMPOSSIBLE
    power = real(alpha) - 1
    scores = {k: power * logits[k].value for k in classes}
    # Until 100 digits are known.
    low, high = max(scores.values()) - 1, max(scores.values())
    for _ in range(400):
        middle = (low + high) / 2
        mass = sum((score - middle) ** (1 / power) for score in scores.values() if score > middle)
        low, high = (middle, high) if mass > 1 else (low, middle)
    probs = {k: (score - low) ** (1 / power) for k, score in scores.items() if score > low}
    entropy = total(p - p**alpha for p in probs.values()) / (alpha * power)
    return total(p * logits[k] for k, p in probs.items()) - logits[label] + entropy


def sparsemax_loss(logits: Row, label: int) -> Exact:
    return entmax_loss(logits, label, 2)


def adaptive_log_softmax_with_loss(
    hidden: Matrix,
    labels: Sequence[int],
    head: Matrix,
    tails: Sequence[tuple[Matrix, Matrix]],
    cutoffs: Sequence[int] = (),
    head_bias: Sequence[Constant] | None = None,
) -> list[Exact]:
    def value(row: Row, label: int) -> Exact:
        scores = apply(row, head)
        if head_bias is not None:
            scores = [score + bias for score, bias in zip(scores, head_bias, strict=True)]
        if label < cutoffs[0]:
            return cross_entropy(scores, label)
        tail = max(index for index, cutoff in enumerate(cutoffs) if label >= cutoff)
        project, expand = tails[tail]
        inside = cross_entropy(apply(apply(row, project), expand), label - cutoffs[tail])
        return cross_entropy(scores, cutoffs[0] + tail) + inside

    return list(map(value, hidden, labels))


# --- linear -----------------------------------------------------------------------------------------------------------


def linear_cross_entropy(
    hidden: Matrix,
    kernel: Matrix,
    labels: Sequence[int | Row],
    bias: Sequence[Constant] | None = None,
    softcap: Constant | None = None,
    **options: Any,
) -> list[Exact]:
    def logits(row: Row) -> Row:
        logits = apply(row, kernel)
        if bias is not None:
            logits = [logit + shift for logit, shift in zip(logits, bias, strict=True)]
        return logits if softcap is None else [softcap * tanh(logit / softcap) for logit in logits]

    return [cross_entropy(logits(row), label, **options) for row, label in zip(hidden, labels, strict=True)]


# --- margin -----------------------------------------------------------------------------------------------------------


def margin_ranking_loss(x1: Exact, x2: Exact, target: int, margin: Constant = 0) -> Exact:
    return hinge(margin - target * (x1 - x2))


def hinge_embedding_loss(prediction: Exact, target: int, margin: Constant = 1) -> Exact:
    return prediction if target == 1 else hinge(margin - prediction)


def soft_margin_loss(logit: Exact, target: int) -> Exact:
    return logistic(logit, target)


def cosine(x1: Row, x2: Row, eps: Constant = 0) -> Exact:
    """0 where a vector is zero; one shorter than `eps` is divided by that."""
    lengths = [largest([norm(x, 2), Exact(eps)]) for x in (x1, x2)]
    product = lengths[0] * lengths[1]
    return dot(x1, x2) / product if product > 0 else kink(0, *x1, *x2)


def cosine_embedding_loss(x1: Row, x2: Row, target: int, margin: Constant = 0) -> Exact:
    return 1 - cosine(x1, x2) if target == 1 else hinge(cosine(x1, x2) - margin)


def norm(x: Row, p: Constant) -> Exact:
    """The p-norm."""
    distances = map(absolute, x)
    return largest(distances) if p == INF else total(distance**p for distance in distances) ** (1 / real(p))


def triplet_margin_loss(
    anchor: Row,
    positive: Row,
    negative: Row,
    margin: Constant = 1,
    p: Constant = 2,
    eps: Constant = 1e-6,
    swap: bool = False,
) -> Exact:
    def distance(x: Row, y: Row) -> Exact:
        return norm([a - b + eps for a, b in zip(x, y, strict=True)], p)

    return triplet(anchor, positive, negative, distance, margin, swap)


def triplet(
    anchor: Row, positive: Row, negative: Row, distance: Callable[[Row, Row], Exact], margin: Constant, swap: bool
) -> Exact:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = -largest([-far, -distance(positive, negative)])
    return hinge(near - far + margin)


def triplet_margin_with_distance_loss(
    anchor: Row, positive: Row, negative: Row, margin: Constant = 1, swap: bool = False
) -> Exact:
    def manhattan(x: Row, y: Row) -> Exact:
        return total(absolute(a - b) for a, b in zip(x, y, strict=True))

    return triplet(anchor, positive, negative, manhattan, margin, swap)


def multi_margin_loss(
    logits: Row, label: int, p: int = 1, margin: Constant = 1, class_weights: Sequence[Constant] | None = None
) -> Exact:
    classes = existing(logits)
    if label not in classes:
        return IMPOSSIBLE
    violations = (hinge(margin - logits[label] + logits[k]) for k in classes if k != label)
    weight = class_weights[label] if class_weights else 1
    return weight * total(violation**p for violation in violations) / len(classes)


def multilabel_margin_loss(logits: Row, labels: Sequence[int]) -> Exact:
    listed = list(itertools.takewhile(lambda label: label != -1, labels))
    classes = existing(logits)
    if not set(listed) <= set(classes):
        return IMPOSSIBLE
    others = [k for k in classes if k not in listed]
    return total(hinge(1 - logits[y] + logits[k]) for y in listed for k in others) / max(len(classes), 1)


def hinge_loss(logit: Exact, target: int) -> Exact:
    return hinge(1 - target * logit)


def squared_hinge_loss(logit: Exact, target: int) -> Exact:
    return hinge(1 - target * logit) ** 2


def perceptron_loss(logit: Exact, target: int) -> Exact:
    return hinge(-target * logit)


def multiclass_hinge_loss(logits: Row, label: int) -> Exact:
    others = [logits[k] for k in existing(logits) if k != label]
    return hinge(1 + largest(others) - logits[label]) if others else NOTHING


def multiclass_perceptron_loss(logits: Row, label: int) -> Exact:
    return largest(logits) - logits[label]


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


def js_div(log_predictions: Row, targets: Row, beta: Constant = 0.5) -> Exact:
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


def gaussian_kl(means: Row, log_variances: Row) -> Exact:
    terms = (exp(u) - 1 - u + mean**2 for mean, u in zip(means, log_variances, strict=True))
    return total(terms) / 2


# --- metric learning --------------------------------------------------------------------------------------------------


def nt_xent_loss(embeddings: Matrix, labels: Sequence[int], temperature: Constant = 0.07) -> Exact:
    """The mean over pairs of anchor and positive."""
    values = []
    for i, anchor in enumerate(embeddings):
        scores = [cosine(anchor, other) / temperature for other in embeddings]
        negatives = [scores[k] for k, label in enumerate(labels) if label != labels[i]]
        positives = [scores[j] for j, label in enumerate(labels) if label == labels[i] and j != i]
        values += [logsumexp([positive, *negatives]) - positive for positive in positives]
    return total(values) / max(len(values), 1)


def circle_loss(embeddings: Matrix, labels: Sequence[int], gamma: Constant = 80, margin: Constant = 0.4) -> list[Exact]:
    def value(i: int) -> Exact:
        cosines = [cosine(embeddings[i], other) for other in embeddings]
        positives = [c for j, c in enumerate(cosines) if labels[j] == labels[i] and j != i]
        negatives = [c for j, c in enumerate(cosines) if labels[j] != labels[i]]
        if not positives or not negatives:
            return NOTHING
        # The weights are constants.
        pull = (-gamma * max(0, 1 + margin - c.value) * (c - 1 + margin) for c in positives)
        push = (gamma * max(0, c.value + margin) * (c - margin) for c in negatives)
        return softplus(logsumexp(pull) + logsumexp(push))

    return list(map(value, range(len(labels))))


# --- ranking ----------------------------------------------------------------------------------------------------------


def ranking_softmax_loss(scores: Row, relevance: Row) -> Exact:
    return cross_entropy(scores, relevance)


# --- segmentation -----------------------------------------------------------------------------------------------------

SMOOTH = 1e-5


def _overlaps(probs: Matrix, labels: Sequence[int]) -> list[tuple[Exact, Exact, Number]]:
    """For each class what is in both, what is predicted, and what is true; a class that is nowhere costs nothing."""
    overlaps = []
    for k, column in enumerate(zip(*probs, strict=True)):
        inside = [p for p, label in zip(column, labels, strict=True) if label == k]
        overlaps.append((total(inside), total(column), len(inside)))
    return overlaps


def dice_loss(
    probs: Matrix, labels: Sequence[int], smooth_nr: Constant = SMOOTH, smooth_dr: Constant = SMOOTH
) -> Exact:
    def term(both: Exact, predicted: Exact, true: int) -> Exact:
        if predicted + true == 0:
            return kink(0, predicted)
        return 1 - (2 * both + smooth_nr) / (predicted + true + smooth_dr)

    overlaps = _overlaps(probs, labels)
    return total(term(*overlap) for overlap in overlaps) / len(overlaps)


def generalized_dice_loss(
    probs: Matrix, labels: Sequence[int], smooth_nr: Constant = SMOOTH, smooth_dr: Constant = SMOOTH
) -> Exact:
    overlaps = _overlaps(probs, labels)
    least = min(true for *_, true in overlaps if true)
    weights = [(least / real(true)) ** 2 if true else 1 for *_, true in overlaps]
    both = total(weight * both for weight, (both, *_) in zip(weights, overlaps, strict=True))
    sums = total(weight * (predicted + true) for weight, (_, predicted, true) in zip(weights, overlaps, strict=True))
    return 1 - (2 * both + smooth_nr) / (sums + smooth_dr)


def tversky_loss(
    probs: Matrix,
    labels: Sequence[int],
    alpha: Constant = 0.5,
    beta: Constant = 0.5,
    gamma: Constant = 1,
    smooth_nr: Constant = SMOOTH,
    smooth_dr: Constant = SMOOTH,
) -> Exact:
    def term(both: Exact, predicted: Exact, true: int) -> Exact:
        if predicted + true == 0:
            return kink(0, predicted)
        invented, missed = predicted - both, true - both
        return (1 - (both + smooth_nr) / (both + alpha * invented + beta * missed + smooth_dr)) ** gamma

    overlaps = _overlaps(probs, labels)
    return total(term(*overlap) for overlap in overlaps) / len(overlaps)


# --- sequence ---------------------------------------------------------------------------------------------------------


def ctc_loss(
    logits: Matrix,
    labels: Sequence[int],
    logit_length: int,
    label_length: int,
    blank: int = 0,
    zero_infinity: bool = False,
) -> Exact:
    """The forward variables of Graves et al., as probabilities."""
    symbols = [blank, *itertools.chain.from_iterable((label, blank) for label in labels[:label_length])]
    paths = [Exact(int(state == 0)) for state in range(len(symbols))]
    for row in logits[:logit_length]:
        log_z = logsumexp(row[k] for k in existing(row))
        before, paths = paths, []
        for state, symbol in enumerate(symbols):
            skips = state >= 2 and symbol not in (blank, symbols[state - 2])
            arriving = total(before[max(state - (2 if skips else 1), 0) : state + 1])
            paths.append(arriving * exp(row[symbol] - log_z) if row[symbol] > -INF else NOTHING)
    likelihood = total(paths[-2:])
    if likelihood == 0:
        return NOTHING if zero_infinity else IMPOSSIBLE
    return -log(likelihood)
