"""Compile every loss for an H100 and a TPU v5e, and write what that says to runs/compiled.json: `make compiled`.

It needs neither. Nothing is run, so there are no times but the least that memory and products allow.
"""

import argparse
import importlib.metadata
import json
from datetime import UTC, datetime
from typing import Any

import jax

from ..pages import RUNS, written
from . import report
from .chips import CHIPS, Chip
from .programs import Program, programs
from .traffic import traffic_of


def main() -> None:
    """Compiles, prints, writes, and fills the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only calls that have this in their name; the page stays as it is")
    parser.add_argument("--chip", default="", help="only chips that have this in their name; likewise")
    options = parser.parse_args()
    cases = []
    for chip in (chip for chip in CHIPS.values() if options.chip in chip.name):
        sharding = chip.sharding()
        for program in (program for program in programs() if options.only in program.loss):
            case = {"chip": chip.name, **needs(program, chip, sharding)}
            print(json.dumps(case), flush=True)
            cases.append(case)
    packages = ("jax", "jaxlib", "jax-cuda12-plugin", "libtpu", "optax", "keras")
    results = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "cases": cases,
    }
    if not (options.only or options.chip):
        written(RUNS / "compiled.json", json.dumps(results, indent=1) + "\n")
        report.write(results)


def needs(program: Program, chip: Chip, sharding: jax.sharding.Sharding) -> dict[str, Any]:
    """What a program needs on a chip."""
    arguments = [
        jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
        for shape, dtype in zip(program.shapes, program.dtypes, strict=True)
    ]
    compiled: Any = jax.jit(program.function).lower(*arguments).compile()
    traffic = traffic_of(compiled.as_text())
    return {
        "call": program.loss,
        "library": program.library,
        "dtype": program.dtype,
        "shape": list(program.shapes[0]),
        "kernels": traffic.kernels,
        "moved": traffic.moved,
        "inputs": program.bytes_of_inputs,
        "temporary": int(compiled.memory_analysis().temp_size_in_bytes),
        "flops": traffic.flops,
        "products": dict(traffic.products),
        "seconds": chip.seconds(traffic),
    }


if __name__ == "__main__":
    main()
