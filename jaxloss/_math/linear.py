"""The cross-entropy of the logits of a linear layer, which are computed for one chunk of rows at a time.

The arguments `rows` and `layer` are arrays by name. The rows have `hidden`, `labels`, `weights`, and `where` if not all
of them count. The layer has `kernel`, and also `bias`, `softcap`, `class_weights`, `label_smoothing` and
`z_loss_weight` if they are given.
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from .arithmetic import finite, masked
from .chunks import Chunks, chunk_of, joined
from .cross_entropy import Rows, cross_entropy_of_rows, shielded_rows
from .dtypes import widened
from .passes import matmul, transposed_matmul, with_added_product
from .shardings import varying_alike


def linear_cross_entropies(
    chunks: Chunks, precision: jax.lax.PrecisionLike, rows: dict[str, Array], layer: dict[str, Array]
) -> Array:
    """The loss of each row. The gradient computes the logits a second time."""

    @jax.checkpoint
    def of_chunk(index: Array) -> Array:
        chunk = {name: chunk_of(array, chunks, index) for name, array in rows.items()}
        return _cross_entropies_of_chunk(matmul(chunk["hidden"], layer["kernel"], precision), chunk, layer)

    return joined(jax.lax.map(of_chunk, jnp.arange(chunks.number)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def total_linear_cross_entropy(
    chunks: Chunks, precision: jax.lax.PrecisionLike, rows: dict[str, Array], layer: dict[str, Array]
) -> Array:
    """The sum of the losses of all rows."""
    return jnp.sum(linear_cross_entropies(chunks, precision, rows, layer))


def _total_linear_cross_entropy_jvp(
    chunks: Chunks,
    precision: jax.lax.PrecisionLike,
    primals: tuple[dict[str, Array], dict[str, Array]],
    tangents: tuple[dict[str, Array | SymbolicZero], dict[str, Array | SymbolicZero]],
) -> tuple[Array, Array]:
    """The sum, and the product of its gradient with the tangents.

    The gradient of a sum does not depend on later operations, so it is computed together with the sum, while the logits
    of a chunk exist. In reverse mode JAX only transposes the product with the tangents, which is a multiplication.
    """
    # The gradients of the layer are then summed over the devices once, after the loop over the chunks.
    rows, layer = varying_alike(primals)
    row_tangents, layer_tangents = (
        {name: tangent for name, tangent in tree.items() if not isinstance(tangent, SymbolicZero)} for tree in tangents
    )

    def step(sums: dict[str, Array], index: Array) -> tuple[dict[str, Array], tuple[Array, dict[str, Array]]]:
        chunk = {name: chunk_of(array, chunks, index) for name, array in rows.items()}
        hidden, kernel = chunk["hidden"], layer["kernel"]

        def total(logits: Array, some_rows: dict[str, Array], some_layer: dict[str, Array]) -> Array:
            return jnp.sum(_cross_entropies_of_chunk(logits, chunk | some_rows, layer | some_layer))

        value, (slopes, by_row, by_layer) = jax.value_and_grad(total, argnums=(0, 1, 2))(
            matmul(hidden, kernel, precision),
            {name: chunk[name] for name in row_tangents if name != "hidden"},
            {name: layer[name] for name in layer_tangents if name != "kernel"},
        )
        sums = sums | {name: sums[name] + slope for name, slope in by_layer.items()}
        if "hidden" in row_tangents:
            by_row["hidden"] = transposed_matmul(lambda hidden: matmul(hidden, kernel, precision), hidden, slopes)
        if "kernel" in layer_tangents:
            sums["kernel"] = with_added_product(sums["kernel"], hidden, kernel, slopes, precision)
        return sums, (value, by_row)

    start = {name: jnp.zeros_like(widened(layer[name])) for name in layer_tangents}
    by_layer, (values, by_row) = jax.lax.scan(step, start, jnp.arange(chunks.number))
    slopes = {name: joined(slope) for name, slope in by_row.items()} | by_layer
    tangent = jnp.zeros((), values.dtype)
    for name, input_tangent in (row_tangents | layer_tangents).items():
        tangent = tangent + jnp.sum(widened(slopes[name]) * widened(input_tangent))
    return jnp.sum(values), tangent


total_linear_cross_entropy.defjvp(_total_linear_cross_entropy_jvp, symbolic_zeros=True)


def _cross_entropies_of_chunk(logits: Array, rows: dict[str, Array], layer: dict[str, Array]) -> Array:
    """The weighted loss of each row of a chunk, from its logits before bias and softcap."""
    labels, where = rows["labels"], rows.get("where")
    if "bias" in layer:
        logits = logits + layer["bias"][None]
    if "softcap" in layer:
        scores, ruled_out = finite(logits)
        logits = jnp.where(ruled_out, -jnp.inf, layer["softcap"] * jnp.tanh(scores / layer["softcap"]))
    some_rows = shielded_rows(logits, labels)
    if labels.ndim == 2:
        shielded = labels if where is None else jnp.where(where[:, None], labels, 1)
        some_rows = Rows(logits, logits, widened(shielded), labels, where)
    options = {name: layer[name] for name in ("class_weights", "label_smoothing", "z_loss_weight") if name in layer}
    values, _ = cross_entropy_of_rows(some_rows, scatter=False, **options)
    return rows["weights"] * masked(values, where)
