"""Writes `tests/golden/*.jsonl`: what PyTorch gives, in float64, for every loss of jaxloss and every option of each.

    python tests/make_golden.py            # writes the files
    python tests/make_golden.py --check    # exits with 1 if the committed files are not what torch gives now

A line of a file is a case: a loss, its inputs and options, the loss, and the gradients of Σ c·loss with respect to
every floating argument for which torch has one (c: `cotangent`). This script knows nothing of jaxloss but names and
definitions: where torch has no such option, it is composed here in a few lines of torch.
"""

import argparse
import itertools
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"
TOLERANCE = 1e-12

Arguments = dict[str, Any]
CLASSES, FEATURES, LAST_TAIL = 4, 4, 3
FRAMES, SYMBOLS = 6, 3


# --- inputs -----------------------------------------------------------------------------------------------------------


class Draw:
    """Random inputs of a case, for a loss of a given shape; continuous, so that no kink is met."""

    def __init__(self, seed: str, batch: tuple[int, ...], options: Mapping[str, Any]) -> None:
        # The legacy generator: numpy promises never to change its numbers.
        self._random = np.random.RandomState(zlib.crc32(seed.encode()))
        self.batch, self.options = batch, options

    def uniform(self, low: float, high: float, shape: tuple[int, ...] | None = None) -> np.ndarray:
        drawn = self._random.uniform(low, high, self.batch if shape is None else shape)
        return np.asarray(np.round(drawn, 6))  # short in the file

    def normal(self, shape: tuple[int, ...] | None = None, scale: float = 1.0) -> np.ndarray:
        return np.asarray(np.round(self._random.normal(scale=scale, size=self.batch if shape is None else shape), 6))

    def integers(self, low: int, high: int, shape: tuple[int, ...] | None = None) -> np.ndarray:
        return np.asarray(self._random.randint(low, high + 1, self.batch if shape is None else shape))

    def signs(self) -> np.ndarray:
        return np.asarray(2.0 * self.integers(0, 1) - 1)

    def rows(self, size: int = CLASSES, scale: float = 2.0) -> np.ndarray:
        axis = self.options.get("axis", -1) % (len(self.batch) + 1)
        return self.normal((*self.batch[:axis], size, *self.batch[axis:]), scale)

    def log_probabilities(self) -> np.ndarray:
        rows, axis = self.rows(), self.options.get("axis", -1)
        return np.asarray(np.round(rows - np.log(np.exp(rows).sum(axis, keepdims=True)), 6))

    def probabilities(self) -> np.ndarray:
        return np.asarray(np.round(np.exp(self.log_probabilities()), 6))

    def labels(self, classes: int = CLASSES) -> np.ndarray:
        drawn = self.integers(0, classes - 1)
        if self.options.get("ignore_index") is not None:
            drawn.reshape(-1)[::3] = self.options["ignore_index"]
        return drawn

    def label_lists(self) -> np.ndarray:
        """Rows of different labels, ended by a -1 that may be anywhere, also first."""
        ends = self.integers(0, CLASSES)[..., None]
        lists = np.argsort(self.uniform(0, 1, (*self.batch, CLASSES)), axis=-1)
        lists = np.where(np.arange(CLASSES) == ends, -1, lists)
        return np.moveaxis(lists, -1, self.options.get("axis", -1))

    def adaptive(self) -> Arguments:
        cutoffs = self.options["cutoffs"]
        bounds = (*cutoffs, cutoffs[-1] + LAST_TAIL)
        sizes = [end - start for start, end in itertools.pairwise(bounds)]
        return {
            "hidden": self.normal((*self.batch, FEATURES)),
            "labels": self.labels(bounds[-1]),
            "head": self.normal((FEATURES, cutoffs[0] + len(cutoffs))),
            "tails": tuple((self.normal((FEATURES, 2)), self.normal((2, size))) for size in sizes),
        }

    def ctc(self) -> Arguments:
        symbols = self.integers(0, CLASSES - 2, (*self.batch, SYMBOLS))
        # Without zero_infinity only alignments that are possible whatever repeats: torch's gradient is NaN elsewhere.
        fewest_frames = 1 if "zero_infinity" in self.options else 2 * SYMBOLS - 1
        return {
            "logits": self.normal((*self.batch, FRAMES, CLASSES)),
            "labels": symbols + (symbols >= self.options.get("blank", 0)),
            "logit_lengths": self.integers(fewest_frames, FRAMES),
            "label_lengths": self.integers(0, SYMBOLS),
        }

    def option(self, name: str) -> np.ndarray:
        """What stands in the table as DRAWN."""
        match name:
            case "where":
                drawn = self.integers(0, 2) > 0
                drawn.reshape(-1)[:1] = True  # torch's mean of nothing is NaN
                return drawn
            case "weights":
                return self.uniform(0, 2)
            case "head_bias":
                return self.normal((self.options["cutoffs"][0] + len(self.options["cutoffs"]),))
            case "pos_weight":
                return self.uniform(0.5, 2, self.batch[-1:])
            case _:
                return self.uniform(0.5, 2, (CLASSES,))


