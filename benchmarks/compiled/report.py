"""The page about what compilers say: docs/compiled.md."""

from typing import Any

from ..pages import DOCS, fill, table
from .chips import CHIPS

Results = dict[str, Any]
Case = dict[str, Any]


def write(results: Results) -> None:
    """Fills the parts of the page."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    fill(
        DOCS / "compiled.md",
        {
            "versions": f"- With {versions}; {results['date'][:10]}.",
            "summary": summary(results["cases"]),
            "programs": programs(results["cases"]),
        },
    )


def summary(cases: list[Case]) -> str:
    """Beside each library, on each chip: how often jaxloss moves less, and the extremes."""
    rows = []
    for chip in CHIPS:
        for library in ("optax", "Keras"):
            ratios = sorted(
                (ours["moved"] / theirs["moved"], ours["call"], ours["dtype"])
                for ours, theirs in _pairs(cases, chip, library)
            )
            if ratios:
                less, more = (sum(test(ratio[0]) for ratio in ratios) for test in (_less, _more))
                ends = [f"{ratio:.2f} (`{call}`, {dtype})" for ratio, call, dtype in (ratios[0], ratios[-1])]
                middle = ratios[len(ratios) // 2][0]
                counts = [str(less), str(len(ratios) - less - more), str(more)]
                rows.append([chip, library, *counts, f"{middle:.2f}", *ends])
    return table(["chip", "beside", "less", "alike", "more", "median ratio", "lowest", "highest"], rows)


def _less(ratio: float) -> bool:
    return ratio < 0.95


def _more(ratio: float) -> bool:
    return ratio > 1.05


def _pairs(cases: list[Case], chip: str, library: str) -> list[tuple[Case, Case]]:
    found = {(case["call"], case["dtype"], case["library"]): case for case in cases if case["chip"] == chip}
    return [
        (case, found[call, dtype, library])
        for (call, dtype, whose), case in found.items()
        if whose == "jaxloss" and (call, dtype, library) in found
    ]


def programs(cases: list[Case]) -> str:
    """A row for each program of jaxloss, with the same of the others behind it."""
    found: dict[tuple[str, str], dict[tuple[str, str], Case]] = {}
    for case in cases:
        found.setdefault((case["call"], case["dtype"]), {})[case["chip"], case["library"]] = case
    rows = []
    for (call, dtype), by_library in found.items():
        shape = " × ".join(f"{length:,}" for length in next(iter(by_library.values()))["shape"])
        cells = [
            " / ".join(figure(by_library.get((chip, library))) for library in ("jaxloss", "optax", "Keras"))
            for chip in CHIPS
            for figure in (_moved, _temporary, _time)
        ]
        products = by_library["H100", "jaxloss"]["products"]
        rows.append([f"`{call}`", dtype, shape, *cells, ", ".join(f"{n} of {name}" for name, n in products.items())])
    measures = ("moved ÷ inputs", "held, MB", "least time, ms")
    header = ["loss", "inputs", "first shape", *(f"{chip}: {measure}" for chip in CHIPS for measure in measures)]
    return table([*header, "products on an H100"], rows)


def _moved(case: Case | None) -> str:
    return "–" if case is None else f"{case['moved'] / case['inputs']:.2f}"


def _temporary(case: Case | None) -> str:
    return "–" if case is None else f"{case['temporary'] / 1e6:.3g}"


def _time(case: Case | None) -> str:
    return "–" if case is None else f"{case['seconds'] * 1e3:.3g}"
