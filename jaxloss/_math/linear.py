"""The cross-entropy of the logits of a linear layer, which are computed for one chunk of rows at a time.

The arguments `rows` and `layer` are those of `layers`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from .arithmetic import masked
from .chunks import Chunks, chunk_of, joined, padded, tiles_are_small, tiles_of
from .class_chunks import BY_CLASSES, gradient_by_classes, total_by_classes
from .cross_entropy import cross_entropy_of_rows
from .dtypes import widened
from .layers import Arrays, by_hidden, by_kernel, logits_of, matmul, options_of, rows_of
from .passes import on_accelerators, with_added_product
from .shardings import varying_alike


def linear_cross_entropies(chunks: Chunks, precision: jax.lax.PrecisionLike, rows: Arrays, layer: Arrays) -> Array:
    """The loss of each row. The gradient computes the logits a second time."""

    @jax.checkpoint
    def of_chunk(index: Array) -> Array:
        chunk = {name: chunk_of(array, chunks, index) for name, array in rows.items()}
        return _cross_entropies_of_chunk(matmul(chunk["hidden"], layer["kernel"], precision), chunk, layer)

    return joined(jax.lax.map(of_chunk, jnp.arange(chunks.number)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def total_linear_cross_entropy(chunks: Chunks, precision: jax.lax.PrecisionLike, rows: Arrays, layer: Arrays) -> Array:
    """The sum of the losses of all rows."""
    total = jnp.sum(linear_cross_entropies(chunks, precision, rows, layer))
    if not chunks.free:
        return total
    return on_accelerators(total, functools.partial(total_by_classes, precision), rows, layer)


def _total_linear_cross_entropy_jvp(
    chunks: Chunks,
    precision: jax.lax.PrecisionLike,
    primals: tuple[Arrays, Arrays],
    tangents: tuple[dict[str, Array | SymbolicZero], dict[str, Array | SymbolicZero]],
) -> tuple[Array, Array]:
    """The sum, and the product of its gradient with the tangents.

    The gradient of a sum does not depend on later operations, so it is computed together with the sum, while the logits
    of a chunk exist. In reverse mode JAX only transposes the product with the tangents, which is a multiplication.
    """
    # The gradients of the layer are then summed over the devices once, after the loop over the chunks.
    rows, layer = varying_alike(primals)
    moved = {
        name: tangent for tree in tangents for name, tangent in tree.items() if not isinstance(tangent, SymbolicZero)
    }
    names = tuple(moved)
    total, slopes = _gradient(chunks, precision, names, rows, layer)
    if chunks.free:
        anew = functools.partial(_gradient_on_accelerator, precision, names)
        total, slopes = on_accelerators((total, slopes), anew, rows, layer)
    tangent = jnp.zeros((), total.dtype)
    for name, input_tangent in moved.items():
        tangent = tangent + jnp.sum(widened(slopes[name]) * widened(input_tangent))
    return total, tangent


total_linear_cross_entropy.defjvp(_total_linear_cross_entropy_jvp, symbolic_zeros=True)


def _gradient(
    chunks: Chunks, precision: jax.lax.PrecisionLike, names: tuple[str, ...], rows: Arrays, layer: Arrays
) -> tuple[Array, Arrays]:
    """The sum, and its derivatives with respect to some arrays of the rows and the layer."""
    row_names, layer_names = ([name for name in names if name in tree] for tree in (rows, layer))

    def step(sums: Arrays, index: Array) -> tuple[Arrays, tuple[Array, Arrays]]:
        chunk = {name: chunk_of(array, chunks, index) for name, array in rows.items()}
        hidden, kernel = chunk["hidden"], layer["kernel"]

        def total(products: Array, some_rows: Arrays, some_layer: Arrays) -> Array:
            return jnp.sum(_cross_entropies_of_chunk(products, chunk | some_rows, layer | some_layer))

        value, (by_products, by_row, by_layer) = jax.value_and_grad(total, argnums=(0, 1, 2))(
            matmul(hidden, kernel, precision),
            {name: chunk[name] for name in row_names if name != "hidden"},
            {name: layer[name] for name in layer_names if name != "kernel"},
        )
        sums = sums | {name: sums[name] + slope for name, slope in by_layer.items()}
        if "hidden" in names:
            by_row["hidden"] = by_hidden(by_products, hidden, kernel, precision)
        if "kernel" in names:

            def product(kernel: Array, slopes: Array) -> Array:
                return by_kernel(slopes, hidden, kernel, precision)

            sums["kernel"] = with_added_product(sums["kernel"], kernel, by_products, product)
        return sums, (value, by_row)

    start = {name: jnp.zeros_like(widened(layer[name])) for name in layer_names}
    by_layer, (values, by_row) = jax.lax.scan(step, start, jnp.arange(chunks.number))
    return jnp.sum(values), {name: joined(slope) for name, slope in by_row.items()} | by_layer


def _gradient_on_accelerator(
    precision: jax.lax.PrecisionLike, names: tuple[str, ...], rows: Arrays, layer: Arrays
) -> tuple[Array, Arrays]:
    """The same, by few chunks of many rows where the sums of the kernel's gradient are small beside the logits."""
    features, length = layer["kernel"].shape[0], rows["hidden"].shape[0]
    tiles = tiles_of(length)
    if BY_CLASSES.issuperset(names) and not tiles_are_small(length, features):
        total, slopes = gradient_by_classes(precision, names, rows, layer)
    else:
        total, slopes = _gradient(tiles, precision, names, padded(rows, tiles), layer)
    sizes = {name: rows[name] if name in rows else layer[name] for name in names}
    return total, {name: slopes[name][: len(like)] if like.ndim else slopes[name] for name, like in sizes.items()}


def _cross_entropies_of_chunk(products: Array, rows: Arrays, layer: Arrays) -> Array:
    """The weighted loss of each row of a chunk, from the products of its hidden and the kernel."""
    chunk = rows_of(logits_of(products, layer), rows)
    values, _ = cross_entropy_of_rows(chunk, scatter=False, **options_of(layer))
    return rows["weights"] * masked(values, rows.get("where"))