# --- how torch calls it: in the order of jaxloss's inputs, and with its names for options ---------------------------


def binary_cross_entropy_with_logits(
    logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, pos_weight: Any = None, reduction: str
) -> Tensor:
    targets = (1 - label_smoothing) * targets + label_smoothing / 2
    pos_weight = None if pos_weight is None else torch.as_tensor(pos_weight, dtype=torch.float64)
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=pos_weight, reduction=reduction
    )


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    z_loss_weight: float = 0.0,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    values = torch.nn.functional.cross_entropy(
        _classes_second(logits, axis),
        _classes_second(labels, axis) if labels.is_floating_point() else labels,
        weight=class_weights,
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )
    return values + z_loss_weight * logits.logsumexp(axis) ** 2 if z_loss_weight else values


def nll_loss(
    log_probs: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    ignore_index: int | None = None,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    ignore_index = -100 if ignore_index is None else ignore_index
    rows = _classes_second(log_probs, axis)
    return torch.nn.functional.nll_loss(
        rows, labels, weight=class_weights, ignore_index=ignore_index, reduction=reduction
    )


def multilabel_soft_margin_loss(
    logits: Tensor, targets: Tensor, *, class_weights: Tensor | None = None, axis: int = -1, reduction: str
) -> Tensor:
    rows, targets = logits.movedim(axis, -1), targets.movedim(axis, -1)
    return torch.nn.functional.multilabel_soft_margin_loss(rows, targets, weight=class_weights, reduction=reduction)


def adaptive_log_softmax_with_loss(
    hidden: Tensor,
    labels: Tensor,
    head: Tensor,
    tails: tuple[tuple[Tensor, Tensor], ...],
    *,
    cutoffs: tuple[int, ...],
    head_bias: Tensor | None = None,
    reduction: str,
) -> Tensor:
    module = torch.nn.AdaptiveLogSoftmaxWithLoss(
        FEATURES, cutoffs[-1] + LAST_TAIL, cutoffs, div_value=1, head_bias=head_bias is not None
    )
    parameters = {"head.weight": head.T} | ({} if head_bias is None else {"head.bias": head_bias})
    for index, kernels in enumerate(tails):
        parameters |= {f"tail.{index}.{layer}.weight": kernel.T for layer, kernel in enumerate(kernels)}
    inputs = (hidden.reshape(-1, FEATURES), labels.reshape(-1))
    output: Tensor
    mean: Tensor
    output, mean = torch.func.functional_call(module, parameters, inputs)
    if reduction == "mean":
        return mean
    return -output.reshape(labels.shape) if reduction == "none" else -output.sum()


def linear_cross_entropy(
    hidden: Tensor,
    kernel: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    softcap: float | None = None,
    precision: str | None = None,
    chunk_size: int | None = None,
    **options: Any,
) -> Tensor:
    logits = hidden @ kernel if bias is None else hidden @ kernel + bias
    return cross_entropy(logits if softcap is None else softcap * torch.tanh(logits / softcap), labels, **options)


def cosine_embedding_loss(
    x1: Tensor, x2: Tensor, targets: Tensor, *, margin: float = 0.0, axis: int = -1, reduction: str
) -> Tensor:
    x1, x2 = _matrix(x1, axis), _matrix(x2, axis)
    values = torch.nn.functional.cosine_embedding_loss(x1, x2, targets.reshape(-1), margin=margin, reduction=reduction)
    return _unflattened(values, targets, reduction)


def triplet_margin_loss(
    anchors: Tensor, positives: Tensor, negatives: Tensor, *, axis: int = -1, **options: Any
) -> Tensor:
    anchors, positives, negatives = (x.movedim(axis, -1) for x in (anchors, positives, negatives))
    return torch.nn.functional.triplet_margin_loss(anchors, positives, negatives, **options)


def triplet_margin_with_distance_loss(
    anchors: Tensor, positives: Tensor, negatives: Tensor, *, distance_function: str, axis: int = -1, **options: Any
) -> Tensor:
    anchors, positives, negatives = (x.movedim(axis, -1) for x in (anchors, positives, negatives))
    distance = {
        "manhattan": lambda x, y: (x - y).abs().sum(-1),
        "squared": lambda x, y: (x - y).square().sum(-1),
    }[distance_function]
    return torch.nn.functional.triplet_margin_with_distance_loss(
        anchors, positives, negatives, distance_function=distance, **options
    )


def multi_margin_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    p: float = 1,
    margin: float = 1.0,
    class_weights: Tensor | None = None,
    axis: int = -1,
    reduction: str,
) -> Tensor:
    rows, column = _matrix(logits, axis), labels.reshape(-1, 1)
    if p in (1, 2):
        values = torch.nn.functional.multi_margin_loss(
            rows, column[:, 0], p=int(p), margin=margin, weight=class_weights, reduction=reduction
        )
        return _unflattened(values, labels, reduction)
    violations = (margin - rows.gather(1, column) + rows).clamp(min=0) ** p
    return violations.scatter(1, column, 0).mean(1).reshape(labels.shape)


