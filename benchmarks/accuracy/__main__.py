"""Study every loss, and write runs/accuracy.json: `python -m benchmarks.accuracy`.

`--quick` draws few inputs and leaves out those of 128k classes, to try a change out.
"""

import argparse
import json
import multiprocessing
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import jax.numpy as jnp

from ..pages import RUNS, written
from ..peers import versions
from .peers import LIBRARIES
from .study import confident, studied
from .subjects import MANY_CLASSES, subjects


def main() -> None:
    """Studies, prints what it finds, and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only try it out")
    parser.add_argument("--only", default="", help="only calls that have this in their name")
    parser.add_argument("--dtype", default="", help="only inputs of this dtype")
    parser.add_argument("--json", type=Path, default=RUNS / "accuracy.json", help="file to write to (%(default)s)")
    options = parser.parse_args()

    start = time.perf_counter()
    wanted = [
        index
        for index, subject in enumerate(subjects())
        if options.only in subject.name
        and options.dtype in jnp.dtype(subject.dtype).name
        and not (options.quick and subject.classes == MANY_CLASSES)
    ]
    cases = []
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for case in pool.map(partial(studied, quick=options.quick), wanted):
            cases.append(case)
            print(f"{time.perf_counter() - start:5.0f} s  {case['call']}, {case['dtype']}", flush=True)
    used = versions()
    results = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{name: used[name] for name in ("jax", "jaxlib", *LIBRARIES) if name in used},
        },
        "confident": confident(),
        "cases": cases,
    }
    written(options.json, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
