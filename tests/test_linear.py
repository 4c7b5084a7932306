"""The losses that hold the last layer, against the same loss of logits."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxloss

RANDOM = np.random.default_rng(0)
ROWS, FEATURES, CLASSES = 64, 4, 6
HIDDEN, KERNEL = RANDOM.normal(size=(ROWS, FEATURES)), RANDOM.normal(size=(FEATURES, CLASSES))
LABELS = RANDOM.integers(0, CLASSES, ROWS)
WHERE, WEIGHTS = RANDOM.random((4, 1)) > 0.3, RANDOM.random((4, 16))
OPTIONS: dict[str, Any] = {"class_weights": RANDOM.uniform(size=CLASSES), "label_smoothing": 0.1, "z_loss_weight": 0.01}

linear: Any = jaxloss.linear_cross_entropy
slopes = functools.partial(jax.value_and_grad, argnums=(0, 1))


def dense(hidden: jax.Array, kernel: jax.Array, labels: jax.Array, **options: Any) -> jax.Array:
    return jaxloss.cross_entropy(hidden @ kernel, labels, **options)


def assert_same(actual: Any, expected: Any) -> None:
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14), actual, expected)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("chunk_size", [1, 7, 64, 1000, None])
def test_the_chunks_do_not_show(chunk_size: int | None, reduction: str) -> None:
    assert_same(total(functools.partial(linear, chunk_size=chunk_size), reduction), total_of_dense(reduction))


def total(loss: Any, reduction: str) -> Any:
    hidden, labels = HIDDEN.reshape(4, 16, FEATURES), LABELS.reshape(4, 16)
    options = OPTIONS | {"where": WHERE, "weights": WEIGHTS, "reduction": reduction}
    return jax.jit(slopes(lambda *layer: jnp.sum(loss(*layer, labels, **options))))(hidden, KERNEL)


@functools.cache
def total_of_dense(reduction: str) -> Any:
    return total(dense, reduction)


def test_a_wide_kernel() -> None:  # whose gradient is added to by classes
    kernel, labels = RANDOM.normal(size=(FEATURES, 1536)), RANDOM.integers(0, 1536, ROWS)
    direction = RANDOM.normal(size=HIDDEN.shape)

    @functools.partial(jax.jit, static_argnums=0)
    def derivatives(loss: Any, hidden: jax.Array) -> Any:
        gradient = jax.grad(loss, argnums=(0, 1))
        forward_over_reverse = jax.jvp(lambda hidden: gradient(hidden, kernel, labels), (hidden,), (direction,))
        reverse_over_reverse = jax.grad(lambda hidden: jnp.sum(direction * gradient(hidden, kernel, labels)[0]))(hidden)
        return *forward_over_reverse, reverse_over_reverse

    assert_same(derivatives(functools.partial(linear, chunk_size=20), HIDDEN), derivatives(dense, HIDDEN))


def test_a_kernel_that_is_not_differentiated_costs_no_product() -> None:
    def products(*arguments: int) -> int:
        program = jax.jit(jax.value_and_grad(linear, argnums=arguments)).lower(HIDDEN, KERNEL, LABELS).compile()
        return (program.as_text() or "").count(" dot(")

    assert (products(0), products(1), products(0, 1)) == (2, 2, 3)


def test_a_bias_of_minus_infinity_rules_its_class_out() -> None:
    bias = np.where(np.arange(CLASSES) == 2, -np.inf, 0.0)
    labels = np.where(LABELS == 2, 3, LABELS)
    for options in ({}, {"label_smoothing": 0.1}, {"softcap": 2.0}):
        value, gradient = slopes(functools.partial(linear, bias=bias, **options))(HIDDEN, KERNEL, labels)
        kept = np.arange(CLASSES) != 2
        rest = slopes(functools.partial(linear, **options))(HIDDEN, KERNEL[:, kept], labels - (labels > 2))
        assert_same((value, gradient[0], gradient[1][:, kept]), (rest[0], *rest[1]))
        assert not gradient[1][:, 2].any()


@pytest.mark.skipif(jaxlib.version.__version_info__ < (0, 10, 2), reason="XLA fused less before jaxlib 0.10.2")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_memory_is_that_of_a_chunk(dtype: Any) -> None:
    def temporary(loss: Any) -> int:
        shapes = [jax.ShapeDtypeStruct(shape, dtype) for shape in ((1024, 64), (64, 16384))]
        labels = jax.ShapeDtypeStruct((1024,), jnp.int32)
        memory = jax.jit(slopes(loss)).lower(*shapes, labels).compile().memory_analysis()
        assert memory is not None
        return int(memory.temp_size_in_bytes)

    chunk, sums = 1024 * 16384 * 4 // 8, 64 * 16384 * 4
    # In half precision the sums are beside the gradient, and a CPU converts what it multiplies.
    converted = 0 if dtype == jnp.float32 else 3 * sums + chunk
    assert temporary(linear) <= 1.3 * chunk + converted
    # With smoothing the gradient reads the logits once more, so that the exponentials are beside them.
    every_option = functools.partial(linear, label_smoothing=0.1, z_loss_weight=0.01)
    assert temporary(every_option) <= 2.3 * chunk + converted


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(ROWS,), (16, 4)], ids=["rows", "sequences"])
@pytest.mark.parametrize(
    ("axis_type", "chunk_size"),
    # Of a mesh that is not in the type, chunks have to be what the devices divide.
    [(AxisType.Auto, 16), (AxisType.Explicit, 16), (AxisType.Explicit, 21), (AxisType.Explicit, 5)],
)
def test_chunks_of_a_sharded_batch_stay_where_they_are(
    axis_type: AxisType, chunk_size: int, shape: tuple[int, ...]
) -> None:
    mesh = jax.make_mesh((8,), ("devices",), axis_types=(axis_type,))
    hidden, labels = HIDDEN.reshape(*shape, FEATURES), LABELS.reshape(shape)
    loss = slopes(functools.partial(linear, chunk_size=chunk_size, **OPTIONS))
    with jax.set_mesh(mesh):
        split, whole = NamedSharding(mesh, P("devices")), NamedSharding(mesh, P())
        arguments = jax.device_put((hidden, KERNEL, labels), (split, whole, split))
        compiled = jax.jit(loss).lower(*arguments).compile()
        assert_same(compiled(*arguments), loss(hidden, KERNEL, labels))
    assert "all-gather" not in str(compiled.as_text())


@pytest.mark.slow
def test_shard_map_sums_the_gradient_over_devices_once() -> None:
    mesh = jax.make_mesh((8,), ("devices",))

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P("devices"), P(), P("devices")), out_specs=P())
    def loss(hidden: Any, kernel: Any, labels: Any) -> Any:
        part = jaxloss.partial_mean(linear)(hidden, kernel, labels, chunk_size=2)
        return jax.lax.psum(part, "devices").value

    with jax.set_mesh(mesh):
        program = jax.jit(slopes(loss))
        split, whole = NamedSharding(mesh, P("devices")), NamedSharding(mesh, P())
        arguments = jax.device_put((HIDDEN, KERNEL, LABELS), (split, whole, split))
        assert_same(program(*arguments), slopes(dense)(HIDDEN, KERNEL, LABELS))
        text = str(jax.make_jaxpr(slopes(loss))(*arguments))
    loop = text[text.index("= scan[") :]
    assert "psum" not in loop[: loop.index("\n    ]")]


def test_errors() -> None:
    wrong: dict[str, dict[str, Any]] = {
        "kernel must have shape (4, 4), for the features of hidden, got (6, 4): use kernel.T": {"kernel": KERNEL.T},
        "bias must have shape (6,), one entry per class, got (4,)": {"bias": np.ones(4)},
        "softcap must be a scalar, got shape (6,)": {"softcap": np.ones(6)},
        "chunk_size must be at least 1, got 0": {"chunk_size": 0},
        "labels must have shape (64, 6), for hidden and kernel, got (64, 4)": {"labels": HIDDEN},
    }
    for message, arguments in wrong.items():
        with pytest.raises(ValueError, match="linear_cross_entropy") as error:
            linear(**{"hidden": HIDDEN, "kernel": KERNEL, "labels": LABELS} | arguments)
        assert str(error.value) == f"linear_cross_entropy: {message}"
