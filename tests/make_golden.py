"""Writes `tests/golden/*.jsonl`: what other libraries give, in float64, for every loss and option of jaxloss.

    python tests/make_golden.py            # writes the files
    python tests/make_golden.py --check    # exits with 1 if the committed files are not what these give now

A line of a file is a case: a loss, its inputs and options, the loss, and the gradients of Σ c·loss with respect to
every floating argument for which the oracle has one (c: `cotangent`). The oracles know nothing of jaxloss but names and
definitions: what no library has is composed in a few lines of torch.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from oracles import ANCHORS, Anchor
from oracles.anchor import DRAWN, Arguments, Draw
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"
TOLERANCE = 1e-12


# --- cases ------------------------------------------------------------------------------------------------------------


BASE = (2, 3)
BATCHES = ((), (4,), BASE, (1, 2, 2))
EMPTY = ((0,), (2, 0))
IN_BATCH = ((4,), (7,))
MASKS = (
    ("none", {"where": DRAWN, "weights": DRAWN}),
    ("sum", {"where": DRAWN, "weights": 1.7}),
    ("mean", {"where": DRAWN}),
    ("mean", {"where": DRAWN, "weights": DRAWN}),
)


def calls(anchor: Anchor) -> Iterator[tuple[tuple[int, ...], Arguments]]:
    """Shapes and options: each option once, shapes and reductions with the usual ones, masks with most there are."""
    usual, most = anchor.options[0], max(anchor.options, key=len)
    batches, base = (IN_BATCH, IN_BATCH[-1]) if anchor.in_batch else (BATCHES, BASE)
    for batch in batches:
        yield batch, {**usual, "reduction": "none"}
    for options in anchor.options[1:]:
        yield base, {**options, "reduction": "none"}
    for options in anchor.options:
        if options is usual or {"class_weights", "ignore_index"} & options.keys():
            yield base, {**options, "reduction": "mean"}
    yield base, {**usual, "reduction": "sum"}
    for batch in EMPTY if anchor.empty else ():
        yield batch, {**usual, "reduction": "sum"}
    for reduction, masks in MASKS:
        yield base, {**most, **masks, "reduction": reduction}


# --- the engine -------------------------------------------------------------------------------------------------------


def golden() -> dict[str, list[Arguments]]:
    """The cases of each family."""
    files: dict[str, list[Arguments]] = {}
    for family, anchor in [(family, anchor) for family, anchors in ANCHORS.items() for anchor in anchors]:
        for batch, options in calls(anchor):
            described = [f"{key}={value}" for key, value in options.items()]
            shape = "x".join(map(str, batch)) or "scalar"
            name = " ".join(filter(None, [anchor.loss, anchor.kind, shape, *described]))
            draw = Draw(name, batch, options)
            inputs = anchor.inputs(draw)
            options = {key: draw.option(key) if value is DRAWN else value for key, value in options.items()}
            case = {"name": name, "loss": anchor.loss, "inputs": inputs, "options": options}
            files.setdefault(family, []).append(case | evaluated(anchor, inputs, options))
    return files


def evaluated(anchor: Anchor, inputs: Arguments, options: Arguments) -> Arguments:
    """The loss of a case and its gradients."""
    tensors = {
        name: _tensor(value, differentiable=name not in anchor.constant)
        for name, value in {**inputs, **options}.items()
    }
    positional = {name: tensors.pop(name) for name in inputs}
    if not anchor.in_batch and {"where", "weights", *anchor.composed} & {*options, options["reduction"]}:
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
