"""Make tables of what the study found: `python -m benchmarks.accuracy.report`.

A summary goes into docs/accuracy.md, every call into runs/accuracy.md.
"""

import json
from collections.abc import Iterator
from typing import Any

from ..pages import DOCS, RUNS, fill, table, written

LIBRARIES = ("jaxloss", "optax", "torch", "Keras")
VALUE = "value"
MEASURES = ("worst", "p99")
DIGITS = {"float32": 24, "bfloat16": 8, "float16": 11}
BOUNDS = (1, 2, 4, 16)
MOST_LOST = 10

Results = dict[str, Any]


def main() -> None:
    """Reads and writes."""
    results = json.loads((RUNS / "accuracy.json").read_text())
    written(RUNS / "accuracy.md", f"# Accuracy of every call\n\n{described(results)}\n\n{calls(results['cases'])}\n")
    fill(DOCS / "accuracy.md", summary(results))


def described(results: Results) -> str:
    """With what it was measured, and when."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return f"With {versions}; {results['date'][:10]}."


def summary(results: Results) -> dict[str, str]:
    """The parts of the page."""
    cases = results["cases"]
    ours = [case["libraries"]["jaxloss"] for case in cases]
    shared = [
        (case, name)
        for case in cases
        for name in case["libraries"]["jaxloss"]
        if any(name in library for other, library in case["libraries"].items() if other != "jaxloss")
    ]
    worse = [f"`{case['call']}` ({case['dtype']}, {name})" for case, name in shared if further(case["libraries"], name)]
    return {
        "versions": f"- {described(results)}",
        "findings": (
            f"- **Finite.** Of {sum(map(_entries, ours)):,} values and entries of gradients, jaxloss has "
            f"{sum(map(not_finite, ours)):,} that are not finite where the truth is.\n"
            f"- **Second derivatives**, along one direction in which all inputs move. {second(cases)}\n"
            f"- **The worst entry.** {len(shared):,} values and gradients, each on all its inputs in one dtype, are in "
            f"another library too. Of these jaxloss is off by more than twice what the best of the others is, and than "
            f"2 ulp, in {len(worse)}{': ' if worse else ''}{', '.join(worse)}."
        ),
        "confident": sure(results["confident"]),
        "comparison": comparison(cases),
        "digits": digits(cases),
        "lost": lost(cases),
    }


def sure(rows: list[Results]) -> str:
    """Of each library the errors of value and gradient, by the margin."""
    shown = [name for name in LIBRARIES if name in rows[0]["libraries"]]
    cells = [
        [f"{row['margin']:g}", f"{row['truth']:.3g}"]
        + [" / ".join(ulps(error, DIGITS["float32"]) for error in row["libraries"][name].values()) for name in shown]
        for row in rows
    ]
    return table(["margin", "loss", *shown], cells)


def second(cases: list[Results]) -> str:
    """How many of them are not finite, of each library."""
    said = []
    for name in LIBRARIES:
        of = [case["second"][name] for case in cases if name in case["second"]]
        if of:
            said.append(f"{name} {sum(map(not_finite, of)):,} of {sum(map(_entries, of)):,}")
    return f"Not finite where the truth is: {', '.join(said)}."


# --- summaries --------------------------------------------------------------------------------------------------------


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
    return table([*header, "not finite: jaxloss", "other", "of entries"], rows)


def digits(cases: list[Results]) -> str:
    """How many of jaxloss's values and gradients are how far off, in 99 of 100 entries."""
    rows = []
    for dtype in DIGITS:
        ours = [case["libraries"]["jaxloss"] for case in cases if case["dtype"] == dtype]
        for what, errors in (
            ("values", [library[VALUE]["p99"] for library in ours]),
            ("gradients", [of["p99"] for library in ours for name, of in library.items() if name != VALUE]),
        ):
            counts = [sum(error <= bound for error in errors) for bound in BOUNDS]
            new = [count - fewer for count, fewer in zip([*counts, len(errors)], [0, *counts], strict=True)]
            rows.append([f"{dtype}, {what}", *map(str, new)])
    return table(["inputs", *(f"≤ {bound} ulp" for bound in BOUNDS), "more"], rows)


def lost(cases: list[Results]) -> str:
    """The losses whose values in float32 are furthest off, each by its worst call, and what the worst entry is."""
    single = sorted((case for case in cases if case["dtype"] == "float32"), key=_lost)
    worst_calls = {case["call"].partition("(")[0]: case for case in single}
    rows = []
    for case in sorted(worst_calls.values(), key=_lost, reverse=True)[:MOST_LOST]:
        others = [library[VALUE]["p99"] for name, library in case["libraries"].items() if name != "jaxloss"]
        best = ulps(min(others), DIGITS["float32"]) if others else "–"
        worst = case["worst"][VALUE]
        inputs = ", ".join(f"{name} {_short(array)}" for name, array in worst["inputs"].items())
        figures = [ulps(_lost(case), DIGITS["float32"]), best, inputs, _short(worst["result"]), _short(worst["truth"])]
        rows.append([f"`{case['call']}`", *figures])
    return table(["loss", "jaxloss", "best of the others", "worst entry", "result", "truth"], rows)


def _lost(case: Results) -> float:
    return float(case["libraries"]["jaxloss"][VALUE]["p99"])


def _short(array: Any) -> str:
    if isinstance(array, str):
        return array
    numbers = [f"{entry:.3g}" for entry in array]
    return numbers[0] if len(numbers) == 1 else f"({', '.join(numbers)})"


# --- every call -------------------------------------------------------------------------------------------------------


def calls(cases: list[Results]) -> str:
    """A row for each call and dtype."""
    rows = [[f"`{case['call']}`", case["dtype"], *cells(case)] for case in cases]
    return table(["loss", "inputs", "value", "gradient", "not finite"], rows)


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


def _ratios(ours: Results, theirs: Results) -> Iterator[float]:
    for name in theirs:
        yield max(1, ours[name]["p99"]) / max(1, theirs[name]["p99"])


def _entries(library: Results) -> int:
    return sum(summary["entries"] for summary in library.values())


if __name__ == "__main__":
    main()
