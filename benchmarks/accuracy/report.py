"""Make docs/accuracy.md out of accuracy.json: `python -m benchmarks.accuracy.report`. The words are in page.md."""

import argparse
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

HERE = Path(__file__).parent
LIBRARIES = ("jaxloss", "optax", "torch", "Keras")
VALUE = "value"
MEASURES = ("worst", "p99")
DIGITS = {"float32": 24, "bfloat16": 8, "float16": 11}

Results = dict[str, Any]


def main() -> None:
    """Reads and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=HERE.parent / "accuracy.json", help="what to read (%(default)s)")
    options = parser.parse_args()
    page = HERE.parent.parent / "docs" / "accuracy.md"
    page.write_text(written(json.loads(options.json.read_text())))


def written(results: Results) -> str:
    """The page, as Markdown."""
    return Template((HERE / "page.md").read_text()).substitute(
        versions=", ".join(f"{name} {version}" for name, version in results["versions"].items()),
        date=results["date"][:10],
        findings=findings(results["cases"]),
        tables="\n\n".join(
            f"## {family}\n\n{table(list(cases))}"
            for family, cases in groupby(results["cases"], key=lambda case: case["family"])
        ),
    )


def table(cases: list[Results]) -> str:
    """A row for each call and dtype."""
    header = ["loss", "inputs", "value", "gradient", "not finite"]
    rows = [[f"`{case['call']}`", case["dtype"], *cells(case)] for case in cases]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])


def cells(case: Results) -> Iterator[str]:
    """Errors of values, those of the gradients that all libraries have, and how much is not finite."""
    libraries = case["libraries"]
    ours = libraries["jaxloss"]
    gradients = [name for name in ours if name != VALUE]
    shared = [name for name in gradients if all(name in library for library in libraries.values())]
    for shown, judged, digits in (
        ([VALUE], [VALUE], DIGITS["float32"]),
        (shared, gradients, DIGITS[case["dtype"]]),
    ):
        figures = {library: figure([of[name] for name in shown], digits) for library, of in libraries.items()}
        mark = max((verdict(libraries, name) for name in judged), key=len, default="")
        figures["jaxloss"] = f"{mark}{figures['jaxloss']}{mark}"
        yield " / ".join(figures.get(library, "–") for library in LIBRARIES)
    yield " / ".join(str(not_finite(libraries[name])) if name in libraries else "–" for name in LIBRARIES)


def figure(summaries: list[Results], digits: int) -> str:
    """The worst of some errors, and of their percentiles."""
    if not summaries:
        return "–"
    worst, percentile = (max(summary[key] for summary in summaries) for key in MEASURES)
    return f"{ulps(worst, digits)} ({ulps(percentile, digits)})"


def ulps(error: float, digits: int) -> str:
    """Two significant digits."""
    if error >= 2 ** (digits - 1):
        return "all"
    return f"{error:.1e}".replace("e+0", "e") if error >= 1000 else f"{error:.0f}" if error >= 10 else f"{error:.1f}"


def verdict(libraries: Results, name: str) -> str:
    """The mark of what jaxloss is off by more than twice the best of the others: in the worst entry, and in most."""
    ours, *others = [libraries[library][name] for library in LIBRARIES if name in libraries.get(library, ())]
    worse = [others and ours[key] > 2 * max(1, min(other[key] for other in others)) for key in MEASURES]
    return "**" if all(worse) else "*" if worse[0] else ""


def not_finite(library: Results) -> int:
    """Of values and all gradients."""
    return sum(summary["not_finite"] for summary in library.values())


def findings(cases: list[Results]) -> str:
    """Beside each library: how often each is the more accurate, and what is not finite."""
    header = ["beside", "calls", "jaxloss closer", "alike, within a factor of two", "other closer"]
    header += ["not finite: jaxloss", "other", "of entries"]
    rows = []
    for name in LIBRARIES[1:]:
        common = [case["libraries"] for case in cases if name in case["libraries"]]
        ratios = [ratio for libraries in common for ratio in _ratios(libraries["jaxloss"], libraries[name])]
        closer, further = sum(ratio < 0.5 for ratio in ratios), sum(ratio > 2 for ratio in ratios)
        counts = [len(common), closer, len(ratios) - closer - further, further]
        counts += [sum(not_finite(libraries[which]) for libraries in common) for which in ("jaxloss", name)]
        counts.append(sum(_entries(libraries[name]) for libraries in common))
        rows.append([name, *(f"{count:,}" for count in counts)])
    everything = sum(not_finite(case["libraries"]["jaxloss"]) for case in cases)
    entries = sum(_entries(case["libraries"]["jaxloss"]) for case in cases)
    table = "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])
    return (
        f"Of {entries:,} values and entries of gradients, jaxloss has {everything:,} that are not finite where the "
        "truth is. Compared are the 99th percentiles of values and of each gradient, errors of less than an ulp "
        f"counting as one:\n\n{table}"
    )


def _ratios(ours: Results, theirs: Results) -> Iterator[float]:
    for name in theirs:
        yield max(1, ours[name]["p99"]) / max(1, theirs[name]["p99"])


def _entries(library: Results) -> int:
    return sum(summary["entries"] for summary in library.values())


if __name__ == "__main__":
    main()