def multilabel_margin_loss(logits: Tensor, labels: Tensor, *, axis: int = -1, reduction: str) -> Tensor:
    values = torch.nn.functional.multilabel_margin_loss(
        _matrix(logits, axis), _matrix(labels, axis), reduction=reduction
    )
    return _unflattened(values, logits.select(axis, 0), reduction)


def gaussian_nll_loss(
    means: Tensor,
    targets: Tensor,
    variances: Tensor,
    *,
    full: bool = False,
    eps: float = 1e-6,
    beta: float = 0.0,
    reduction: str,
) -> Tensor:
    # Torch clamps too, but hides that from autograd: the gradient of the definition is 0 below eps.
    variances = variances.clamp(min=eps)
    values = torch.nn.functional.gaussian_nll_loss(means, targets, variances, full=full, eps=eps, reduction=reduction)
    return variances.detach() ** beta * values if beta else values


def kl_div(
    log_predictions: Tensor, targets: Tensor, *, log_target: bool = False, axis: int = -1, reduction: str
) -> Tensor:
    rows, targets = log_predictions.movedim(axis, -1), targets.movedim(axis, -1)
    if reduction == "mean":
        rows, targets = rows.reshape(-1, CLASSES), targets.reshape(-1, CLASSES)
        return torch.nn.functional.kl_div(rows, targets, log_target=log_target, reduction="batchmean")
    values = torch.nn.functional.kl_div(rows, targets, log_target=log_target, reduction=reduction)
    return values.sum(-1) if reduction == "none" else values


