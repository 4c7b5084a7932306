"""The libraries that jaxloss is measured beside: each where it imports, and a reason where it does not."""

import importlib
import importlib.metadata
import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is imported


MODULES = {
    "optax": "optax",
    "Keras": "keras",
    "torch": "torch",
    # Not its public function, which cannot set the size of the blocks: see where it is called.
    "tokamax": "tokamax._src.ops.linear_softmax_cross_entropy_loss.chunked_xla",
    "jax-cce": "jax_cce",
}
ABSENT: dict[str, str] = {}


def _module(name: str) -> Any:
    try:
        return importlib.import_module(MODULES[name])
    except ImportError as error:
        ABSENT[name] = str(error)
        return None


optax, keras, torch, tokamax, jax_cce = map(_module, MODULES)


def present(candidate: str) -> bool:
    """Whether the library of a candidate, the first word of its name, is here."""
    return candidate.split()[0] not in ABSENT


def versions() -> dict[str, str]:
    """The version of everything that takes part."""
    names = ["jax", "jaxlib", "numpy", *(name for name in MODULES if present(name))]
    return {name: importlib.metadata.version(name) for name in names}
