"""Targets: distributions made from labels or numbers, for `cross_entropy` and losses like it.

These functions are no losses and take no reduction.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._kit import POSITIVE, PROBABILITY, array_function, check_values, require_shape, rowwise_inputs
from .._math.dtypes import Scalar
from .._math.special import unit_integral


@array_function(domains={"labels": PROBABILITY, "label_smoothing": PROBABILITY})
def smooth_labels(
    labels: Float[ArrayLike, "*batch classes"], *, label_smoothing: Scalar, axis: int = -1
) -> Float[Array, "*batch classes"]:
    """Spreads a share of the class probabilities evenly over all classes (label smoothing).

        (1 - a) y + a/K,  a = label_smoothing, K classes

    For losses that take probabilities and have no option `label_smoothing`. The option of `cross_entropy` and others
    gives no share to classes that are ruled out; this function cannot know them. optax calls the share `alpha`.

    Args:
        labels: Class probabilities, floating, shape (..., classes).
        label_smoothing: The share, in [0, 1].
        axis: The class axis.

    Returns:
        Probabilities of the shape of `labels`.

    Raises:
        TypeError: `labels` are integers.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.smooth_labels(jnp.array([1.0, 0.0, 0.0, 0.0]), label_smoothing=0.5)
        Array([0.625, 0.125, 0.125, 0.125], dtype=float32)

    References:
        Szegedy et al., Rethinking the Inception architecture for computer vision, 2016.
    """
    (rows,) = rowwise_inputs(None, axis, labels=labels)
    return jnp.moveaxis((1 - label_smoothing) * rows + label_smoothing / rows.shape[-1], -1, axis)


@array_function()
def two_hot(values: Float[ArrayLike, "*batch"], bins: Float[ArrayLike, " n"]) -> Float[Array, "*batch n"]:
    """Probabilities of the two bins next to a value, chosen so that their expected centre is the value.

        pᵢ = (bᵢ₊₁ - v) / (bᵢ₊₁ - bᵢ),  pᵢ₊₁ = (v - bᵢ) / (bᵢ₊₁ - bᵢ),  bᵢ ≤ v ≤ bᵢ₊₁

    Turns regression into classification, for targets of a wide range such as returns in reinforcement learning. All
    other bins have probability 0. A value beyond the outermost centres counts as the nearest centre, and its gradient
    is 0. Exactly at a centre the gradient is that to its right.

    Args:
        values: Numbers, any shape.
        bins: Centres of the bins, strictly rising, shape (n,).

    Returns:
        Probabilities, shape (..., n).

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.two_hot(jnp.array([0.25, 7.0]), jnp.array([-1.0, 0.0, 1.0]))
        Array([[0.  , 0.75, 0.25],
               [0.  , 0.  , 1.  ]], dtype=float32)

    References:
        Schrittwieser et al., Mastering Atari, Go, chess and shogi by planning with a learned model, 2020.
        Hafner et al., Mastering diverse domains through world models, 2023.
    """
    values, (lows, highs) = _rows_and_intervals(values, "bins", bins)
    widths = highs - lows
    above, below = values >= highs, values < lows
    # The shares of the ends of each interval. Neither is one minus the other, so that a small one keeps its digits.
    upper = jnp.where(above, 1, jnp.where(below, 0, (values - lows) / widths))
    lower = jnp.where(above, 0, jnp.where(below, 1, (highs - values) / widths))
    # A centre is the upper end of the interval before it and the lower end of the one after it.
    one = jnp.ones_like(values)
    return jnp.concatenate([one, upper], axis=-1) * jnp.concatenate([lower, one], axis=-1)


def _rows_and_intervals(values: ArrayLike, name: str, positions: ArrayLike) -> tuple[Array, tuple[Array, Array]]:
    """Values with a new last axis, and along it the lower and upper ends of the intervals between checked positions."""
    values, positions = jnp.asarray(values), jnp.asarray(positions)
    require_shape(name, positions, (positions.size,), "rising numbers")
    lows, highs = positions[:-1], positions[1:]
    highs = check_values(name, highs, lows < highs, "rising")
    batch_axes = tuple(range(values.ndim))
    return values[..., None], (jnp.expand_dims(lows, batch_axes), jnp.expand_dims(highs, batch_axes))


@array_function(domains={"sigma": POSITIVE})
def hl_gauss_targets(
    values: Float[ArrayLike, "*batch"], edges: Float[ArrayLike, " n+1"], *, sigma: Scalar
) -> Float[Array, "*batch n"]:
    """Probabilities of bins under a normal distribution around a value, truncated at the outermost edges.

        pᵢ = (Φ((eᵢ₊₁ - v)/σ) - Φ((eᵢ - v)/σ)) / (Φ((eₙ - v)/σ) - Φ((e₀ - v)/σ))

    Turns regression into classification, as `two_hot` does, but also gives probability to the bins around, the more the
    nearer they are. That is often the better choice, with a σ of about 3/4 of the width of a bin. If a value is far
    outside of the edges, all probability is in the nearest bin.

    Args:
        values: Numbers, any shape.
        edges: Edges of the bins, strictly rising, shape (n + 1,).
        sigma: Standard deviation of the normal distribution, positive, in the units of `values`.

    Returns:
        Probabilities, shape (..., n); their sum is 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.hl_gauss_targets(jnp.array([0.5]), jnp.arange(4.0), sigma=0.75)
        Array([[0.6626, 0.3075, 0.0299]], dtype=float32)

    References:
        Imani and White, Improving regression performance with distributional losses, 2018.
        Farebrother et al., Stop regressing: training value functions via classification for scalable deep RL, 2024.
    """
    values, (lows, highs) = _rows_and_intervals(values, "edges", edges)
    nearest = jnp.clip(values, lows[..., :1], highs[..., -1:])
    masses = _relative_masses((lows - nearest) / sigma, (highs - nearest) / sigma, jnp.abs(nearest - values) / sigma)
    return masses / jnp.sum(masses, axis=-1, keepdims=True)


def _relative_masses(lows: Array, highs: Array, distance: Array) -> Array:
    """∫ exp(-|s| (|s|/2 + distance)) ds over each interval: normal masses, relative to the density at s = 0.

    s = 0 is the point within the edges that is nearest to the value, and `distance` is how far the value is from it,
    both in units of σ. An interval that reaches to both sides of s = 0 contains the value: the distance is 0, and the
    mass is a difference of error functions. The mass of any other interval is concentrated at its end that is nearer
    to s = 0. It is integrated from there up to where the density has fallen by a factor of exp(-40).
    """
    has_both_sides = (lows < 0) & (highs > 0)
    mass_of_both = math.sqrt(math.pi / 2) * (jax.lax.erf(highs / math.sqrt(2)) - jax.lax.erf(lows / math.sqrt(2)))
    near_end = jnp.where(has_both_sides, 0, jnp.where(lows >= 0, lows, -highs))
    slope = near_end + distance
    length = jnp.minimum(highs - lows, 80 / (slope + jnp.hypot(slope, jnp.full_like(slope, math.sqrt(80)))))
    mean_decay = unit_integral(
        lambda s, length, slope: jnp.exp(-s * length * (slope + s * length / 2)), length, slope, nodes=24
    )
    mass_of_one = jnp.exp(-near_end * (near_end / 2 + distance)) * length * mean_decay
    return jnp.where(has_both_sides, mass_of_both, mass_of_one)