def ctc_loss(
    logits: Tensor, labels: Tensor, logit_lengths: Tensor, label_lengths: Tensor, *, reduction: str, **options: Any
) -> Tensor:
    log_probs = logits.log_softmax(-1).reshape(-1, FRAMES, CLASSES).movedim(0, 1)
    lengths = (logit_lengths.reshape(-1), label_lengths.reshape(-1))
    values = torch.nn.functional.ctc_loss(
        log_probs, labels.reshape(-1, SYMBOLS), *lengths, reduction=reduction, **options
    )
    return _unflattened(values, logit_lengths, reduction)


def _classes_second(x: Tensor, axis: int) -> Tensor:
    return x if x.ndim == 1 else x.movedim(axis, 1).contiguous()


def _matrix(x: Tensor, axis: int) -> Tensor:
    return x.movedim(axis, -1).reshape(-1, x.shape[axis]).contiguous()


def _unflattened(values: Tensor, like: Tensor, reduction: str) -> Tensor:
    return values.reshape(like.shape) if reduction == "none" else values


# --- the table --------------------------------------------------------------------------------------------------------


DRAWN = "drawn"


@dataclass(frozen=True)
class Anchor:
    """A loss: how torch calls it, its inputs, and its options, of which the first stand for the usual ones."""

    family: str
    loss: str
    call: Callable[..., Tensor]
    inputs: Callable[[Draw], Arguments]
    options: list[Arguments] = field(default_factory=lambda: [{}])
    composed: frozenset[str] = frozenset()
    """The options, and reductions, for which torch's sum and mean are not ours: these are taken of its values."""
    empty: bool = True
    """Whether torch takes empty batches."""
    constant: frozenset[str] = frozenset({"class_weights", "pos_weight"})
    """The arguments of which torch takes no gradient."""
    kind: str = ""


