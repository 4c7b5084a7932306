"""Maps of logits onto the simplex that give low classes a probability of exactly 0."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .arithmetic import finite
from .softmax import log_softmax


class Projection(NamedTuple):
    """A distribution made of a row of logits, and what the loss needs beside it.

    Attributes:
        probs: The probabilities.
        shares: What the threshold moves by when a logit moves; they sum to 1.
        powers: Probabilities to the power of `alpha` - 1, exact where these vanish; at 1 their logs.
        shortfalls: How far logits lie below the threshold.
    """

    probs: Array
    shares: Array
    powers: Array
    shortfalls: Array


def projected(logits: Array, alpha: float) -> Projection:
    if alpha == 1:
        log_probs = log_softmax(logits)
        probs = jnp.exp(log_probs)
        return Projection(probs, probs, finite(log_probs)[0], jnp.zeros_like(logits))
    top, empty = finite(jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))
    ruled_out = logits == -jnp.inf
    gaps = jnp.where(empty, 0, top - logits)
    reach, power = _reach(gaps, alpha), 1 / (alpha - 1)
    margins = jnp.where(ruled_out, 0, reach[..., None] - gaps)
    powers = jnp.where(margins < 0, 0, (alpha - 1) * margins)
    if alpha == 2:
        probs = powers
    else:
        # A power multiplies what the threshold is off by: the sum makes up for it.
        weights = _weights(gaps, reach, power)
        probs = jnp.where(ruled_out, 0, weights / jnp.sum(weights, axis=-1, keepdims=True))
    return Projection(probs, reach_shares(gaps, reach, alpha), powers, jnp.where(margins < 0, -margins, 0))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _reach(gaps: Array, alpha: float) -> Array:
    """How far below the top a logit must lie for a probability of 0, given how far each of a row does.

    That is where Σ max(0, (alpha - 1)(reach - gap))^(1/(alpha - 1)) is 1. No sort: that would need its axis whole.
    """
    ratio = alpha - 1
    widest = jnp.min(gaps, axis=-1) + 1 / ratio  # a single class has gap 0 and probability 1

    # Newton's method for the norm with exponent 1/ratio: convex, so that it comes down to the root, and linear in
    # pieces at alpha 2, so that it ends there. The minimum keeps rounding from going in circles.
    def newton(reach: Array) -> Array:
        slopes = _weights(gaps, reach, 1 / ratio - 1)
        total = jnp.sum(_weights(gaps, reach, 1 / ratio), axis=-1)
        spread = jnp.sum(slopes * jnp.where(gaps >= reach[..., None], 0, gaps), axis=-1)
        return jnp.minimum(reach, (total ** (1 - ratio) / ratio + spread) / jnp.sum(slopes, axis=-1))

    # Beyond 2 it is not convex. The root lies between those of one class and of all classes alike.
    def halved(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = jnp.sqrt(low) * jnp.sqrt(high)
        total = jnp.sum(_weights(gaps, middle, 1 / ratio), axis=-1) * (ratio * middle) ** (1 / ratio)
        return jnp.where(total < 1, middle, low), jnp.where(total < 1, high, middle)

    if alpha > 2:
        limits = jnp.finfo(gaps.dtype)
        narrowest = widest * max(gaps.shape[-1] ** -ratio, float(limits.tiny))
        bounds: tuple[Array, Array] = jax.lax.fori_loop(0, limits.nmant + 10, halved, (narrowest, widest))
        return bounds[1]
    steps: tuple[Array, Array] = jax.lax.while_loop(
        lambda steps: jnp.any(steps[1] < steps[0]),
        lambda steps: (steps[1], newton(steps[1])),
        (widest, newton(widest)),
    )
    return steps[1]


@_reach.defjvp
def _reach_jvp(alpha: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    reach = _reach(primals[0], alpha)
    return reach, jnp.sum(reach_shares(primals[0], reach, alpha) * tangents[0], axis=-1)


def reach_shares(gaps: Array, reach: Array, alpha: float) -> Array:
    slopes = _weights(gaps, reach, 1 / (alpha - 1) - 1)
    return slopes / jnp.sum(slopes, axis=-1, keepdims=True)


def _weights(gaps: Array, reach: Array, power: float) -> Array:
    """max(0, 1 - gap/reach)ᵖᵒʷᵉʳ, and 0 from the reach on even to the power of 0."""
    inside = ~(gaps >= reach[..., None])  # so that NaN is
    fractions = jnp.where(inside, gaps, 0) / reach[..., None]
    if power in (0, 1, 2):
        return jnp.where(inside, (1 - fractions) ** int(power), 0)
    return jnp.where(inside, jnp.exp(power * jnp.log1p(-fractions)), 0)
