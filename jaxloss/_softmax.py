"""The softmax of rows of logits in which -inf rules a class out: the kernel of everything with a class axis."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._core import at_labels


def log_softmax(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """Log-probabilities; a row whose classes are all ruled out stays at -inf, with gradient 0."""
    top, log_normalizer = normalizer(logits)
    return logits - top[..., None] - log_normalizer[..., None]


def nll(logits: Float[Array, "*batch classes"], labels: Array) -> Float[Array, "*batch"]:
    """-log p of the labels: two terms that never cancel."""
    top, log_normalizer = normalizer(logits)
    return log_normalizer - (at_labels(logits, labels) - top)


def finite(scores: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Array]:
    """Scores with those of ruled-out classes made 0, and which those are."""
    ruled_out = scores == -jnp.inf
    return jnp.where(ruled_out, 0, scores), ruled_out


def with_impossible(values: Array, impossible: Array, shares: Array | None) -> Array:
    """Losses with inf where a label that counts lies on a ruled-out class.

    It is added at the end and as a constant: before, a weight of 0 would make it NaN, and so would its gradient.
    """
    return values + jnp.where(impossible if shares is None else impossible & (shares > 0), jnp.inf, 0)


def count_classes(logits: Float[Array, "*batch classes"]) -> Float[Array, "*batch"]:
    """How many classes of each row exist; at least 1, as it is there to divide by."""
    return jnp.maximum(jnp.sum(logits != -jnp.inf, axis=-1), 1).astype(logits.dtype)


@jax.custom_jvp
def normalizer(logits: Float[Array, "*batch classes"]) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The largest logit, held constant when differentiating, and log Σ exp(logits - largest), which is at least 0.

    A row whose classes are all ruled out has 0 for both.
    """
    top = jnp.max(logits, axis=-1)
    top = jnp.where(top == -jnp.inf, 0, top)
    total = jnp.sum(jnp.exp(logits - top[..., None]), axis=-1)
    return top, jnp.log(jnp.where(total == 0, 1, total))


# The rule computes the probabilities anew from the logits: plain autodiff keeps an array of their size instead.
@normalizer.defjvp
def _normalizer_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (logits,), (tangent,) = primals, tangents
    top, log_normalizer = normalizer(logits)
    probs = jnp.exp(logits - top[..., None] - log_normalizer[..., None])
    return (top, log_normalizer), (jnp.zeros_like(top), jnp.sum(probs * tangent, axis=-1))
