"""What the losses of a linear layer share, whether rows or classes come in chunks.

The arguments `rows` and `layer` are arrays by name. The rows have `hidden`, `labels`, `weights`, and `where` if not all
of them count. The layer has `kernel`, and also `bias`, `softcap`, `class_weights`, `label_smoothing` and
`z_loss_weight` if they are given.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .arithmetic import finite
from .cross_entropy import Rows, shielded_rows
from .dtypes import widened

Arrays = dict[str, Array]


def logits_of(products: Float[Array, "rows classes"], layer: Arrays) -> Float[Array, "rows classes"]:
    """The logits, from the products of hidden and kernel."""
    logits = products
    if "bias" in layer:
        logits = logits + layer["bias"][None]
    if "softcap" in layer:
        scores, ruled_out = finite(logits)
        logits = jnp.where(ruled_out, -jnp.inf, layer["softcap"] * jnp.tanh(scores / layer["softcap"]))
    return logits


def rows_of(logits: Float[Array, "rows classes"], rows: Arrays) -> Rows:
    """The logits with their labels."""
    labels, where = rows["labels"], rows.get("where")
    if labels.ndim == 1:
        return shielded_rows(logits, labels)
    shielded = labels if where is None else jnp.where(where[:, None], labels, 1)
    return Rows(logits, logits, widened(shielded), labels, where)


def options_of(layer: Arrays) -> Arrays:
    """The options of the cross-entropy."""
    return {name: layer[name] for name in ("class_weights", "label_smoothing", "z_loss_weight") if name in layer}


# --- products ---------------------------------------------------------------------------------------------------------


def matmul(hidden: Array, kernel: Array, precision: jax.lax.PrecisionLike) -> Array:
    """Half precision is multiplied as it is, and added up in float32."""
    return jnp.dot(hidden, kernel, precision=precision, preferred_element_type=widened(hidden).dtype)


def by_hidden(slopes: Array, hidden: Array, kernel: Array, precision: jax.lax.PrecisionLike) -> Array:
    """The derivative with respect to the hidden of a sum that has these slopes by the product."""
    return _transposed(slopes, kernel, 1, hidden, precision)


def by_kernel(slopes: Array, hidden: Array, kernel: Array, precision: jax.lax.PrecisionLike) -> Array:
    """The same with respect to the kernel."""
    return _transposed(hidden, slopes, 0, kernel, precision)


def _transposed(left: Array, right: Array, axis: int, like: Array, precision: jax.lax.PrecisionLike) -> Array:
    """A product over one axis of both, sharded like an array: a product of its dtype, added up in float32."""
    # As in the dense layer, slopes are rounded to the dtype of the inputs, unless more is asked for.
    dtype = like.dtype if precision is None else widened(like).dtype
    is_sharded = any(any(jax.typeof(array).sharding.spec) for array in (left, right, like))
    return jax.lax.dot_general(
        left.astype(dtype),
        right.astype(dtype),
        (((axis,), (axis,)), ((), ())),
        precision=precision,
        preferred_element_type=widened(like).dtype,
        out_sharding=jax.typeof(like).sharding.spec if is_sharded else None,
    )
