"""Make docs/benchmarks.md and its picture out of results.json and tpu.json: `python -m benchmarks.report`.

The words around the tables are in page.md.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
LIBRARIES = ("optax", "Keras", "torch")
LINEAR = "linear cross-entropy"
LINEAR_PEERS = ("jaxloss dense", "optax dense", "tokamax", "jax-cce", "torch", "torch chunked")
# Of Okabe and Ito, who chose them for the colour-blind.
COLOURS = {"optax": "#0072B2", "Keras": "#D55E00", "torch": "#009E73", "tokamax": "#CC79A7", "jax-cce": "#E69F00"}
MARKERS = {"optax": "o", "Keras": "s", "torch": "^", "tokamax": "D", "jax-cce": "v"}

Case = dict[str, Any]
Results = dict[str, Any]


def main() -> None:
    """Reads, draws and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=HERE / "results.json", help="what to read (%(default)s)")
    options = parser.parse_args()
    results = json.loads(options.json.read_text())
    tpu = HERE / "tpu.json"
    draw(results, DOCS / "images" / "benchmarks.png")
    words = page(results, json.loads(tpu.read_text()) if tpu.exists() else None)
    (DOCS / "benchmarks.md").write_text(words)


def page(results: Results, tpu: Results | None) -> str:
    """The page, as Markdown."""
    linear = [case for case in results["cases"] if case["group"] == LINEAR]
    others = [case for case in results["cases"] if case["group"] != LINEAR]
    machine, used = results["machine"], results["versions"]
    return Template((HERE / "page.md").read_text()).substitute(
        machine=f"{machine['cores']} cores ({machine['processor']})",
        date=results["date"][:10],
        versions=", ".join(f"{name} {version}" for name, version in used.items()),
        rounds=min(times["rounds"] for case in results["cases"] for times in case["times"]["gradient"].values()),
        absent=_absent(results["absent"]),
        targets=targets(results["cases"]),
        findings=findings(results["cases"]),
        gradient=ratios(others, "gradient", (*LIBRARIES, "copy")),
        gradient_linear=ratios(linear, "gradient", (*LINEAR_PEERS, "three matmuls")),
        forward=ratios(others, "forward", LIBRARIES),
        forward_linear=ratios(linear, "forward", LINEAR_PEERS),
        unjitted=ratios(others, "unjitted", LIBRARIES),
        memory=memory(others, ("jaxloss", "optax", "Keras")),
        memory_linear=memory(linear, ("jaxloss", *LINEAR_PEERS[:4])),
        compilation=ratios(results["cases"], "compilation", ("optax", "Keras", "jaxloss dense", "tokamax", "jax-cce")),
        epoch=epoch(results["epoch"]),
        tpu=compiled_for_tpu(tpu),
    )


def _absent(reasons: dict[str, str]) -> str:
    if not reasons:
        return "All libraries took part."
    return "Not there, and so without figures: " + "; ".join(f"{name} ({why})" for name, why in reasons.items()) + "."


# --- tables -----------------------------------------------------------------------------------------------------------


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


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


def compiled_for_tpu(results: Results | None) -> str:
    """What the compiler for a TPU says of each loss."""
    if results is None:
        return "Not compiled; `make tpu` does."
    shared = [
        [
            *_title(case),
            *(megabytes(needs["temporary"]) for needs in pair),
            *(megabytes(needs["accessed"]) for needs in pair),
            f"{pair[0]['accessed'] / pair[1]['accessed']:.2f}",
        ]
        for case in results["cases"]
        for pair in [(case["needs"]["jaxloss"], case["needs"].get("optax", case["needs"].get("optax dense")))]
    ]
    calls = [
        [f"`{call['call']}`", *(f"{call[size] / 1e3:,.0f}" for size in ("temporary", "accessed", "inputs_and_outputs"))]
        for call in results["calls"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"No TPU was there, and **nothing was run on one**: `make tpu` compiles the value and gradient of every loss "
        f"for one chip of a {results['topology']}, and asks the compiler what the program needs "
        f"({versions}, {results['date'][:10]}). In MB, beside optax, which for the linear layer is the dense one:\n\n"
        + table(
            ["loss", "shape", "temporary", "optax's", "moved to and from memory", "optax's", "moved / optax's"], shared
        )
        + f"\n\nEvery call in the tests' catalogue, for a batch of {results['batch']:,}, in kB:\n\n"
        + table(["call", "temporary", "moved to and from memory", "inputs and outputs"], calls)
    )


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


# --- words ------------------------------------------------------------------------------------------------------------


def findings(cases: list[Case]) -> str:
    """How often jaxloss is faster than each library, and by how much."""
    rows = []
    for measure, what in (
        ("gradient", "value and gradient"),
        ("forward", "value alone"),
        ("unjitted", "in a notebook"),
    ):
        for library in COLOURS:
            compared = list(_compared(cases, measure, library))
            if compared:
                rows.append([what, library, *_digest(compared)])
    return table(["measured", "beside", "faster", "alike", "slower", "median ratio", "lowest", "highest"], rows)


def _compared(cases: list[Case], measure: str, library: str) -> Iterator[tuple[float, str]]:
    for case in cases:
        for name, times in case["times"].get(measure, {}).items():
            if name.split()[0] == library:
                yield times["ratio"][1], ", ".join(_title(case))


def _digest(compared: list[tuple[float, str]]) -> list[str]:
    values = [value for value, _ in compared]
    faster, slower = sum(value < 0.95 for value in values), sum(value > 1.05 for value in values)
    counts = map(str, (faster, len(values) - faster - slower, slower))
    extremes = (f"{digits(value)} ({case})" for value, case in (min(compared), max(compared)))
    return [*counts, digits(statistics.median(values)), *extremes]


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
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


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
