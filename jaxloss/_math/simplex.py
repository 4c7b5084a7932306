"""Probabilities from logits that are exactly 0 for classes with low logits: `entmax`, and `sparsemax` at alpha 2."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .arithmetic import finite
from .softmax import log_softmax


class Projection(NamedTuple):
    """The probabilities of rows of logits, and what the gradient and the loss need besides.

    Attributes:
        probs: The probabilities.
        threshold_slopes: The derivative of the threshold with respect to each logit; they sum to 1.
        powers: The probabilities to the power `alpha` - 1, exact also where probabilities underflow. If `alpha` is 1,
            the logs of the probabilities.
        shortfalls: How far each logit lies below the threshold; 0 for a logit above it.
    """

    probs: Array
    threshold_slopes: Array
    powers: Array
    shortfalls: Array


def projected(logits: Array, alpha: float) -> Projection:
    """The probabilities max(0, (alpha - 1)(logit - threshold))^(1/(alpha - 1)), or softmax if `alpha` is 1."""
    if alpha == 1:
        log_probs = log_softmax(logits)
        probs = jnp.exp(log_probs)
        return Projection(probs, probs, finite(log_probs)[0], jnp.zeros_like(logits))
    top, empty = finite(jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))
    ruled_out = logits == -jnp.inf
    gaps = jnp.where(empty, 0, top - logits)
    threshold, power = _threshold_gap(gaps, alpha), 1 / (alpha - 1)
    margins = jnp.where(ruled_out, 0, threshold[..., None] - gaps)
    powers = jnp.where(margins < 0, 0, (alpha - 1) * margins)
    if alpha == 2:
        probs = powers
    else:
        # The power magnifies the error of the threshold. Dividing by the sum makes up for it.
        weights = _relative_powers(gaps, threshold, power)
        probs = jnp.where(ruled_out, 0, weights / jnp.sum(weights, axis=-1, keepdims=True))
    return Projection(probs, _threshold_slopes(gaps, threshold, alpha), powers, jnp.where(margins < 0, -margins, 0))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _threshold_gap(gaps: Array, alpha: float) -> Array:
    """The gap at which probabilities become 0. A gap is how far a logit lies below the largest one of its row.

    It is the number t for which Σ max(0, (alpha - 1)(t - gap))^(1/(alpha - 1)) is 1. A sort would find it too, but
    needs the whole class axis on one device.
    """
    ratio = alpha - 1
    widest = jnp.min(gaps, axis=-1) + 1 / ratio  # the solution for a single class, which has gap 0 and probability 1

    # Newton's method, on the norm of the margins with exponent 1/ratio. The norm is convex, so that the steps come down
    # to the solution. At alpha 2 it is linear in pieces, so that they end there exactly. The minimum keeps rounding
    # errors from making them go in circles.
    def newton(threshold: Array) -> Array:
        slopes = _relative_powers(gaps, threshold, 1 / ratio - 1)
        total = jnp.sum(_relative_powers(gaps, threshold, 1 / ratio), axis=-1)
        spread = jnp.sum(slopes * jnp.where(gaps >= threshold[..., None], 0, gaps), axis=-1)
        return jnp.minimum(threshold, (total ** (1 - ratio) / ratio + spread) / jnp.sum(slopes, axis=-1))

    # Bisection, for an alpha above 2, where the norm is not convex. The solution lies between that for equal logits of
    # all classes and that for a single class.
    def bisect(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = jnp.sqrt(low) * jnp.sqrt(high)
        total = jnp.sum(_relative_powers(gaps, middle, 1 / ratio), axis=-1) * (ratio * middle) ** (1 / ratio)
        return jnp.where(total < 1, middle, low), jnp.where(total < 1, high, middle)

    if alpha > 2:
        limits = jnp.finfo(gaps.dtype)
        narrowest = widest * max(gaps.shape[-1] ** -ratio, float(limits.tiny))
        bounds: tuple[Array, Array] = jax.lax.fori_loop(0, limits.nmant + 10, bisect, (narrowest, widest))
        return bounds[1]
    steps: tuple[Array, Array] = jax.lax.while_loop(
        lambda steps: jnp.any(steps[1] < steps[0]),
        lambda steps: (steps[1], newton(steps[1])),
        (widest, newton(widest)),
    )
    return steps[1]


@_threshold_gap.defjvp
def _threshold_gap_jvp(alpha: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    threshold = _threshold_gap(primals[0], alpha)
    return threshold, jnp.sum(_threshold_slopes(primals[0], threshold, alpha) * tangents[0], axis=-1)


def _threshold_slopes(gaps: Array, threshold: Array, alpha: float) -> Array:
    """The derivative of the threshold with respect to each gap, and so also to each logit."""
    slopes = _relative_powers(gaps, threshold, 1 / (alpha - 1) - 1)
    return slopes / jnp.sum(slopes, axis=-1, keepdims=True)


def _relative_powers(gaps: Array, threshold: Array, power: float) -> Array:
    """max(0, 1 - gap/threshold) to a power; 0 for a gap of the threshold or more, also with a power of 0."""
    inside = ~(gaps >= threshold[..., None])  # written so that NaN stays NaN
    fractions = jnp.where(inside, gaps, 0) / threshold[..., None]
    if power in (0, 1, 2):
        return jnp.where(inside, (1 - fractions) ** int(power), 0)
    return jnp.where(inside, jnp.exp(power * jnp.log1p(-fractions)), 0)
