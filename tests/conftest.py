"""Every test runs under JAX's strictest settings, on eight virtual devices."""

import gc
import os
from collections.abc import Iterator
from typing import Any

import jax
import pytest

# Most programs here run once: compiling them fast takes half the time of making them fast.
FAST = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
]
if jax.__version_info__ < (0, 11):  # a flag that has gone ends the process
    FAST.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FAST))
jax.config.update("jax_num_cpu_devices", 8)
# Tracing makes many objects that live long: collected less often, the tests take 6% less time.
gc.set_threshold(50_000, 20, 100)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        slow = [item for item in items if "slow" in item.keywords]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from scheduling import scheduler  # it needs pytest-xdist, and the tests do not

    return scheduler(config, log)


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """Double precision to compare with, and no implicit promotion: the library must say what it means."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
