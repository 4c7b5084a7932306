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
from jaxloss._math import (
    chunks,
    class_chunks,
    labels,
    linear,
    one_pass,
    one_pass_of_vectors,
    passes,
    several_passes,
)

ROWS, CLASSES = 64, 4096
LOGITS = ROWS * CLASSES * 4
LABELS = jax.ShapeDtypeStruct((ROWS,), np.int32)
HIDDEN, KERNEL = jax.ShapeDtypeStruct((1024, 64), np.float32), jax.ShapeDtypeStruct((64, 16384), np.float32)


def smoothed(logits: Any, labels: Any) -> Any:
    options: dict[str, Any] = {"label_smoothing": 0.1, "class_weights": np.ones(CLASSES, np.float32)}
    return jaxloss.cross_entropy(logits, labels, **options)


PROBABILITIES = jax.ShapeDtypeStruct((ROWS, CLASSES), np.float32)


def by_comparison(logits: Any, limits: Any) -> Any:
    return jnp.where(logits == -jnp.inf, 0, limits.one)


def up_to_by_comparison(limits: Any, limit: Any, terms: Any, factor: Any) -> Any:
    return jnp.where(terms > limit[..., None], 0, factor)


# What a CPU has of its own and what it would have without it: where, a loss that needs it, the logits' dtype, labels.
CHOICES: dict[str, tuple[Any, Any, Callable[..., Any], Any, Any]] = {
    "gathered": (passes, labels.selected, jaxloss.cross_entropy, jnp.bfloat16, LABELS),
    "optimization_barrier": (jax.lax, lambda operands: operands, smoothed, np.float32, LABELS),
    "_exists": (several_passes, by_comparison, smoothed, jnp.bfloat16, LABELS),
    "_product_up_to": (several_passes, up_to_by_comparison, jaxloss.cross_entropy, np.float32, PROBABILITIES),
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
def test_without_the_choice_the_cpu_holds_an_array_like_the_logits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, instead, loss, dtype, targets = CHOICES[name]
    logits = jax.ShapeDtypeStruct((ROWS, CLASSES), dtype)
    usual = temporary(loss, logits, targets)
    monkeypatch.setattr(module, name, instead)
    jax.clear_caches()
    assert temporary(loss, logits, targets) > usual + 0.4 * LOGITS


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


# --- one pass and several find the same -------------------------------------------------------------------------------

EDGES = np.array(
    [
        [20.0, 0.0, -1.0, 3.0, 0.5],
        [1.0, 1.0, 1.0, -np.inf, 0.0],
        [-np.inf, -np.inf, 2.0, -np.inf, -np.inf],
        [-np.inf] * 5,
        [3e38, -3e38, 0.0, 3e38, 1.0],
        [-0.0, 0.0, 1e-30, 1e-45, -1e-20],
    ],
    np.float32,
)
TARGETS = np.array([0.5, 0.25, 0.0, 0.25, 1.0], np.float32)


def test_one_pass_finds_what_several_find() -> None:
    sets = ((np.broadcast_to(TARGETS, EDGES.shape),), (np.float32(0.1) * np.ones((1, 1), np.float32),))
    one, several = (
        module.row_sums(jnp.asarray(EDGES), np.array([0, 1, 2, 3, 4, 0], np.int32), sets, None)
        for module in (one_pass, several_passes)
    )
    np.testing.assert_array_equal(one.top, several.top)
    np.testing.assert_array_equal(one.classes, several.classes)
    for found, expected in zip(one.targets, several.targets, strict=True):
        for name in ("below", "targets", "missing"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6, err_msg=name)
    exponentials = np.exp(EDGES.astype(np.float64) - np.asarray(one.top)[:, None])
    np.testing.assert_allclose(np.asarray(one.rest), exponentials.sum(axis=-1) - 1, rtol=1e-6)
    np.testing.assert_array_equal(one.score, [20, 1, 2, -np.inf, 1, 0])


def test_parts_may_be_merged_in_any_order() -> None:
    values = [np.nan, -np.inf, np.inf, 3e38, -3e38, 0.0, 1.5]
    rows = jnp.asarray([(x, y, z) for x in values for y in values for z in values], jnp.float32)
    targets = jnp.broadcast_to(jnp.asarray([0.5, 0.0, 2.0], jnp.float32), rows.shape)
    one, two, three = (one_pass.row_parts(rows[:, i : i + 1], None, [targets[:, i : i + 1]]) for i in range(3))
    nothing = one_pass.nothing_of(one, one.top.shape)
    left = one_pass.merged(one_pass.merged(one, two), three)
    for other in (
        one_pass.merged(one, one_pass.merged(two, three)),
        one_pass.merged(three, one_pass.merged(two, one)),
        one_pass.merged(nothing, left),
        one_pass.merged(left, nothing),
    ):
        finite = ~np.isnan(rows).any(axis=-1) & ~np.isinf(left.rest)
        found, expected = (one_pass.sums_of(parts) for parts in (other, left))
        assert (np.isnan(other.rest) | np.isnan(other.top))[np.isnan(rows).any(axis=-1)].all()
        ties = np.sort(rows, axis=-1)[:, -1] == np.sort(rows, axis=-1)[:, -2]  # which of them leads is not said
        for name in ("top", "rest", "classes"):
            some, same = (np.asarray(getattr(sums, name))[finite] for sums in (found, expected))
            np.testing.assert_allclose(some, same, rtol=1e-6, err_msg=name)
        for name in ("targets", "missing"):
            some, same = (np.asarray(getattr(sums.targets[0], name))[finite] for sums in (found, expected))
            np.testing.assert_allclose(some, same, rtol=1e-6, err_msg=name)
        some, same = (np.asarray(sums.targets[0].others)[finite & ~ties] for sums in (found, expected))
        np.testing.assert_allclose(some, same, rtol=1e-6)


VECTORS = np.array(
    [[3.0, 4.0, 0.0], [1e-30, 2e-30, -1e-30], [3e38, 3e38, -1e38], [0.0, 0.0, 0.0], [1.0, 1e-4, 0.0]], np.float32
)


def assert_alike(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("exponent", [2, 3.5])
def test_one_pass_finds_the_lengths_that_several_find(exponent: float) -> None:
    vectors = [jnp.asarray(VECTORS), jnp.asarray(VECTORS[::-1])]
    for one, several in zip(
        one_pass_of_vectors.scaled_powers(vectors, exponent),
        several_passes.scaled_powers(vectors, exponent),
        strict=True,
    ):
        lengths = [
            np.where(scale > 0, scale * np.asarray(powers) ** (1 / exponent), 0) for scale, powers in (one, several)
        ]
        assert_alike(*lengths)


def test_one_pass_finds_the_angles_that_several_find() -> None:
    others = jnp.asarray(np.roll(VECTORS, 1, axis=-1) / 4 + np.float32(0.5) * VECTORS[::-1])
    one, several = (module.directions(jnp.asarray(VECTORS), others) for module in (one_pass_of_vectors, several_passes))
    for found, expected in ((one.first, several.first), (one.second, several.second)):
        assert_alike(*(np.where(s > 0, s * np.sqrt(p), 0) for s, p in (found, expected)))
    whole = np.asarray((several.first[0] > 0) & (several.second[0] > 0) & (np.abs(VECTORS).max(axis=-1) > 0))
    np.testing.assert_allclose(one.gap[whole], several.gap[whole], rtol=1e-5, atol=1e-12)
    products = [np.prod([np.float64(x) for x in (s.product, s.first[0], s.second[0])], axis=0) for s in (one, several)]
    assert_alike(*products)


def test_one_pass_finds_the_largest_and_its_ties() -> None:
    zeros = jnp.zeros_like(EDGES)
    one, several = (module.largest(jnp.asarray(EDGES), zeros) for module in (one_pass, several_passes))
    np.testing.assert_array_equal(one.score, several.score)
    np.testing.assert_array_equal(one.ties, several.ties)


# --- chunks of classes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("options", [(), ("bias", "class_weights", "label_smoothing", "z_loss_weight", "softcap")])
def test_chunks_of_classes_give_what_chunks_of_rows_give(
    soft: bool, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "_ACCELERATOR_EVERYWHERE", True)
    monkeypatch.setattr(class_chunks, "_number_and_width", lambda rows, classes: (3, 2))  # and one class is left
    jax.clear_caches()
    random = np.random.default_rng(0)
    rows = {"hidden": random.normal(size=(6, 4)), "weights": random.uniform(size=6), "where": np.arange(6) != 2}
    rows["labels"] = random.dirichlet(np.ones(7), size=6) if soft else np.array([0, 6, 3, 5, 6, 1], np.int32)
    given = {
        "bias": np.where(np.arange(7) == 4, -np.inf, random.normal(size=7)),
        "class_weights": random.uniform(0.5, 2, size=(1, 7)),
        "label_smoothing": np.array(0.1),
        "z_loss_weight": np.array(0.01),
        "softcap": np.array(3.0),
    }
    layer = {"kernel": random.normal(size=(4, 7))} | {name: given[name] for name in options}
    rows, layer = jax.tree.map(jnp.asarray, (rows, layer))
    if soft and "bias" in options:
        rows["labels"] = rows["labels"].at[:, 4].set(0)
    names = ("hidden", "kernel", "weights", *(["bias"] if "bias" in options else []))
    expected = linear._gradient(chunks.Chunks(6, 1, 1), None, names, rows, layer)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12),
        class_chunks.gradient_by_classes(None, names, rows, layer),
        expected,
    )
    np.testing.assert_allclose(class_chunks.total_by_classes(None, rows, layer), expected[0], rtol=1e-12)
