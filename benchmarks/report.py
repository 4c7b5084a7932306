"""Make tables and a picture of what was measured: `python -m benchmarks.report`.

A summary goes into docs/benchmarks.md, every figure into runs/benchmarks.md, from runs/benchmarks.json.
"""

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

from .pages import DOCS, RUNS, fill, table, written

LIBRARIES = ("optax", "Keras", "torch")
LINEAR = "linear cross-entropy"
LINEAR_PEERS = ("jaxloss dense", "optax dense", "tokamax", "jax-cce", "torch", "torch chunked")
LINEAR_NAMES = (*LINEAR_PEERS, "three matmuls")
# Of Okabe and Ito, who chose them for the colour-blind.
COLOURS = {"optax": "#0072B2", "Keras": "#D55E00", "torch": "#009E73", "tokamax": "#CC79A7", "jax-cce": "#E69F00"}
MARKERS = {"optax": "o", "Keras": "s", "torch": "^", "tokamax": "D", "jax-cce": "v"}

PALETTE = 128

Case = dict[str, Any]
Results = dict[str, Any]


def main() -> None:
    """Reads, draws and writes."""
    results = json.loads((RUNS / "benchmarks.json").read_text())
    draw(results, DOCS / "images" / "benchmarks.png")
    written(RUNS / "benchmarks.md", every_time(results))
    fill(DOCS / "benchmarks.md", summary(results))


def described(results: Results) -> str:
    """On what it was measured, with what, and when."""
    machine = results["machine"]
    absent = "; ".join(f"{name} ({why})" for name, why in results["absent"].items())
    return (
        f"- On {machine['cores']} cores ({machine['processor']}), {results['date'][:10]}, with {_versions(results)}."
        + (f" Not there, and so without figures: {absent}." if absent else "")
    )


def _versions(results: Results) -> str:
    return ", ".join(f"{name} {version}" for name, version in results["versions"].items())


# --- summaries --------------------------------------------------------------------------------------------------------


def summary(results: Results) -> dict[str, str]:
    """The parts of the page that are about times."""
    cases = results["cases"]
    return {
        "machine": described(results),
        "targets": targets(cases),
        "findings": findings(cases),
        "linear": ratios([case for case in cases if case["group"] == LINEAR], "gradient", LINEAR_NAMES),
        "epoch": epoch(results["epoch"]),
    }


def findings(cases: list[Case]) -> str:
    """How often jaxloss takes less than each library, and by how much."""
    rows = []
    for measure, what in (
        ("gradient", "time of value and gradient"),
        ("forward", "time of the value alone"),
        ("unjitted", "time in a notebook"),
        ("memory", "temporary memory"),
        ("compilation", "time to compile"),
    ):
        for library in COLOURS:
            compared = list(_compared(cases, measure, library))
            if compared:
                rows.append([what, library, *_digest(compared)])
    return table(["measured", "beside", *DIGEST], rows)


def _compared(cases: list[Case], measure: str, library: str) -> Iterator[tuple[float, str]]:
    for case in cases:
        sizes = case["temporary_bytes"]
        of_others = (
            {name: sizes["jaxloss"] / size for name, size in sizes.items() if size}
            if measure == "memory"
            else {name: times["ratio"][1] for name, times in case["times"].get(measure, {}).items()}
        )
        for name, figure in of_others.items():
            if name.split()[0] == library:
                yield figure, ", ".join(_title(case))


DIGEST = ["less", "alike", "more", "median ratio", "lowest", "highest"]


def _digest(compared: list[tuple[float, str]]) -> list[str]:
    values = [value for value, _ in compared]
    less, more = sum(value < 0.95 for value in values), sum(value > 1.05 for value in values)
    counts = map(str, (less, len(values) - less - more, more))
    extremes = (f"{digits(value)} ({case})" for value, case in (min(compared), max(compared)))
    return [*counts, digits(statistics.median(values)), *extremes]


def epoch(results: Results | None) -> str:
    """What the loop of the example takes beside those in torch."""
    if results is None:
        return "Not measured."
    rows = [[name, ratio(times)] for name, times in results["times"].items() if name != "jaxloss"]
    return (
        f"`examples/fashion_mnist.py` beside the same loop in torch, over {results['images']:,} images in batches of "
        f"{results['batch_size']}: once with batches by index, once with a `DataLoader`.\n\n"
        + table(["loop", "jaxloss / this"], rows)
    )


