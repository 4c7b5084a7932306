"""Every loss as its definition has it, on exact numbers: plain, and never in the order in which floats would need it.

A reference has the name of its loss and takes one entry, or one row: a number is an `Exact`, a row a list of them, a
label an integer, an option an exact constant. What the docstrings say of kinks, edges and ruled-out classes is law here.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .exact import INF, MP, Exact, Number, absolute, constant, exp, largest, log, logsumexp, softplus, sqrt, tanh, total

Row = Sequence[Exact]
Matrix = Sequence[Row]

NOTHING = Exact(0)
IMPOSSIBLE = Exact(INF)


def hinge(x: Exact) -> Exact:
    """max(0, x), with the slope of the costly side at 0."""
    return x if x >= 0 else NOTHING


def logistic(logit: Number, sign: Number = 1) -> Exact:
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


def huber_loss(prediction: Exact, target: Exact, delta: Any = 1) -> Exact:
    error = prediction - target
    return error**2 / 2 if absolute(error) <= delta else delta * (absolute(error) - delta / MP.mpf(2))


def smooth_l1_loss(prediction: Exact, target: Exact, beta: Any = 1) -> Exact:
    return huber_loss(prediction, target, beta) / beta if beta else l1_loss(prediction, target)


# --- likelihood -------------------------------------------------------------------------------------------------------


def gaussian_nll_loss(
    mean: Exact, target: Exact, variance: Exact, full: bool = False, eps: Any = 1e-6, beta: Any = 0
) -> Exact:
    variance = largest([variance, Exact(eps)])
    value = (log(variance) + (target - mean) ** 2 / variance) / 2
    if full:
        value = value + MP.ln(2 * MP.pi) / 2
    return constant(variance) ** beta * value


def poisson_nll_loss(
    prediction: Exact, target: Exact, log_input: bool = True, full: bool = False, eps: Any = 1e-8
) -> Exact:
    if log_input:
        value = exp(prediction) - target * prediction
    else:
        value = prediction - target * log(prediction + eps)
    if full and target > 1:
        value = value + target * log(target) - target + log(2 * MP.pi * target) / 2
    return value


# --- classification ---------------------------------------------------------------------------------------------------


def existing(logits: Row) -> list[int]:
    """The classes that no logit of -inf rules out."""
    return [k for k, logit in enumerate(logits) if logit > -INF]


def cross_entropy(
    logits: Row,
    labels: int | Row,
    class_weights: Sequence[Any] | None = None,
    label_smoothing: Any = 0,
    z_loss_weight: Any = 0,
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


def nll_loss(log_probs: Row, label: int, class_weights: Sequence[Any] | None = None) -> Exact:
    weight = class_weights[label] if class_weights else 1
    if log_probs[label] == -INF:
        return IMPOSSIBLE if weight else NOTHING
    return -weight * log_probs[label]


def binary_cross_entropy(prob: Exact, target: Exact) -> Exact:
    def bounded_log(x: Exact) -> Exact:
        return log(x) if x > MP.exp(-100) else Exact(-100)

    return -target * bounded_log(prob) - (1 - target) * bounded_log(1 - prob)


def binary_cross_entropy_with_logits(
    logit: Exact, target: Number, pos_weight: Any = 1, label_smoothing: Any = 0
) -> Exact:
    if absolute(logit) == INF:
        return NOTHING if target == (1 if logit > 0 else 0) else IMPOSSIBLE
    target = (1 - label_smoothing) * target + label_smoothing / MP.mpf(2)
    return pos_weight * target * logistic(logit) + (1 - target) * logistic(logit, -1)


def multilabel_soft_margin_loss(logits: Row, targets: Row, class_weights: Sequence[Any] | None = None) -> Exact:
    weights = class_weights or [1] * len(logits)
    terms = [binary_cross_entropy_with_logits(s, y) for s, y in zip(logits, targets, strict=True)]
    if any(weight and term == INF for weight, term in zip(weights, terms, strict=True)):
        return IMPOSSIBLE
    finite = (weight * term for weight, term in zip(weights, terms, strict=True) if term < INF)
    return total(finite) / max(len(existing(logits)), 1)


def adaptive_log_softmax_with_loss(
    hidden: Matrix,
    labels: Sequence[int],
    head: Matrix,
    tails: Sequence[tuple[Matrix, Matrix]],
    cutoffs: Sequence[int] = (),
    head_bias: Sequence[Any] | None = None,
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
    bias: Sequence[Any] | None = None,
    softcap: Any = None,
    **options: Any,
) -> list[Exact]:
    def logits(row: Row) -> Row:
        logits = apply(row, kernel)
        if bias is not None:
            logits = [logit + shift for logit, shift in zip(logits, bias, strict=True)]
        return logits if softcap is None else [softcap * tanh(logit / softcap) for logit in logits]

    return [cross_entropy(logits(row), label, **options) for row, label in zip(hidden, labels, strict=True)]


# --- margin -----------------------------------------------------------------------------------------------------------


def margin_ranking_loss(x1: Exact, x2: Exact, target: int, margin: Any = 0) -> Exact:
    return hinge(margin - target * (x1 - x2))


def hinge_embedding_loss(prediction: Exact, target: int, margin: Any = 1) -> Exact:
    return prediction if target == 1 else hinge(margin - prediction)


def soft_margin_loss(logit: Exact, target: int) -> Exact:
    return logistic(logit, target)


def cosine(x1: Row, x2: Row) -> Exact:
    """0 where a vector is zero."""
    squares = dot(x1, x1) * dot(x2, x2)
    return dot(x1, x2) / sqrt(squares) if squares > 0 else NOTHING


def cosine_embedding_loss(x1: Row, x2: Row, target: int, margin: Any = 0) -> Exact:
    return 1 - cosine(x1, x2) if target == 1 else hinge(cosine(x1, x2) - margin)


def norm(x: Row, p: Any) -> Exact:
    """The p-norm; its gradient is 0 at 0."""
    distances = list(map(absolute, x))
    if p == INF:
        return largest(distances)
    present = [distance**p for distance in distances if distance > 0]
    return total(present) ** (1 / MP.mpf(p)) if present else NOTHING


def triplet_margin_loss(
    anchor: Row, positive: Row, negative: Row, margin: Any = 1, p: Any = 2, eps: Any = 1e-6, swap: bool = False
) -> Exact:
    def distance(x: Row, y: Row) -> Exact:
        return norm([a - b + eps for a, b in zip(x, y, strict=True)], p)

    return triplet(anchor, positive, negative, distance, margin, swap)


def triplet(
    anchor: Row, positive: Row, negative: Row, distance: Callable[[Row, Row], Exact], margin: Any, swap: bool
) -> Exact:
    """With half of each distance's gradient where a swap is a tie."""
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = -largest([-far, -distance(positive, negative)])
    return hinge(near - far + margin)


