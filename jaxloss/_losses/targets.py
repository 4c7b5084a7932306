"""Targets: labels made into distributions, for `cross_entropy` and losses like it.

These are no losses, and take no reduction.
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
    """Class probabilities of which a share is spread evenly over all classes.

        (1 - a) y + a/K,  a = label_smoothing, K classes

    `cross_entropy` and others do so by themselves, and leave out classes that are ruled out; this is for losses that
    take probabilities only. optax calls the share `alpha`.

    Args:
        labels: Class probabilities, shape (..., classes); floating.
        label_smoothing: Share, in [0, 1].
        axis: The class axis.

    Returns:
        Probabilities of the shape of `labels`.

    Raises:
        TypeError: Labels are integers.

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
    """Probabilities of bins whose expected centre is the value: all on its two neighbours.

        pᵢ = (bᵢ₊₁ - v) / (bᵢ₊₁ - bᵢ),  pᵢ₊₁ = (v - bᵢ) / (bᵢ₊₁ - bᵢ),  bᵢ ≤ v ≤ bᵢ₊₁

    Makes a regression of a wide range, as of returns in reinforcement learning, a classification. A value outside of
    the bins counts as the nearest, without a gradient; at a centre the gradient is that to its right.

    Args:
        values: Any shape.
        bins: Centres of the bins, rising, shape (n,).

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
    # Each share is formed from its own difference, so that a small one is accurate.
    beyond = values >= highs
    upper = jnp.where(beyond, 1, jnp.where(values < lows, 0, (values - lows) / widths))
    lower = jnp.where(beyond, 0, jnp.where(values < lows, 1, (highs - values) / widths))
    one = jnp.ones_like(values)
    return jnp.concatenate([one, upper], axis=-1) * jnp.concatenate([lower, one], axis=-1)


def _rows_and_intervals(values: ArrayLike, name: str, positions: ArrayLike) -> tuple[Array, tuple[Array, Array]]:
    """Values with an axis for the bins, and the lower and upper ends of the intervals between positions."""
    values, positions = jnp.asarray(values), jnp.asarray(positions)
    require_shape(name, positions, (positions.size,), "rising numbers")
    lows, highs = positions[:-1], positions[1:]
    highs = check_values(name, highs, lows < highs, "rising")
    aligned = tuple(range(values.ndim))
    return values[..., None], (jnp.expand_dims(lows, aligned), jnp.expand_dims(highs, aligned))


@array_function(domains={"sigma": POSITIVE})
def hl_gauss_targets(
    values: Float[ArrayLike, "*batch"], edges: Float[ArrayLike, " n+1"], *, sigma: Scalar
) -> Float[Array, "*batch n"]:
    """Probabilities of bins under a normal distribution around the value, cut off at the outermost edges.

        pᵢ = (Φ((eᵢ₊₁ - v)/σ) - Φ((eᵢ - v)/σ)) / (Φ((eₙ - v)/σ) - Φ((e₀ - v)/σ))

    Makes a regression a classification, as `two_hot` does, but tells it which bins are near: often the better choice,
    with a σ of about 3/4 of a bin. A value far outside of the edges falls into the nearest bin.

    Args:
        values: Any shape.
        edges: Edges of the bins, rising, shape (n + 1,).
        sigma: Standard deviation, in the units of `values`; positive.

    Returns:
        Probabilities, shape (..., n), whose sum is 1.

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
    """∫ exp(-s (s/2 + distance)) ds over each interval: normal masses, relative to the density at s = 0.

    An interval reaches to both sides of 0 only if the distance is 0. One that does not has its mass beside its near
    end, up to where 40 factors of e are gone.
    """
    around = (lows < 0) & (highs > 0)
    mass_around = math.sqrt(math.pi / 2) * (jax.lax.erf(highs / math.sqrt(2)) - jax.lax.erf(lows / math.sqrt(2)))
    near = jnp.where(around, 0, jnp.where(lows >= 0, lows, -highs))
    slope = near + distance
    length = jnp.minimum(highs - lows, 80 / (slope + jnp.hypot(slope, jnp.full_like(slope, math.sqrt(80)))))
    decays = unit_integral(
        lambda s, reach, slope: jnp.exp(-s * reach * (slope + s * reach / 2)), length, slope, nodes=24
    )
    return jnp.where(around, mass_around, jnp.exp(-near * (near / 2 + distance)) * length * decays)
