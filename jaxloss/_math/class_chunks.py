"""The cross-entropy of a linear layer by chunks of classes, for accelerators that hold few rows.

By chunks of rows, the sums of the kernel's gradient go through memory once a chunk. By chunks of classes each part of
that gradient is written once, and the logits are computed twice.

The arguments `rows` and `layer` are those of `layers`. What comes out has no derivatives of its own.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from . import one_pass
from .arithmetic import masked
from .cross_entropy import cross_entropy_of_sums, target_sets
from .dtypes import widened
from .layers import Arrays, by_hidden, by_kernel, logits_of, matmul, options_of, rows_of
from .passes import at_labels
from .row_sums import RowSums, product
from .softmax import weights_of_labels

# With respect to what a gradient is computed here.
BY_CLASSES = frozenset(("hidden", "kernel", "bias", "weights"))
_PER_CLASS = frozenset(("kernel", "bias", "class_weights"))


def total_by_classes(precision: jax.lax.PrecisionLike, rows: Arrays, layer: Arrays) -> Array:
    """The sum of the losses of all rows."""
    rows = _with_label_weights(rows, layer)
    return jnp.sum(_values(_sums(precision, rows, layer), rows, layer))


def gradient_by_classes(
    precision: jax.lax.PrecisionLike, names: tuple[str, ...], rows: Arrays, layer: Arrays
) -> tuple[Array, Arrays]:
    """The sum of the losses, and its derivatives with respect to some of the hidden, kernel, bias and weights."""
    rows = _with_label_weights(rows, layer)
    sums = _sums(precision, rows, layer)
    total, by_weights = jax.value_and_grad(lambda weights: jnp.sum(_values(sums, rows | {"weights": weights}, layer)))(
        rows["weights"]
    )
    slopes = {
        "hidden": jnp.zeros(rows["hidden"].shape, rows["weights"].dtype),
        "kernel": jnp.zeros_like(layer["kernel"]),
        "bias": jnp.zeros_like(layer["bias"]) if "bias" in layer else None,
    }
    slopes = {name: slope for name, slope in slopes.items() if name in names}

    def add(slopes: Arrays, start: Array, width: int) -> Arrays:
        some_rows, some_layer = _chunk(rows, layer, start, width)
        # What does not change from chunk to chunk XLA would spread over the classes once, and hold.
        some_sums, weights = jax.tree.map(lambda array: array + _zero_of(start, array), (sums, rows["weights"]))
        some_rows = some_rows | {"weights": weights}

        def of_products(products: Array, bias: Array | None) -> Array:
            some = some_layer if bias is None else some_layer | {"bias": bias}
            return jnp.sum(_losses(logits_of(products, some), some_sums, some_rows, layer, some))

        products = matmul(rows["hidden"], some_layer["kernel"], precision)
        by_products, by_bias = jax.grad(of_products, argnums=(0, 1))(products, some_layer.get("bias"))
        parts = {}
        if "hidden" in slopes:
            added = by_hidden(by_products, rows["hidden"], some_layer["kernel"], precision)
            slopes = slopes | {"hidden": slopes["hidden"] + added}
        if "kernel" in slopes:
            parts["kernel"] = by_kernel(by_products, rows["hidden"], some_layer["kernel"], precision)
        if "bias" in slopes:
            parts["bias"] = by_bias
        return slopes | {name: _put(slopes[name], part, start) for name, part in parts.items()}

    slopes = _over_chunks(add, slopes, rows, layer)
    return total, slopes | ({"weights": by_weights} if "weights" in names else {})


def _with_label_weights(rows: Arrays, layer: Arrays) -> Arrays:
    """The rows with the weight of each one's label, if that is one class out of all."""
    if rows["labels"].ndim == 2 or "class_weights" not in layer:
        return rows
    return rows | {"label_weights": at_labels(layer["class_weights"], rows["labels"])}


