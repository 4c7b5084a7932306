"""Measure everything, and write runs/benchmarks.json: `PYTHONPATH=examples python -m benchmarks`.

`--quick` takes the smallest shapes, a few rounds and a few images, to try a change out; its figures mean little.
"""

import argparse
import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from . import measure
from .cases import COMPARISONS
from .pages import RUNS, written
from .peers import ABSENT, present, torch, versions


def main() -> None:
    """Measures, prints what it is at, and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only try it out")
    parser.add_argument("--only", default="", help="only what has this in its name")
    parser.add_argument("--json", type=Path, default=RUNS / "benchmarks.json", help="file to write to (%(default)s)")
    options = parser.parse_args()

    for name, reason in ABSENT.items():
        print(f"without {name}: {reason}")
    cores = len(os.sched_getaffinity(0))
    if present("torch"):
        torch.set_num_threads(cores)
    start = time.perf_counter()
    effort = measure.QUICK if options.quick else measure.FULL
    cases = []
    for comparison in COMPARISONS:
        for shape in comparison.shapes[: 1 if options.quick else None]:
            name = f"{comparison.group}, {comparison.variant}, {'x'.join(map(str, shape))}"
            if options.only in name:
                case = measure.measured(comparison, shape, effort)
                print(f"{time.perf_counter() - start:5.0f} s  {name}: {_line(case)}", flush=True)
                cases.append(case)
    results = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": _processor(), "cores": cores, "device": jax.devices()[0].device_kind},
        "versions": {"python": platform.python_version(), **versions()},
        "absent": ABSENT,
        "cases": cases,
        "epoch": _epoch(options.quick) if options.only in "epoch" else None,
    }
    written(options.json, json.dumps(results, indent=1) + "\n")


def _line(case: dict[str, Any]) -> str:
    """The medians of the case's ratios for value and gradient."""
    ratios = {name: times["ratio"][1] for name, times in case["times"]["gradient"].items() if name != "jaxloss"}
    return ", ".join(f"{ratio:.2f} of {name}" for name, ratio in ratios.items())


def _epoch(quick: bool) -> dict[str, Any] | None:
    if not present("torch"):
        return None
    from . import fashion_mnist_epoch  # has torch's classes in its own

    return fashion_mnist_epoch.measured(2, limit=2000) if quick else fashion_mnist_epoch.measured(7)


def _processor() -> str:
    """The name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


if __name__ == "__main__":
    main()
