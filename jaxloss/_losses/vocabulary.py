"""Large vocabularies: cross-entropies that include the last layer, for more classes than fit in memory."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer

from .._kit import (
    AT_LEAST_ONE,
    POSITIVE,
    PROBABILITY,
    Domain,
    Label,
    Mask,
    Reduction,
    Weights,
    are_probabilities,
    broadcastable,
    labelled_inputs,
    loss_function,
    per_class,
    reduce,
    reduced,
    require_option,
    require_shape,
    shielded,
    tracing,
    weighted,
    with_check_of,
)
from .._math.arithmetic import left_out
from .._math.chunks import chunks_for, padded, without_padding
from .._math.dtypes import Scalar, widened
from .._math.linear import linear_cross_entropies, total_linear_cross_entropy
from .._math.softmax import nll_of_labels, weights_of_labels


@loss_function(
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
    ignore_index: Label | None = -100,
    label_smoothing: Scalar = 0.0,
    z_loss_weight: Scalar = 0.0,
    softcap: Scalar | None = None,
    precision: jax.lax.PrecisionLike = None,
    chunk_size: int | None = None,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """`cross_entropy` of the logits `hidden @ kernel + bias`, which are never all in memory.

        cross_entropy(softcap tanh((hidden @ kernel + bias) / softcap), labels)

    The loss of language models. With 100,000 classes, the logits and their gradient take more memory than the rest of
    a training step. Here the logits exist for one chunk at a time. A chunk has some of the rows, and the gradient is
    computed in the same pass: that takes the three matrix products of the dense loss. On a single accelerator with too
    few rows for that, a chunk has some of the classes, and the gradient takes a fourth product, as it does with
    reduction "none".

    Args:
        hidden: Features of each row, shape (..., features). If `hidden` and `kernel` are in half precision, they are
            multiplied in it, and the products are summed in float32.
        kernel: Weights of the layer, shape (features, classes), as in Flax.
        labels: Integers in [0, classes), shape (...); or floating class probabilities, shape (..., classes).
        bias: Bias of the layer, shape (classes,). An entry of -inf rules its class out.
        class_weights: As in `cross_entropy`.
        ignore_index: Rows with this integer label do not count; None for no such label.
        label_smoothing: Share, in [0, 1], of the label that is spread evenly over all classes.
        z_loss_weight: Coefficient of log²Z, as in `cross_entropy`.
        softcap: Bound on the absolute logits, which they approach smoothly; None for no bound.
        precision: Precision of the matrix products, as in `jax.lax.dot_general`. If it is None, the slopes of half
            precision logits are rounded to the dtype of the inputs before they are multiplied, as in the dense loss.
        chunk_size: Number of rows in a chunk; None to choose chunks from the shapes.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `hidden` without its last axis.

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
    if are_probabilities(labels, hidden):
        require_shape("labels", labels, (*batch, classes), "for hidden and kernel")
        hidden, shielded_labels = shielded(where, batch, hidden=hidden, labels=labels)
        labels = with_check_of(shielded_labels, labels)  # the kernel shields them chunk by chunk
    else:
        hidden, labels, where = labelled_inputs(where, -1, ignore_index, hidden=hidden, labels=labels, classes=classes)
        shielded_labels = labels

    def flat(array: Array) -> Array:
        return array.reshape(-1, *array.shape[len(batch) :])

    def per_row(name: str, option: ArrayLike | None) -> Array | None:
        return None if option is None else flat(jnp.broadcast_to(broadcastable(name, option, batch), batch))

    class_weights, where = per_class(kernel, class_weights=class_weights), per_row("where", where)
    ones = jnp.ones(math.prod(batch), widened(hidden).dtype)
    label_weights = weights_of_labels(flat(shielded_labels), class_weights)
    row_weights, total_weight = weighted(ones, where, per_row("weights", weights), label_weights)
    rows = _without_none(hidden=flat(hidden), labels=flat(labels), weights=row_weights, where=where)
    layer = _without_none(
        kernel=kernel,
        bias=bias,
        softcap=softcap,
        class_weights=class_weights,
        label_smoothing=None if left_out(label_smoothing) else label_smoothing,
        z_loss_weight=None if left_out(z_loss_weight) else z_loss_weight,
    )
    chunks = chunks_for(rows["hidden"], kernel, chunk_size)
    rows = padded(rows, chunks)
    if reduction == "none" and not tracing().partial:
        values = linear_cross_entropies(chunks, precision, rows, layer)
        return without_padding(values, chunks, ones.shape[0]).reshape(batch)
    return reduced(total_linear_cross_entropy(chunks, precision, rows, layer), total_weight, reduction)


def _without_none(**arrays: Any) -> dict[str, Array]:
    """The arrays by name, without those that are None."""
    return {name: jnp.asarray(array) for name, array in arrays.items() if array is not None}


