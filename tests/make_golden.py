"""Writes `tests/golden/*.jsonl`: what other libraries give, in float64, for the losses and options that they have too.

    python tests/make_golden.py            # writes the files
    python tests/make_golden.py --check    # exits with 1 if the committed files are not what these give now

A line of a file is a case: a loss, its inputs and options, the loss, and the gradients of Σ c·loss with respect to
every floating argument for which the oracle has one (c: `cotangent`). The oracles know nothing of jaxloss but names and
options: a formula that is written anew here would be ours, not theirs.
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


def golden() -> dict[str, list[Arguments]]:
    """The cases of each family."""
    files: dict[str, list[Arguments]] = {}
    for family, anchor in [(family, anchor) for family, anchors in ANCHORS.items() for anchor in anchors]:
        for options in ({**options, "reduction": options.get("reduction", "none")} for options in anchor.options):
            described = [f"{key}={value}" for key, value in options.items()]
            name = " ".join(filter(None, [anchor.loss, anchor.kind, "x".join(map(str, anchor.batch)), *described]))
            draw = Draw(name, anchor.batch, options)
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
    if options["reduction"] == "mean" and not anchor.own_mean:
        values = anchor.call(*positional.values(), **tensors | {"reduction": "none"})
        value = values.sum() / shares(positional["labels"], tensors).sum()
    else:
        value = anchor.call(*positional.values(), **tensors)
    if value.requires_grad:
        torch.autograd.backward(value, torch.as_tensor(cotangent(tuple(value.shape))))
    gradients = {name: _gradient(tensor) for name, tensor in {**positional, **tensors}.items()}
    return {
        "value": value.detach().numpy(),
        "gradients": {name: gradient for name, gradient in gradients.items() if gradient is not None},
    }


def shares(labels: Tensor, options: Arguments) -> Tensor:
    """What each row adds to the divisor of the mean: the class weight of its label."""
    class_weights: Tensor = options["class_weights"]
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