def _put(slopes: Array, part: Array, start: Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(slopes, part.astype(slopes.dtype), start, slopes.ndim - 1)


# --- chunks -----------------------------------------------------------------------------------------------------------


def _over_chunks(step: Any, carry: Any, rows: Arrays, layer: Arrays) -> Any:
    """A step for each chunk, and one for the classes that are left over."""
    classes = layer["kernel"].shape[-1]
    number, width = _number_and_width(rows["hidden"].shape[0], classes)

    def next_chunk(carried: tuple[Any, Array], _: None) -> tuple[tuple[Any, Array], None]:
        carry, start = carried
        return (step(carry, start, width), start + width), None

    # Where the last chunk starts the loop says, so that XLA does not begin with it before and hold both.
    (carry, start), _ = jax.lax.scan(next_chunk, (carry, jnp.array(0)), length=number)
    left = classes - number * width
    return step(carry, start, left) if left else carry


def _number_and_width(rows: int, classes: int) -> tuple[int, int]:
    # A twentieth of the classes needs a twentieth of the memory for logits, and the sums of the hidden's gradient still
    # go through memory less often than they. Less than 64 MB of logits is not divided.
    wanted = min(20, max(rows * classes * 6 >> 26, 1))
    width = min(-(-classes // wanted // 128) * 128, classes)
    return classes // width, width


def _zero_of(start: Array, like: Array) -> Array:
    """A 0 that XLA takes for a number that changes from chunk to chunk."""
    return jnp.minimum(start, 0).astype(like.dtype)


def _chunk(rows: Arrays, layer: Arrays, start: Array, width: int) -> tuple[Arrays, Arrays]:
    """The rows with the labels of a chunk of classes, and the chunk of the layer."""

    def of_classes(array: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(array, start, width, array.ndim - 1)

    labels = rows["labels"]
    some_labels = labels - start.astype(labels.dtype) if labels.ndim == 1 else of_classes(labels)
    some_layer = {name: of_classes(array) if name in _PER_CLASS else array for name, array in layer.items()}
    return rows | {"labels": some_labels}, some_layer


# --- sums and losses --------------------------------------------------------------------------------------------------


def _sums(precision: jax.lax.PrecisionLike, rows: Arrays, layer: Arrays) -> RowSums:
    """The sums over all classes."""
    classes = layer["kernel"].shape[-1]

    def parts_of(start: Array, width: int) -> one_pass.Parts:
        some_rows, some_layer = _chunk(rows, layer, start, width)
        chunk = rows_of(logits_of(matmul(rows["hidden"], some_layer["kernel"], precision), some_layer), some_rows)
        options = options_of(some_layer)
        sets = target_sets(chunk, options.get("class_weights"), options.get("label_smoothing", 0.0), classes)
        labels = chunk.labels if chunk.raw_probs is None else None
        return one_pass.row_parts(
            chunk.logits, labels, [product(*map(widened, factors)) for factors in sets], _zero_of(start, chunk.logits)
        )

    kinds = jax.eval_shape(lambda: parts_of(jnp.array(0), 1))
    nothing = one_pass.nothing_of(kinds, kinds.top.shape)
    parts = _over_chunks(lambda parts, *chunk: one_pass.merged(parts, parts_of(*chunk)), nothing, rows, layer)
    sums: RowSums = jax.tree.map(lambda array: masked(array, rows.get("where")), one_pass.sums_of(parts))
    return sums._replace(classes=jnp.maximum(sums.classes, 1))


def _values(sums: RowSums, rows: Arrays, layer: Arrays) -> Array:
    """The weighted losses of the rows."""
    some_rows, some_layer = _chunk(rows, layer, jnp.array(0), 0)
    return _losses(jnp.zeros((rows["hidden"].shape[0], 0), sums.top.dtype), sums, some_rows, layer, some_layer)


def _losses(logits: Array, sums: RowSums, some_rows: Arrays, layer: Arrays, some_layer: Arrays) -> Array:
    """The weighted losses of the rows, with the derivatives by some of their logits."""
    chunk, options = rows_of(logits, some_rows), options_of(some_layer)
    label_weights = some_rows.get("label_weights")
    if chunk.raw_probs is not None:
        label_weights = weights_of_labels(chunk.labels, options.get("class_weights"))
    values, _ = cross_entropy_of_sums(chunk, sums, label_weights, layer["kernel"].shape[-1], scatter=False, **options)
    return some_rows["weights"] * masked(values, some_rows.get("where"))