def anchors() -> Iterator[Anchor]:
    def regression(d: Draw) -> Arguments:
        return {"predictions": d.normal(), "targets": d.normal()}

    yield Anchor("regression", "l1_loss", torch.nn.functional.l1_loss, regression)
    yield Anchor("regression", "mse_loss", torch.nn.functional.mse_loss, regression)
    yield Anchor(
        "regression", "huber_loss", torch.nn.functional.huber_loss, regression, [{}, {"delta": 0.3}, {"delta": 2.5}]
    )
    yield Anchor(
        "regression",
        "smooth_l1_loss",
        torch.nn.functional.smooth_l1_loss,
        regression,
        [{}, {"beta": 0.3}, {"beta": 0.0}],
    )

    yield Anchor(
        "likelihood",
        "gaussian_nll_loss",
        gaussian_nll_loss,
        lambda d: {"means": d.normal(), "targets": d.normal(), "variances": d.uniform(0.1, 3)},
        [{}, {"full": True}, {"eps": 0.7}, {"beta": 0.5}, {"beta": 1.0, "full": True}],
        frozenset({"beta"}),
    )
    yield Anchor(
        "likelihood",
        "poisson_nll_loss",
        torch.nn.functional.poisson_nll_loss,
        lambda d: {
            "predictions": d.normal() if d.options.get("log_input", True) else d.uniform(0.1, 5),
            "targets": d.uniform(0.1, 6),
        },
        [{}, {"full": True}, {"log_input": False}, {"log_input": False, "eps": 0.3, "full": True}],
    )

    def labelled(d: Draw) -> Arguments:
        return {"logits": d.rows(), "labels": d.labels()}

    yield Anchor(
        "classification",
        "cross_entropy",
        cross_entropy,
        labelled,
        [
            {},
            {"class_weights": DRAWN},
            {"ignore_index": -100},
            {"ignore_index": 1},
            {"ignore_index": None},
            {"label_smoothing": 0.1},
            {"label_smoothing": 1.0},
            {"z_loss_weight": 0.01},
            {"axis": 0},
            {"axis": 1, "class_weights": DRAWN, "ignore_index": 255, "label_smoothing": 0.2, "z_loss_weight": 0.1},
        ],
        frozenset({"z_loss_weight"}),
    )
    yield Anchor(
        "classification",
        "cross_entropy",
        cross_entropy,
        lambda d: {"logits": d.rows(), "labels": d.probabilities()},
        [
            {},
            {"class_weights": DRAWN},
            {"label_smoothing": 0.1},
            {"axis": -2},
            {"axis": 0, "class_weights": DRAWN, "label_smoothing": 0.2, "z_loss_weight": 0.1},
        ],
        frozenset({"class_weights", "z_loss_weight"}),
        kind="soft",
    )
    yield Anchor(
        "classification",
        "nll_loss",
        nll_loss,
        lambda d: {"log_probs": d.log_probabilities(), "labels": d.labels()},
        [
            {},
            {"class_weights": DRAWN},
            {"ignore_index": -100},
            {"ignore_index": 0},
            {"ignore_index": None},
            {"axis": 0, "class_weights": DRAWN, "ignore_index": 2},
            {"axis": -2},
        ],
    )
    yield Anchor(
        "classification",
        "binary_cross_entropy",
        torch.nn.functional.binary_cross_entropy,
        lambda d: {"probs": d.uniform(0.01, 0.99), "targets": d.uniform(0, 1)},
    )
    yield Anchor(
        "classification",
        "binary_cross_entropy_with_logits",
        binary_cross_entropy_with_logits,
        lambda d: {"logits": d.normal(scale=3), "targets": d.uniform(0, 1)},
        [
            {},
            {"pos_weight": 2.5},
            {"pos_weight": DRAWN},
            {"label_smoothing": 0.1},
            {"label_smoothing": 0.3, "pos_weight": DRAWN},
        ],
    )
    yield Anchor(
        "classification",
        "multilabel_soft_margin_loss",
        multilabel_soft_margin_loss,
        lambda d: {"logits": d.rows(), "targets": d.probabilities()},
        [{}, {"class_weights": DRAWN}, {"axis": 0}, {"axis": 1, "class_weights": DRAWN}],
    )
    yield Anchor(
        "classification",
        "adaptive_log_softmax_with_loss",
        adaptive_log_softmax_with_loss,
        Draw.adaptive,
        [
            {"cutoffs": (3, 5)},
            {"cutoffs": (2,)},
            {"cutoffs": (2, 3, 5), "head_bias": DRAWN},
            {"cutoffs": (3,), "ignore_index": -100},
            {"cutoffs": (3,), "ignore_index": 4},
            {"cutoffs": (3,), "ignore_index": None},
        ],
        frozenset({"ignore_index"}),
        empty=False,
    )

    def linear(d: Draw, *, soft: bool) -> Arguments:
        inputs = {"hidden": d.normal((*d.batch, FEATURES)), "kernel": d.normal((FEATURES, CLASSES))}
        return inputs | {"labels": d.probabilities() if soft else d.labels()}

    every_option = {"bias": DRAWN, "class_weights": DRAWN, "label_smoothing": 0.2, "z_loss_weight": 0.1, "softcap": 2.5}
    yield Anchor(
        "linear",
        "linear_cross_entropy",
        linear_cross_entropy,
        lambda d: linear(d, soft=False),
        [
            {},
            {"bias": DRAWN},
            {"softcap": 1.5},
            {"ignore_index": 1, "chunk_size": 2},
            {"ignore_index": None, "chunk_size": 1, "precision": "highest"},
            every_option | {"chunk_size": 4, "ignore_index": 255},
        ],
        frozenset({"z_loss_weight"}),
    )
    yield Anchor(
        "linear",
        "linear_cross_entropy",
        linear_cross_entropy,
        lambda d: linear(d, soft=True),
        [{}, {"class_weights": DRAWN, "chunk_size": 3}, every_option],
        frozenset({"class_weights", "z_loss_weight"}),
        kind="soft",
    )

    def pairs(d: Draw) -> Arguments:
        return {"x1": d.normal(), "x2": d.normal(), "targets": d.signs()}

    def triplets(d: Draw) -> Arguments:
        return {"anchors": d.rows(FEATURES), "positives": d.rows(FEATURES), "negatives": d.rows(FEATURES)}

    yield Anchor(
        "margin",
        "margin_ranking_loss",
        torch.nn.functional.margin_ranking_loss,
        pairs,
        [{}, {"margin": 0.7}, {"margin": -0.2}],
    )
    yield Anchor(
        "margin",
        "hinge_embedding_loss",
        torch.nn.functional.hinge_embedding_loss,
        lambda d: {"predictions": d.normal(), "targets": d.signs()},
        [{}, {"margin": 0.4}, {"margin": 2.0}],
    )
    yield Anchor(
        "margin",
        "soft_margin_loss",
        torch.nn.functional.soft_margin_loss,
        lambda d: {"logits": d.normal(scale=3), "targets": d.signs()},
        constant=frozenset({"targets"}),
    )
    yield Anchor(
        "margin",
        "cosine_embedding_loss",
        cosine_embedding_loss,
        # Long vectors, beside which the 1e-12 that torch adds to squared lengths vanishes.
        lambda d: {"x1": d.rows(FEATURES, scale=20), "x2": d.rows(FEATURES, scale=20), "targets": d.signs()},
        [{}, {"margin": 0.3}, {"margin": -0.5}, {"axis": 0}, {"axis": 1, "margin": 0.1}],
        empty=False,
    )
    yield Anchor(
        "margin",
        "triplet_margin_loss",
        triplet_margin_loss,
        triplets,
        [
            {},
            {"margin": 3.0},
            {"p": 1.0},
            {"p": 1.5, "margin": 2.0},
            {"p": 3.0},
            {"p": math.inf, "margin": 0.5},
            {"eps": 0.1},
            {"eps": 0.0, "margin": 2.0},
            {"swap": True, "margin": 4.0},
            {"axis": 0, "p": 4.0, "swap": True, "margin": 2.0},
        ],
    )
    yield Anchor(
        "margin",
        "triplet_margin_with_distance_loss",
        triplet_margin_with_distance_loss,
        triplets,
        [
            {"distance_function": "manhattan"},
            {"distance_function": "squared", "margin": 3.0},
            {"distance_function": "manhattan", "swap": True, "margin": 5.0},
            {"distance_function": "squared", "axis": 1},
        ],
    )
    yield Anchor(
        "margin",
        "multi_margin_loss",
        multi_margin_loss,
        labelled,
        [
            {},
            {"p": 2},
            {"p": 1.5},
            {"p": 3.0, "margin": 0.5},
            {"margin": 2.0},
            {"class_weights": DRAWN},
            {"class_weights": DRAWN, "p": 2, "margin": 0.3, "axis": 0},
            {"ignore_index": -100, "axis": 1},
            {"ignore_index": 3, "class_weights": DRAWN},
            {"ignore_index": None},
        ],
        frozenset({"p", "class_weights", "ignore_index"}),
        empty=False,
    )
    yield Anchor(
        "margin",
        "multilabel_margin_loss",
        multilabel_margin_loss,
        lambda d: {"logits": d.rows(), "labels": d.label_lists()},
        [{}, {"axis": 0}, {"axis": -2}],
        empty=False,
    )

    yield Anchor(
        "divergence",
        "kl_div",
        kl_div,
        lambda d: {
            "log_predictions": d.log_probabilities(),
            "targets": d.log_probabilities() if "log_target" in d.options else d.probabilities(),
        },
        [{}, {"log_target": True}, {"axis": 0}, {"axis": 1, "log_target": True}],
    )

    yield Anchor(
        "sequence",
        "ctc_loss",
        ctc_loss,
        Draw.ctc,
        [{}, {"blank": 3}, {"blank": 1}, {"zero_infinity": True}, {"zero_infinity": True, "blank": 2}],
        frozenset({"mean"}),
        empty=False,
    )


