"""The softmax of rows of logits in which -inf rules a class out: the kernel of everything with a class axis."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def log_softmax(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """Log-probabilities; a row whose classes are all ruled out stays at -inf, with gradient 0."""
    shifted, _ = shift(logits)
    return shifted - log_sum_exp(shifted)[..., None]


def shift(logits: Float[Array, "*batch classes"]) -> tuple[Float[Array, "*batch classes"], Float[Array, "*batch"]]:
    """Logits less their row's largest, and that: held constant, since it changes no softmax."""
    top = jnp.max(jax.lax.stop_gradient(logits), axis=-1, keepdims=True)
    top = jnp.where(top == -jnp.inf, 0, top)
    return logits - top, top[..., 0]


def count_classes(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch"]:
    """How many classes of each row exist; at least 1, as it is there to divide by."""
    return jnp.maximum(jnp.sum(logits != -jnp.inf, axis=-1), 1).astype(logits.dtype)


@jax.custom_jvp
def log_sum_exp(shifted: Float[Array, "*batch classes"]) -> Float[Array, "*batch"]:
    """The log-normaliser of shifted logits: at least 0, and 0 for a row whose classes are all ruled out."""
    total = jnp.sum(jnp.exp(shifted), axis=-1)
    return jnp.log(jnp.where(total == 0, 1, total))


# The rule computes the probabilities anew from the logits: plain autodiff keeps an array of their size instead.
@log_sum_exp.defjvp
def _log_sum_exp_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (shifted,), (tangent,) = primals, tangents
    value = log_sum_exp(shifted)
    return value, jnp.sum(jnp.exp(shifted - value[..., None]) * tangent, axis=-1)
