"""Fuzz every loss for some minutes: `python -m benchmarks.accuracy.fuzz`.

hypothesis draws any finite inputs over the whole range of a dtype, and any mask, and drives them to where the error is
largest. Values are to be within 8 ulp of the largest term that they are made of, and neither they nor gradients may be
NaN or infinite where the truth fits into the dtype. Counts go into docs/accuracy.md; fails where a loss does.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from awkward import is_float, rounded
from catalogue import CATALOGUE, Input
from extremes import checked, compiled, extremes
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ..pages import DOCS, RUNS, fill, table, written

ROWS = 3
EXAMPLES = 25  # between looks at the clock
DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16)

Results = dict[str, Any]


def main() -> None:
    """Fuzzes, prints what fails, and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long, in all (%(default)s)")
    parser.add_argument("--only", default="", help="only calls that have this in their name")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)), help="to draw the same once more")
    options = parser.parse_args()
    print(f"--seed {options.seed}", flush=True)
    cases = [(i, dtype) for i, call in enumerate(CATALOGUE) if options.only in call.name for dtype in DTYPES]
    workers = os.cpu_count() or 1
    fuzz = partial(fuzzed, options.seed, 60 * options.minutes * workers / len(cases))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(fuzz, cases))
    failed = [result for result in results if result["failure"]]
    for result in failed:
        print(f"{result['call']}, {result['dtype']}: {result['failure']}", flush=True)
    written(RUNS / "fuzz.json", json.dumps(results, indent=1) + "\n")
    if not options.only:
        fill(DOCS / "accuracy.md", {"fuzz": report(results, options.minutes)})
    sys.exit(bool(failed))


def fuzzed(seed: int, seconds: float, case: tuple[int, Any]) -> Results:
    """Draws for a line of the catalogue in one dtype until its time is over, or it fails."""
    start = time.monotonic()
    call, dtype = CATALOGUE[case[0]], case[1]
    run = compiled(call)
    result: Results = {"call": call.name, "dtype": jnp.dtype(dtype).name, "failure": ""}
    result |= {"examples": 0, "values": 0, "gradients": 0, "worst": 0.0}

    @hypothesis.settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate, hypothesis.Phase.target, hypothesis.Phase.shrink],
    )
    @hypothesis.given(st.data())
    def hold(data: st.DataObject) -> None:
        inputs = tuple(data.draw(kind_of(kind, dtype)) for kind in call.kinds)
        where = data.draw(arrays(bool, ROWS))
        values, slopes = run(inputs, where)
        error = checked(call, inputs, where, values, slopes)
        result["examples"] += 1
        result["values"] += int(where.sum())
        result["gradients"] += sum(slope.size for slope in jax.tree.leaves(slopes))
        result["worst"] = max(result["worst"], error)
        hypothesis.target(error)

    try:
        while time.monotonic() < start + seconds:
            seed += 1
            hypothesis.seed(seed)(hold)()
    except Exception as error:  # whatever a loss raises is a find, and the others go on
        result["failure"] = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
    return result


def kind_of(kind: Input, dtype: Any) -> st.SearchStrategy[Any]:
    """Any finite inputs of a kind, rounded to a dtype; what is not floating is drawn as the tests draw it."""
    sample = kind.sample(np.random.default_rng(0), (ROWS,))
    if not is_float(jax.tree.leaves(sample)[0]):
        return st.integers(0, 2**16).map(lambda seed: kind.sample(np.random.default_rng(seed), (ROWS,)))
    numbers = st.floats(
        width=16 if dtype == jnp.float16 else 32, allow_nan=False, allow_infinity=False, allow_subnormal=False
    )
    numbers |= st.sampled_from(extremes(dtype))
    leaves, structure = jax.tree.flatten(sample)
    drawn = st.tuples(*(arrays(np.float64, leaf.shape, elements=numbers) for leaf in leaves))
    return drawn.map(lambda parts: jax.tree.unflatten(structure, [rounded(kind.within(part), dtype) for part in parts]))


def report(results: list[Results], minutes: float) -> str:
    """What was drawn, and the losses that came closest to the limit."""
    counts = {key: sum(result[key] for result in results) for key in ("examples", "values", "gradients")}
    failed = [f"`{result['call']}` ({result['dtype']})" for result in results if result["failure"]]
    worst = sorted((r for r in results if not r["failure"]), key=lambda result: -result["worst"])[:10]
    rows = [[f"`{result['call']}`", result["dtype"], f"{result['worst']:.1f}"] for result in worst]
    said = (
        f"{counts['examples']:,} batches in {minutes:g} minutes for {len(results):,} pairs of a call and a dtype: "
        f"{counts['values']:,} values and {counts['gradients']:,} entries of gradients. {len(failed)} pairs fail"
        f"{': ' if failed else ''}{', '.join(failed)}. The values furthest off:"
    )
    return f"{said}\n\n{table(['call', 'inputs', 'ulp of the largest term'], rows)}"


if __name__ == "__main__":
    main()