def triplet_margin_with_distance_loss(
    anchor: Row, positive: Row, negative: Row, margin: Any = 1, swap: bool = False
) -> Exact:
    def manhattan(x: Row, y: Row) -> Exact:
        return total(absolute(a - b) for a, b in zip(x, y, strict=True))

    return triplet(anchor, positive, negative, manhattan, margin, swap)


def multi_margin_loss(
    logits: Row, label: int, p: int = 1, margin: Any = 1, class_weights: Sequence[Any] | None = None
) -> Exact:
    classes = existing(logits)
    if label not in classes:
        return IMPOSSIBLE
    violations = (margin - logits[label] + logits[k] for k in classes if k != label)
    weight = class_weights[label] if class_weights else 1
    return weight * total(violation**p for violation in violations if violation > 0) / len(classes)


def multilabel_margin_loss(logits: Row, labels: Sequence[int]) -> Exact:
    listed = list(itertools.takewhile(lambda label: label != -1, labels))
    classes = existing(logits)
    if not set(listed) <= set(classes):
        return IMPOSSIBLE
    others = [k for k in classes if k not in listed]
    return total(hinge(1 - logits[y] + logits[k]) for y in listed for k in others) / max(len(classes), 1)


# --- divergence -------------------------------------------------------------------------------------------------------


def kl_div(log_predictions: Row, targets: Row, log_target: bool = False) -> Exact:
    terms = []
    for log_prediction, target in zip(log_predictions, targets, strict=True):
        if target == (-INF if log_target else 0):
            continue
        if log_prediction == -INF:
            return IMPOSSIBLE
        prob, log_prob = (exp(target), target) if log_target else (target, log(target))
        terms.append(prob * (log_prob - log_prediction))
    return total(terms)


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
