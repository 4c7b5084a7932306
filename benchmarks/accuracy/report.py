"""Make docs/accuracy.md out of accuracy.json: `python -m benchmarks.accuracy.report`. The words are in page.md."""

import argparse
import json
from collections.abc import Iterator
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
    cases = results["cases"]
    ours = [case["libraries"]["jaxloss"] for case in cases]
    shared = [
        (case, name)
        for case in cases
        for name in case["libraries"]["jaxloss"]
        if any(name in library for other, library in case["libraries"].items() if other != "jaxloss")
    ]
    worse = [f"`{case['call']}` ({case['dtype']}, {name})" for case, name in shared if further(case["libraries"], name)]
    return Template((HERE / "page.md").read_text()).substitute(
        versions=", ".join(f"{name} {version}" for name, version in results["versions"].items()),
        date=results["date"][:10],
        entries=f"{sum(map(_entries, ours)):,}",
        not_finite=f"{sum(map(not_finite, ours)):,}",
        shared=f"{len(shared):,}",
        worse=f"{len(worse)}: {', '.join(worse)}" if worse else "none",
        comparison=comparison(cases),
        tables=f"## Every call\n\n{table(cases)}",
    )


def table(cases: list[Results]) -> str:
    """A row for each call and dtype."""
    header = ["loss", "inputs", "value", "gradient", "not finite"]
    rows = [[f"`{case['call']}`", case["dtype"], *cells(case)] for case in cases]
    return _markdown([header, ["---"] * len(header), *rows])


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
    """The mark of what jaxloss is further off: in the worst entry, and in most."""
    worse = [further(libraries, name, measure) for measure in MEASURES]
    return "**" if all(worse) else "*" if worse[0] else ""


def further(libraries: Results, name: str, measure: str = "worst") -> bool:
    """Whether jaxloss is off by more than twice the best of the others, and than 2 ulp."""
    ours, *others = [libraries[library][name][measure] for library in LIBRARIES if name in libraries.get(library, ())]
    return bool(others) and ours > 2 * max(1, min(others))


def not_finite(library: Results) -> int:
    """Of values and all gradients."""
    return sum(summary["not_finite"] for summary in library.values())


def comparison(cases: list[Results]) -> str:
    """Beside each library: how often each is the more accurate, and what is not finite."""
    rows = []
    for name in LIBRARIES[1:]:
        common = [case["libraries"] for case in cases if name in case["libraries"]]
        ratios = [ratio for libraries in common for ratio in _ratios(libraries["jaxloss"], libraries[name])]
        closer, other_closer = sum(ratio < 0.5 for ratio in ratios), sum(ratio > 2 for ratio in ratios)
        counts = [len(common), closer, len(ratios) - closer - other_closer, other_closer]
        counts += [sum(not_finite(libraries[which]) for libraries in common) for which in ("jaxloss", name)]
        counts.append(sum(_entries(libraries[name]) for libraries in common))
        rows.append([name, *(f"{count:,}" for count in counts)])
    header = ["beside", "calls", "jaxloss closer", "alike, within a factor of two", "other closer"]
    header += ["not finite: jaxloss", "other", "of entries"]
    return _markdown([header, ["---"] * len(header), *rows])


def _markdown(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _ratios(ours: Results, theirs: Results) -> Iterator[float]:
    for name in theirs:
        yield max(1, ours[name]["p99"]) / max(1, theirs[name]["p99"])


def _entries(library: Results) -> int:
    return sum(summary["entries"] for summary in library.values())


if __name__ == "__main__":
    main()
