"""What is chosen by platform: each choice saves memory on the CPU, and the accelerators' branches compute the same."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest

import jaxloss
from jaxloss._math import passes

ROWS, CLASSES = 64, 4096
LOGITS = ROWS * CLASSES * 4
LABELS = jax.ShapeDtypeStruct((ROWS,), np.int32)
HIDDEN, KERNEL = jax.ShapeDtypeStruct((1024, 64), np.float32), jax.ShapeDtypeStruct((64, 16384), np.float32)


def smoothed(logits: Any, labels: Any) -> Any:
    options: dict[str, Any] = {"label_smoothing": 0.1, "class_weights": np.ones(CLASSES, np.float32)}
    return jaxloss.cross_entropy(logits, labels, **options)


# By the name of the CPU's branch: a loss that needs it, the dtype of the logits, and labels.
PROBABILITIES = jax.ShapeDtypeStruct((ROWS, CLASSES), np.float32)
CHOICES: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "_gathered": (jaxloss.cross_entropy, jnp.bfloat16, LABELS),
    "optimization_barrier": (smoothed, np.float32, LABELS),
    "_exists_by_arithmetic": (smoothed, jnp.bfloat16, LABELS),
    "_is_at_most_by_arithmetic": (jaxloss.cross_entropy, np.float32, PROBABILITIES),
}


def temporary(loss: Callable[..., Any], *arguments: Any, argnums: Any = 0) -> int:
    memory = jax.jit(jax.value_and_grad(loss, argnums=argnums)).lower(*arguments).compile().memory_analysis()
    assert memory is not None
    return int(memory.temp_size_in_bytes)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Takes the accelerators' branch in the place of one of the CPU's."""
    chosen = passes.by_platform

    def apply(name: str) -> None:
        def by_platform(*operands: Any, cpu: Callable[..., Any], accelerator: Callable[..., Any]) -> Any:
            return (
                accelerator(*operands) if cpu.__name__ == name else chosen(*operands, cpu=cpu, accelerator=accelerator)
            )

        monkeypatch.setattr(passes, "by_platform", by_platform)
        jax.clear_caches()

    return apply


fused = pytest.mark.skipif(jaxlib.version.__version_info__ < (0, 10, 2), reason="XLA fused less before jaxlib 0.10.2")


@fused
@pytest.mark.slow
@pytest.mark.parametrize("name", CHOICES)
def test_without_the_choice_the_cpu_holds_an_array_like_the_logits(name: str, without: Callable[[str], None]) -> None:
    loss, dtype, labels = CHOICES[name]
    logits = jax.ShapeDtypeStruct((ROWS, CLASSES), dtype)
    usual = temporary(loss, logits, labels)
    without(name)
    assert temporary(loss, logits, labels) > usual + 0.4 * LOGITS


@fused
@pytest.mark.slow
def test_without_the_choice_the_cpu_holds_a_product_like_the_kernel(without: Callable[[str], None]) -> None:
    arguments = HIDDEN, KERNEL, jax.ShapeDtypeStruct((1024,), np.int32)
    size = 64 * 16384 * 4
    usual = temporary(jaxloss.linear_cross_entropy, *arguments, argnums=(0, 1))
    without("by_classes")
    assert temporary(jaxloss.linear_cross_entropy, *arguments, argnums=(0, 1)) > usual + 0.4 * size


PROGRAM = """
import jax, numpy as np, jaxloss
logits, labels = np.sin(np.arange(35.0)).reshape(5, 7), np.array([0, 2, 4, 6, 1])
logits[0, 3] = -np.inf
loss = lambda logits: jaxloss.cross_entropy(logits, labels, label_smoothing=0.1, class_weights=np.arange(1.0, 8))
chosen, result = str(jax.make_jaxpr(loss)(logits)).count("platform_index"), jax.jit(jax.value_and_grad(loss))(logits)
"""


def test_a_switch_runs_the_accelerators_branches_on_a_cpu() -> None:
    names: dict[str, Any] = {}
    exec(PROGRAM, names)
    assert names["chosen"] > 0
    switched = subprocess.run(
        [sys.executable, "-c", f"{PROGRAM}print(chosen, result)"],
        env=os.environ | {"JAXLOSS_PASSES": "accelerator", "JAX_ENABLE_X64": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert switched.stdout.strip() == f"0 {names['result']}"