# --- every figure -----------------------------------------------------------------------------------------------------


def every_time(results: Results) -> str:
    """All tables, as a page."""
    linear = [case for case in results["cases"] if case["group"] == LINEAR]
    others = [case for case in results["cases"] if case["group"] != LINEAR]
    sections = {
        "Value and gradient": ratios(others, "gradient", (*LIBRARIES, "copy")),
        "Value and gradient of the linear layer": ratios(linear, "gradient", LINEAR_NAMES),
        "Value alone": ratios(others, "forward", LIBRARIES),
        "Value alone of the linear layer": ratios(linear, "forward", LINEAR_PEERS),
        "Calls from a notebook": ratios(others, "unjitted", LIBRARIES),
        "Temporary memory, in MB": memory(others, ("jaxloss", "optax", "Keras")),
        "Temporary memory of the linear layer, in MB": memory(linear, ("jaxloss", *LINEAR_PEERS[:4])),
        "Time to compile": ratios(
            results["cases"], "compilation", ("optax", "Keras", "jaxloss dense", "tokamax", "jax-cce")
        ),
    }
    return f"# Every figure\n\n{described(results)}\n\n" + "\n\n".join(
        f"## {title}\n\n{text}" for title, text in sections.items()
    )


def ratios(cases: list[Case], measure: str, names: tuple[str, ...]) -> str:
    """A row for each case that has the measure, a column for each name."""
    rows = [
        [*_title(case), *(ratio(case["times"][measure].get(name)) for name in names)]
        for case in cases
        if measure in case["times"]
    ]
    return table(["loss", "shape", *names], rows)


def ratio(times: dict[str, Any] | None) -> str:
    """The median with the quartiles, or a dash."""
    if times is None:
        return "–"
    low, middle, high = times["ratio"]
    return f"{digits(middle)} ({digits(low)}–{digits(high)})"


def digits(number: float) -> str:
    """Two decimals, or as many as two significant digits take."""
    return f"{number:.2f}" if number >= 0.1 else f"{number:#.2g}"


def memory(cases: list[Case], names: tuple[str, ...]) -> str:
    """Temporary memory in MB."""
    rows = []
    for case in cases:
        sizes = case["temporary_bytes"]
        rows.append([*_title(case), *(megabytes(sizes[name]) if name in sizes else "–" for name in names)])
    return table(["loss", "shape", *names], rows)


def megabytes(size: int) -> str:
    """In millions of bytes."""
    return f"{size / 1e6:.1f}" if size >= 1e6 else f"{size / 1e6:.2g}"


def _title(case: Case) -> tuple[str, str]:
    variant = "" if case["variant"] == "plain" else f", {case['variant']}"
    return case["group"] + variant, " × ".join(f"{size:,}" for size in case["shape"])


# --- targets ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A promise about some cases: a figure of each, and what it should not exceed."""

    claim: str
    group: str
    variant: str
    shapes: tuple[tuple[int, ...], ...]
    bound: float
    figure: Callable[[Case], float | None]
    unit: str = ""


def _time(peer: str, measure: str = "gradient") -> Callable[[Case], float | None]:
    def figure(case: Case) -> float | None:
        times = case["times"][measure].get(peer)
        return None if times is None else float(times["ratio"][1])

    return figure


def _memory_of_dense(case: Case) -> float:
    return float(case["temporary_bytes"]["jaxloss"] / case["temporary_bytes"]["jaxloss dense"])


def _megabytes(case: Case) -> float:
    return float(case["temporary_bytes"]["jaxloss"] / 1e6)


