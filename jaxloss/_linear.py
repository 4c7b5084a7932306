"""Losses that hold the last linear layer, for more classes than there is memory for their logits."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from ._core import (
    AT_LEAST_ONE,
    POSITIVE,
    PROBABILITY,
    Mask,
    Reduction,
    Scalar,
    Weights,
    are_probabilities,
    labelled_inputs,
    loss_function,
    per_class,
    reduced,
    require_shape,
    shielded,
    stretching,
    weighted,
    widened,
)
from ._softmax import Given, cross_entropy_of_rows, finite, label_shares, unshielded, used


@loss_function(
    static=("precision", "chunk_size"),
    half=("hidden", "kernel", "labels"),
    domains={
        "labels": PROBABILITY,
        "label_smoothing": PROBABILITY,
        "softcap": POSITIVE,
        "chunk_size": AT_LEAST_ONE,
    },
)
def linear_cross_entropy(
    hidden: Float[ArrayLike, "*batch features"],
    kernel: Float[ArrayLike, "features classes"],
    labels: Integer[ArrayLike, "*batch"] | Float[ArrayLike, "*batch classes"],
    *,
    bias: Float[ArrayLike, " classes"] | None = None,
    class_weights: Float[ArrayLike, " classes"] | None = None,
    ignore_index: int | Array | None = -100,
    label_smoothing: Scalar = 0.0,
    z_loss_weight: Scalar = 0.0,
    softcap: Scalar | None = None,
    precision: jax.lax.PrecisionLike = None,
    chunk_size: int | None = None,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """`cross_entropy` of the logits `hidden @ kernel + bias`, which are never held at once.

        cross_entropy(softcap tanh((hidden @ kernel + bias) / softcap), labels)

    The loss of language models: with 100,000 classes the logits and their gradient take more memory than the rest of
    the step. They are made for a chunk of rows at a time, and the gradient in the same pass: the three matrix products
    of the dense loss and no more. With reduction "none" the gradient needs a fourth.

    Args:
        hidden: Features of each row, shape (..., features). In half precision it stays so, as does `kernel`: the
            products accumulate in float32.
        kernel: Weights of the layer, as in Flax, shape (features, classes).
        labels: Integers in [0, classes), shape (...); or floating class probabilities, shape (..., classes).
        bias: Bias of the layer, shape (classes,). One of -inf rules its class out.
        class_weights: As in `cross_entropy`.
        ignore_index: Integer label of rows that do not count; None if no label means that.
        label_smoothing: Share, in [0, 1], of the label that is spread evenly over all classes.
        z_loss_weight: Coefficient of log²Z.
        softcap: Bound on the absolute logits, approached smoothly; None for no bound.
        precision: Of the matrix products, as in `jax.lax.dot_general`.
        chunk_size: Rows of a chunk; chosen from the shapes if None.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `hidden` without its last axis; float32, or float64 if an input
        is.

    Raises:
        ValueError: Shapes do not fit, or `chunk_size` is less than 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> hidden, kernel = jnp.ones((2, 4)), jnp.zeros((4, 8))
        >>> jaxloss.linear_cross_entropy(hidden, kernel, jnp.array([0, 5]))
        Array(2.0794, dtype=float32)

    References:
        Wijmans et al., Cut your losses in large-vocabulary language models, 2025.
        Hsu et al., Liger kernel: efficient Triton kernels for LLM training, 2024 (gradients chunk by chunk).
        Gemma Team, Gemma 2: improving open language models at a practical size, 2024 (soft-capping).
    """
    hidden, kernel, labels = jnp.asarray(hidden), jnp.asarray(kernel), jnp.asarray(labels)
    if hidden.dtype != kernel.dtype:
        hidden, kernel = widened(hidden), widened(kernel)
    batch, features, classes = hidden.shape[:-1], hidden.shape[-1], kernel.shape[-1]
    require_shape("kernel", kernel, (features, classes), "for the features of hidden")
    if bias is not None:
        require_shape("bias", bias, (classes,), "one entry per class")
    if softcap is not None:
        require_shape("softcap", softcap, (), "one bound for all logits")
    validity = jnp.ones((), widened(hidden).dtype)
    if are_probabilities(labels, hidden):
        require_shape("labels", labels, (*batch, classes), "for hidden and kernel")
        hidden, targets = shielded(where, batch, hidden=hidden, labels=labels)
        labels = unshielded(labels, targets)  # they are shielded chunk by chunk
    else:
        hidden, labels, where, validity = labelled_inputs(
            where, -1, ignore_index, hidden=hidden, labels=labels, classes=classes
        )
        targets = labels

    def flat(array: Array) -> Array:
        return array.reshape(-1, *array.shape[len(batch) :])

    def per_row(name: str, option: ArrayLike | None) -> Array | None:
        return None if option is None else flat(jnp.broadcast_to(stretching(name, option, batch), batch))

    weights_by_class = per_class(kernel, class_weights=class_weights)
    where = per_row("where", where)
    ones = jnp.ones(math.prod(batch), widened(hidden).dtype)
    shares = label_shares(flat(targets), weights_by_class)
    multipliers, weight = weighted(ones, where, per_row("weights", weights), shares)
    rows = _present(
        hidden=flat(hidden),
        labels=flat(labels),
        multipliers=multipliers * flat(jnp.broadcast_to(validity, batch)),
        where=where,
    )
    layer = _present(
        kernel=kernel,
        bias=bias,
        softcap=softcap,
        class_weights=weights_by_class,
        label_smoothing=label_smoothing if used(label_smoothing) else None,
        z_loss_weight=z_loss_weight if used(z_loss_weight) else None,
    )
    chunks = _divided(len(ones), chunk_size)
    rows = _padded(rows, chunks)
    if reduction == "none":
        return _values(chunks, precision, rows, layer)[: len(ones)].reshape(batch)
    return reduced(_total(chunks, precision, rows, layer), weight, reduction)


_Arrays = dict[str, Array]


def _present(**arrays: Any) -> _Arrays:
    """Those that are given."""
    return {name: jnp.asarray(array) for name, array in arrays.items() if array is not None}


class _Chunks(NamedTuple):
    """How an axis is divided: chunk i of n holds entries i, i + n, i + 2n, ....

    So what is sharded over devices stays where it is, and every device has its share of every chunk.
    """

    size: int
    number: int


def _divided(rows: int, chunk_size: int | None) -> _Chunks:
    # An eighth of the rows needs an eighth of the logits. Under 64 rows the products no longer make up for the way of
    # the sums through memory; over 512 they gain nothing.
    size = min(max(rows // 8, 64), 512) if chunk_size is None else chunk_size
    number = max(-(-rows // size), 1)
    return _Chunks(-(-rows // number), number)


def _padded(rows: _Arrays, chunks: _Chunks) -> _Arrays:
    """Rows up to whole chunks, those added excluded."""
    length = len(rows["multipliers"])
    missing = chunks.size * chunks.number - length
    if missing == 0:
        return rows
    rows = {"where": jnp.ones(length, bool)} | rows
    return {name: jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for name, x in rows.items()}


def _chunk(array: Array, chunks: _Chunks, index: Array) -> Array:
    chunk: Array = jax.lax.dynamic_index_in_dim(array.reshape(*chunks, *array.shape[1:]), index, axis=1, keepdims=False)
    return chunk


def _whole(chunks: Array) -> Array:
    """Chunks, stacked, as the axis they were taken from."""
    return jnp.moveaxis(chunks, 0, 1).reshape(-1, *chunks.shape[2:])


def _values(chunks: _Chunks, precision: jax.lax.PrecisionLike, rows: _Arrays, layer: _Arrays) -> Array:
    """The loss of each row; the gradient makes the logits again."""

    @jax.checkpoint
    def of_chunk(index: Array) -> Array:
        chunk = {name: _chunk(array, chunks, index) for name, array in rows.items()}
        return _values_of_chunk(_product(chunk["hidden"], layer["kernel"], precision), chunk, layer)

    return _whole(jax.lax.map(of_chunk, jnp.arange(chunks.number)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _total(chunks: _Chunks, precision: jax.lax.PrecisionLike, rows: _Arrays, layer: _Arrays) -> Array:
    """The sum of the losses of all rows."""
    return jnp.sum(_values(chunks, precision, rows, layer))


def _total_jvp(
    chunks: _Chunks,
    precision: jax.lax.PrecisionLike,
    primals: tuple[_Arrays, _Arrays],
    tangents: tuple[_Arrays, _Arrays],
) -> tuple[Array, Array]:
    """The sum, and the product of its gradient with the tangents.

    The gradient of a sum needs nothing that comes after it, so that one pass makes both, while a chunk's logits are
    there. Transposed, the product with the tangents is a multiplication.
    """
    rows, layer = _varying_alike(*primals)
    row_tangents, layer_tangents = (
        {name: tangent for name, tangent in tree.items() if not isinstance(tangent, SymbolicZero)} for tree in tangents
    )

    def step(sums: _Arrays, index: Array) -> tuple[_Arrays, tuple[Array, _Arrays]]:
        chunk = {name: _chunk(array, chunks, index) for name, array in rows.items()}
        hidden, kernel = chunk["hidden"], layer["kernel"]

        def total(logits: Array, some_rows: _Arrays, some_layer: _Arrays) -> Array:
            return jnp.sum(_values_of_chunk(logits, chunk | some_rows, layer | some_layer))

        value, (slopes, by_row, by_layer) = jax.value_and_grad(total, argnums=(0, 1, 2))(
            _product(hidden, kernel, precision),
            {name: chunk[name] for name in row_tangents if name != "hidden"},
            {name: layer[name] for name in layer_tangents if name != "kernel"},
        )
        sums = sums | {name: sums[name] + slope for name, slope in by_layer.items()}
        if "hidden" in row_tangents:
            by_row["hidden"] = _transposed(lambda hidden: _product(hidden, kernel, precision), hidden, slopes)
        if "kernel" in layer_tangents:
            sums["kernel"] = _accumulated(sums["kernel"], hidden, kernel, slopes, precision)
        return sums, (value, by_row)

    start = {name: jnp.zeros_like(widened(layer[name])) for name in layer_tangents}
    by_layer, (values, by_row) = jax.lax.scan(step, start, jnp.arange(chunks.number))
    slopes = {name: _whole(slope) for name, slope in by_row.items()} | by_layer
    tangent = jnp.zeros((), values.dtype)
    for name, moved in (row_tangents | layer_tangents).items():
        tangent = tangent + jnp.sum(widened(slopes[name]) * widened(moved))
    return jnp.sum(values), tangent


_total.defjvp(_total_jvp, symbolic_zeros=True)


def _accumulated(sums: Array, hidden: Array, kernel: Array, slopes: Array, precision: jax.lax.PrecisionLike) -> Array:
    """The sums plus hiddenᵀ @ slopes."""

    def at_once(sums: Array, slopes: Array) -> Array:
        return sums + _transposed(lambda kernel: _product(hidden, kernel, precision), kernel, slopes)

    def by_classes(sums: Array, slopes: Array) -> Array:
        def add(index: int | Array, sums: Array) -> Array:
            some_kernel, some_slopes, some_sums = (
                jax.lax.dynamic_slice_in_dim(array, index * width, width, axis=1) for array in (kernel, slopes, sums)
            )
            product = _transposed(lambda kernel: _product(hidden, kernel, precision), some_kernel, some_slopes)
            return jax.lax.dynamic_update_slice_in_dim(sums, some_sums + product, index * width, axis=1)

        added: Array = jax.lax.fori_loop(0, classes // width, add, sums)
        return added

    classes = kernel.shape[1]
    width = max((n for n in range(1, min(classes, 1024) + 1) if classes % n == 0), default=0)
    # Accelerators add to the sums as they multiply; a CPU holds the product beside them, which had better be small.
    if width < 256:
        return at_once(sums, slopes)
    accumulated: Array = jax.lax.platform_dependent(sums, slopes, cpu=by_classes, default=at_once)
    return accumulated


def _transposed(linear: Callable[[Array], Array], at: Array, cotangents: Array) -> Array:
    """The transpose of a product: not written down, it gets its sharding from JAX; and it is in float32."""
    result: Array = jax.linear_transpose(linear, widened(at))(cotangents)[0]
    return result


def _product(hidden: Array, kernel: Array, precision: jax.lax.PrecisionLike) -> Array:
    return jnp.dot(hidden, kernel, precision=precision, preferred_element_type=widened(hidden).dtype)


def _values_of_chunk(logits: Array, rows: _Arrays, layer: _Arrays) -> Array:
    """The weighted loss of each row."""
    labels, where = rows["labels"], rows.get("where")
    if "bias" in layer:
        logits = logits + layer["bias"][None]
    if "softcap" in layer:
        scores, ruled_out = finite(logits)
        logits = jnp.where(ruled_out, -jnp.inf, layer["softcap"] * jnp.tanh(scores / layer["softcap"]))
    if labels.ndim == 1:
        given = Given(where, logits)
    else:
        given = Given(where, logits, labels)
        labels = widened(labels if where is None else jnp.where(where[:, None], labels, 1))
    options = {name: layer[name] for name in ("class_weights", "label_smoothing", "z_loss_weight") if name in layer}
    values, _ = cross_entropy_of_rows(logits, labels, given, scatter=False, **options)
    return rows["multipliers"] * (values if where is None else jnp.where(where, values, 0))


def _varying_alike(rows: _Arrays, layer: _Arrays) -> tuple[_Arrays, _Arrays]:
    """All as different on each device inside `shard_map`, if one is.

    Their gradients are then summed over the devices after the loop, once.
    """
    varying = [jax.typeof(array).manual_axis_type.varying for array in (*rows.values(), *layer.values())]
    axes = frozenset().union(*varying)

    def vary(array: Array) -> Array:
        missing = tuple(axes - jax.typeof(array).manual_axis_type.varying)
        return jax.lax.pcast(array, missing, to="varying") if missing else array

    return {name: vary(x) for name, x in rows.items()}, {name: vary(x) for name, x in layer.items()}