BASE = (2, 3)
BATCHES = ((), (4,), BASE, (1, 2, 2))
EMPTY = ((0,), (2, 0))
MASKS = (
    ("none", {"where": DRAWN, "weights": DRAWN}),
    ("sum", {"where": DRAWN, "weights": 1.7}),
    ("mean", {"where": DRAWN}),
    ("mean", {"where": DRAWN, "weights": DRAWN}),
)


def calls(anchor: Anchor) -> Iterator[tuple[tuple[int, ...], Arguments]]:
    """Shapes and options: each option once, shapes and reductions with the usual ones, masks with most there are."""
    usual, most = anchor.options[0], max(anchor.options, key=len)
    for batch in BATCHES:
        yield batch, {**usual, "reduction": "none"}
    for options in anchor.options[1:]:
        yield BASE, {**options, "reduction": "none"}
    for options in anchor.options:
        if options is usual or {"class_weights", "ignore_index"} & options.keys():
            yield BASE, {**options, "reduction": "mean"}
    yield BASE, {**usual, "reduction": "sum"}
    for batch in EMPTY if anchor.empty else ():
        yield batch, {**usual, "reduction": "sum"}
    for reduction, masks in MASKS:
        yield BASE, {**most, **masks, "reduction": reduction}


# --- the engine -------------------------------------------------------------------------------------------------------