_CUTOFFS = Domain(
    "rising numbers of classes",
    lambda cutoffs: len(cutoffs) > 0 and all(low < high for low, high in pairwise((0, *cutoffs))),
)


@loss_function(domains={"cutoffs": _CUTOFFS})
def adaptive_log_softmax_with_loss(
    hidden: Float[ArrayLike, "*batch features"],
    labels: Integer[ArrayLike, "*batch"],
    head: Float[ArrayLike, "features shortlist+tails"],
    tails: tuple[tuple[Float[ArrayLike, "features width"], Float[ArrayLike, "width classes"]], ...],
    *,
    cutoffs: tuple[int, ...],
    head_bias: Float[ArrayLike, " shortlist+tails"] | None = None,
    ignore_index: Label | None = -100,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy over many classes of very different frequency, with a softmax in two steps.

        -log p(y | head)                           for the frequent classes y < cutoffs[0]
        -log p(tail i | head) - log p(y | tail i)  for cutoffs[i] ≤ y < cutoffs[i + 1]

    The head has the frequent classes and one class for each tail. Each tail has rarer classes and its own, smaller
    number of features, its width. Classes have to be sorted from frequent to rare.

    PyTorch has a module that holds the parameters, and returns the output too. Here they are arguments, with kernels as
    in Flax, which are the transpose of PyTorch's, and only the loss is returned.

    Args:
        hidden: Features, shape (..., features).
        labels: Integers in [0, classes), of the shape of `hidden` without its last axis.
        head: Kernel of the head, shape (features, cutoffs[0] + number of tails).
        tails: The two kernels of each tail, of shapes (features, width) and (width, classes of the tail).
        cutoffs: The first class of each tail, in rising order.
        head_bias: Bias of the head, shape (cutoffs[0] + number of tails,).
        ignore_index: Rows with this label do not count; None for no such label.
        where, weights, reduction: As in `jaxloss.reduce`, per row.

    Returns:
        A scalar, or with reduction "none" the shape of `labels`.

    Raises:
        ValueError: The kernels' shapes do not fit the cutoffs or each other.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> head, tails = jnp.zeros((4, 3)), ((jnp.zeros((4, 2)), jnp.zeros((2, 8))),)
        >>> jaxloss.adaptive_log_softmax_with_loss(jnp.ones((2, 4)), jnp.array([0, 5]), head, tails, cutoffs=(2,))
        Array(2.1383, dtype=float32)

    References:
        Grave et al., Efficient softmax approximation for GPUs, 2017.
    """
    classes = _require_adaptive_shapes(hidden, head, tails, cutoffs, head_bias)
    hidden, labels, where = labelled_inputs(where, -1, ignore_index, hidden=hidden, labels=labels, classes=classes)
    head_logits = hidden @ head
    if head_bias is not None:
        head_logits = head_logits + jnp.broadcast_to(head_bias, head_logits.shape)
    head_labels, values = labels, jnp.zeros(labels.shape, hidden.dtype)
    for index, (cutoff, (project, expand)) in enumerate(zip(cutoffs, tails, strict=True)):
        size = jnp.shape(expand)[-1]
        inside = (labels >= cutoff) & (labels < cutoff + size)
        head_labels = jnp.where(inside, cutoffs[0] + index, head_labels)
        tail_values = nll_of_labels(hidden @ project @ expand, jnp.where(inside, labels - cutoff, 0))
        values = values + jnp.where(inside, tail_values, 0)
    values = values + nll_of_labels(head_logits, head_labels)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _require_adaptive_shapes(
    hidden: ArrayLike, head: ArrayLike, tails: Any, cutoffs: tuple[int, ...], head_bias: ArrayLike | None
) -> int:
    """Checks that the shapes of the parameters fit the cutoffs, and returns the number of classes."""
    features, head_size = jnp.shape(hidden)[-1], cutoffs[0] + len(cutoffs)
    require_shape("head", head, (features, head_size), f"for the features of hidden and cutoffs {cutoffs}")
    if head_bias is not None:
        require_shape("head_bias", head_bias, (head_size,), f"for cutoffs {cutoffs}")
    require_option("the number of tails", len(tails), (len(cutoffs),))
    bounds = (*cutoffs[1:], None)
    for index, (cutoff, bound, (project, expand)) in enumerate(zip(cutoffs, bounds, tails, strict=True)):
        width = jnp.shape(project)[-1]
        size = jnp.shape(expand)[-1] if bound is None else bound - cutoff
        require_shape(f"tails[{index}][0]", project, (features, width), "for the features of hidden")
        require_shape(f"tails[{index}][1]", expand, (width, size), f"for its width and cutoffs {cutoffs}")
    return cutoffs[-1] + jnp.shape(tails[-1][1])[-1]