_VOCABULARIES = ((2048, 256, 32_000), (1024, 512, 65_536))
_LARGE, _SMOOTHED, _SMALL, _CTC = ((2048, 32_000),), ((512, 32_000),), ((128, 10),), ((32, 500, 64, 100),)
TARGETS = [
    Target("time, of the dense composition", LINEAR, "plain", _VOCABULARIES, 0.8, _time("jaxloss dense")),
    Target("temporary memory, of the dense composition", LINEAR, "plain", _VOCABULARIES, 1 / 12, _memory_of_dense),
    Target("time, of tokamax", LINEAR, "plain", _VOCABULARIES, 0.9, _time("tokamax")),
    Target("time, of jax-cce", LINEAR, "plain", _VOCABULARIES, 0.9, _time("jax-cce")),
    Target("time, of optax", "cross-entropy", "plain", _LARGE, 1.05, _time("optax")),
    Target("time, of torch", "cross-entropy", "plain", _LARGE, 0.5, _time("torch")),
    Target("time, of optax with one-hot labels", "cross-entropy", "smoothed", _SMOOTHED, 0.45, _time("optax")),
    Target("temporary memory", "cross-entropy", "smoothed", _SMOOTHED, 1.0, _megabytes, " MB"),
    Target("time, of none of the options", "cross-entropy", "everything", _LARGE, 1.15, _time("no options")),
    Target("time, of optax", "CTC", "plain", _CTC, 0.5, _time("optax")),
    Target("time, of torch", "CTC", "plain", _CTC, 0.5, _time("torch")),
    Target("time in a notebook, of optax", "cross-entropy", "plain", _SMALL, 1 / 30, _time("optax", "unjitted")),
    Target("time in a notebook, of torch", "cross-entropy", "plain", _SMALL, 1 / 2, _time("torch", "unjitted")),
]


def targets(cases: list[Case]) -> str:
    """What was aimed at, for value and gradient unless it says otherwise, and what was measured."""
    found = {(case["group"], case["variant"], tuple(case["shape"])): case for case in cases}
    rows = []
    for target in TARGETS:
        for shape in target.shapes:
            case = found.get((target.group, target.variant, shape))
            figure = None if case is None else target.figure(case)
            title = _title({"group": target.group, "variant": target.variant, "shape": shape})
            measured = "–" if figure is None else digits(figure) + target.unit
            verdict = "not measured" if figure is None else "met" if figure <= target.bound else "missed"
            rows.append([*title, target.claim, f"≤ {digits(target.bound)}{target.unit}", measured, verdict])
    return table(["loss", "shape", "value and gradient: what", "target", "measured", ""], rows)


# --- the picture ------------------------------------------------------------------------------------------------------


def draw(results: Results, path: Path) -> None:
    """A row for each case, a point for each library, on a logarithmic axis: left of the line jaxloss is faster."""
    cases = results["cases"]
    size = (11, 1.8 + 0.24 * len(cases))
    figure, axes = plt.subplots(1, 2, figsize=size, sharex=True, sharey=True, layout="constrained")
    for panel, measure, title in zip(axes, ("gradient", "forward"), ("value and gradient", "value alone"), strict=True):
        _panel(panel, cases, measure)
        panel.set_title(title)
    axes[0].set_yticks(range(len(cases)), ["  ".join(_title(case)) for case in cases], fontsize=8)
    axes[0].set_ylim(len(cases) - 0.4, -0.6)
    handles = {
        label: handle for panel in axes for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False)
    figure.supxlabel("time of jaxloss / time of the other: left of the line, jaxloss is faster")
    figure.savefig(path, dpi=100)
    plt.close(figure)
    # A few colours and their mixtures at edges: a palette takes a third of the bytes.
    Image.open(path).convert("RGB").quantize(PALETTE, kmeans=3).save(path, optimize=True)


def _panel(panel: Axes, cases: list[Case], measure: str) -> None:
    for library, colour in COLOURS.items():
        points = [
            (row, times["ratio"])
            for row, case in enumerate(cases)
            for name, times in case["times"][measure].items()
            if name in (library, f"{library} dense")
        ]
        if points:
            rows = [row for row, _ in points]
            lows, middles, highs = zip(*(ratio for _, ratio in points), strict=True)
            panel.hlines(rows, lows, highs, color=colour, linewidth=1.5, alpha=0.6)
            panel.plot(middles, rows, MARKERS[library], color=colour, label=library, markersize=5, alpha=0.9)
    for row, (case, following) in enumerate(pairwise(cases)):
        if _title(case)[0] != _title(following)[0]:
            panel.axhline(row + 0.5, color="0.9", linewidth=0.8, zorder=0)
    panel.axvline(1, color="black", linewidth=1)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}")
    panel.grid(axis="x", color="0.92")
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