def golden() -> dict[str, list[Arguments]]:
    """The cases of each family."""
    files: dict[str, list[Arguments]] = {}
    for anchor in anchors():
        for batch, options in calls(anchor):
            described = [f"{key}={value}" for key, value in options.items()]
            shape = "x".join(map(str, batch)) or "scalar"
            name = " ".join(filter(None, [anchor.loss, anchor.kind, shape, *described]))
            draw = Draw(name, batch, options)
            inputs = anchor.inputs(draw)
            options = {key: draw.option(key) if value is DRAWN else value for key, value in options.items()}
            case = {"name": name, "loss": anchor.loss, "inputs": inputs, "options": options}
            files.setdefault(anchor.family, []).append(case | evaluated(anchor, inputs, options))
    return files


def evaluated(anchor: Anchor, inputs: Arguments, options: Arguments) -> Arguments:
    """The loss of a case and its gradients."""
    tensors = {
        name: _tensor(value, differentiable=name not in anchor.constant)
        for name, value in {**inputs, **options}.items()
    }
    positional = {name: tensors.pop(name) for name in inputs}
    if {"where", "weights", *anchor.composed} & {*options, options["reduction"]}:
        value = composed(anchor, positional, tensors)
    else:
        value = anchor.call(*positional.values(), **tensors)
    torch.autograd.backward(value, torch.as_tensor(cotangent(tuple(value.shape))))
    gradients = {name: _gradient(tensor) for name, tensor in {**positional, **tensors}.items()}
    return {
        "value": value.detach().numpy(),
        "gradients": {name: gradient for name, gradient in gradients.items() if gradient is not None},
    }


def composed(anchor: Anchor, inputs: Arguments, options: Arguments) -> Tensor:
    """Weighted and masked sums of torch's unreduced losses, where its own reductions are others or missing."""
    ours = ("where", "weights", "ignore_index", "reduction")
    theirs = {key: value for key, value in options.items() if key not in ours}
    where, weights, ignored, reduction = (options.get(key) for key in ours)

    counts = torch.tensor(True) if where is None else where
    if ignored is not None:
        counts = counts & (inputs["labels"] != ignored)
        inputs = inputs | {"labels": inputs["labels"].where(inputs["labels"] != ignored, 0)}
    values = anchor.call(*inputs.values(), **theirs, reduction="none")
    counts = counts.broadcast_to(values.shape)
    weights = torch.as_tensor(1.0 if weights is None else weights, dtype=torch.float64).broadcast_to(values.shape)
    values = weights * values
    if reduction == "none":
        return values.where(counts, 0)
    if reduction == "sum":
        return values[counts].sum()
    return values[counts].sum() / (weights * normalizer(anchor, inputs, options))[counts].sum()


