"""Compile every loss for a TPU v5e and write what its compiler says of them to runs/tpu.json: `make tpu`.

It needs the package libtpu, and no TPU: the compiler works on any machine. Nothing is run, so there are no times.
"""

import importlib.metadata
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from catalogue import CATALOGUE, Call
from jax.experimental import topologies

from .cases import COMPARISONS
from .pages import RUNS, written

TOPOLOGY = "v5e:2x2"  # the smallest there is a description of; programs are compiled for one of its chips
BATCH = 4096

Sizes = dict[str, int]


def main() -> None:
    """Compiles, prints and writes."""
    chip = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGY).devices[0]
    on_chip = jax.sharding.SingleDeviceSharding(chip)
    results = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "topology": TOPOLOGY,
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "libtpu", "optax")},
        "cases": beside_optax(on_chip),
        "batch": BATCH,
        "calls": [{"call": call.name, **catalogued(call, on_chip)} for call in CATALOGUE],
    }
    written(RUNS / "tpu.json", json.dumps(results, indent=1) + "\n")


def beside_optax(sharding: jax.sharding.Sharding) -> list[dict[str, Any]]:
    """What jaxloss and optax need for the value and gradients of each comparison, at its two largest shapes."""
    cases = []
    for comparison in COMPARISONS:
        for shape in comparison.shapes[-2:]:
            needs = {
                candidate.name: sizes(candidate.value_and_grad, candidate.inputs, sharding)
                for candidate in comparison.candidates(shape)
                if candidate.name.startswith(("jaxloss", "optax"))
            }
            print(comparison.group, comparison.variant, shape, needs, flush=True)
            cases.append(
                {"group": comparison.group, "variant": comparison.variant, "shape": list(shape), "needs": needs}
            )
    return cases


def catalogued(call: Call, sharding: jax.sharding.Sharding) -> Sizes:
    """What a line of the catalogue needs, with the gradients of all its floating inputs."""
    inputs = call.inputs((BATCH,))
    floating = [i for i, x in enumerate(inputs) if jnp.issubdtype(jax.tree.leaves(x)[0].dtype, jnp.floating)]
    function = jax.value_and_grad(partial(call.loss, **call.options), argnums=tuple(floating))
    needs = sizes(function, inputs, sharding)
    print(call.name, needs, flush=True)
    return needs


def sizes(function: Callable[..., Any], inputs: tuple[Any, ...], sharding: jax.sharding.Sharding) -> Sizes:
    """Bytes: between inputs and outputs, moved to and from memory, and of inputs and outputs themselves."""

    def abstract(array: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, jax.dtypes.canonicalize_dtype(array.dtype), sharding=sharding)

    compiled: Any = jax.jit(function).lower(*jax.tree.map(abstract, inputs)).compile()
    memory = compiled.memory_analysis()
    return {
        "temporary": int(memory.temp_size_in_bytes),
        "accessed": int(compiled.cost_analysis()["bytes accessed"]),
        "inputs_and_outputs": int(memory.argument_size_in_bytes + memory.output_size_in_bytes),
    }


if __name__ == "__main__":
    main()