def normalizer(anchor: Anchor, inputs: Arguments, options: Arguments) -> Tensor:
    """The share of a row in the divisor of the mean: the class weight of its label."""
    class_weights: Tensor | None = options.get("class_weights")
    if class_weights is None or anchor.loss == "multilabel_soft_margin_loss":
        return torch.ones(())
    labels: Tensor = inputs["labels"]
    if labels.is_floating_point():
        return labels.movedim(options.get("axis", -1), -1) @ class_weights
    return class_weights[labels]


def cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """The factors of the losses in the sum that gradients are of."""
    return np.linspace(1, 2, math.prod(shape)).reshape(shape)


def _tensor(value: Any, *, differentiable: bool) -> Any:
    if isinstance(value, tuple):
        return tuple(_tensor(part, differentiable=differentiable) for part in value)
    if not isinstance(value, np.ndarray):
        return value
    return torch.tensor(value, requires_grad=differentiable and value.dtype == np.float64)


def _gradient(value: Any) -> Any:
    if isinstance(value, tuple):
        parts = tuple(_gradient(part) for part in value)
        return None if any(part is None for part in parts) else parts
    if not isinstance(value, Tensor) or not value.requires_grad:
        return None
    return (torch.zeros_like(value) if value.grad is None else value.grad).numpy()


# --- files ------------------------------------------------------------------------------------------------------------


def encoded(value: Any) -> Any:
    """JSON keeps floats, None and booleans exactly; tuples become lists, of which there are no others."""
    match value:
        case np.ndarray():
            return {"dtype": value.dtype.name, "shape": value.shape, "data": value.ravel().tolist()}
        case dict():
            return {key: encoded(part) for key, part in value.items()}
        case tuple():
            return [encoded(part) for part in value]
        case _:
            return value


def differences(committed: Any, now: Any) -> Iterator[str]:
    """Where two encoded values differ by more than the tolerance, relative to max(1, |x|)."""
    if isinstance(committed, dict) and isinstance(now, dict):
        for key in committed.keys() | now.keys():
            if key not in now or key not in committed:
                yield f"{key} is {'superfluous' if key in committed else 'missing'}"
            else:
                yield from (f"{key}: {found}" for found in differences(committed[key], now[key]))
    elif isinstance(committed, list) and isinstance(now, list) and len(committed) == len(now):
        for pair in zip(committed, now, strict=True):
            yield from differences(*pair)
    elif isinstance(committed, float) and isinstance(now, float) and math.isfinite(committed - now):
        if abs(committed - now) > TOLERANCE * max(1, abs(now)):
            yield f"{committed!r} is now {now!r}"
    elif type(committed) is not type(now) or committed != now:
        yield f"{committed!r} is now {now!r}"


def main() -> int:
    """Writes or checks the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files instead of writing them")
    check = parser.parse_args().check

    # Through the text and back, so that what is compared and written is what a reader will find.
    files = {
        family: {case["name"]: json.loads(json.dumps(encoded(case))) for case in cases}
        for family, cases in golden().items()
    }
    if not check:
        FOLDER.mkdir(exist_ok=True)
        for family, cases in files.items():
            text = "".join(json.dumps(case, separators=(",", ":")) + "\n" for case in cases.values())
            (FOLDER / f"{family}.jsonl").write_text(text)
        print(f"{sum(map(len, files.values()))} cases in {len(files)} files written to {FOLDER}")
        return 0

    committed = {path.stem: path.read_text().splitlines() for path in FOLDER.glob("*.jsonl")}
    parsed = {family: {case["name"]: case for case in map(json.loads, lines)} for family, lines in committed.items()}
    found = list(differences(parsed, files))
    print(*found, f"{sum(map(len, files.values()))} cases, {len(found)} differences", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
