"""Functions that cancel when written down plainly, as integrals and series whose terms have one sign.

What is left of x - log(1 + x) for a small x is rounding. Written as x² ∫ σ/(1 + xσ) over [0, 1] nothing is subtracted,
in the value or in any derivative.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Stieltjes' continued fraction of log Γ(z) - (z - 1/2) log z + z - log(2π)/2, in full from z = 4.
_STIELTJES = (
    *(1 / 12, 1 / 30, 53 / 210, 195 / 371, 22999 / 22737, 29944523 / 19733142, 2.26948897420496, 3.00991738325939817),
    *(4.0268871923439012, 5.00276808075403005, 6.28391137081578218, 7.49591912238403393),
)
_SHIFTS = 4


def unit_integral(function: Callable[[float], Float[Array, "*shape"]], nodes: int = 10) -> Float[Array, "*shape"]:
    """∫ f over [0, 1] by Gauss's rule, to all digits where f is smooth; and so are its derivatives."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    terms = [
        weight / 2 * function((point + 1) / 2) for point, weight in zip(points.tolist(), weights.tolist(), strict=True)
    ]
    return functools.reduce(jnp.add, terms)


@jax.custom_jvp
def exp_excess(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(x) - 1 - x, which is never negative."""
    near = jnp.abs(x) < 1
    small = jnp.where(near, x, 0)
    series = small * small * _polynomial([1 / math.factorial(k) for k in range(2, 20)], small)
    return jnp.where(near, series, jnp.expm1(x) - x)


@exp_excess.defjvp
def _exp_excess_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return exp_excess(*primals), jnp.expm1(primals[0]) * tangents[0]


def log1p_deficit(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(x - log(1 + x)) / x², 1/2 at 0; for an x above -1/2."""
    near, small, large = _parted(x, jnp.abs(x) < 0.5)
    return jnp.where(near, unit_integral(lambda s: s / (1 + s * small)), (1 - jnp.log1p(large) / large) / large)


def log1p_over(
    x: Float[Array, "*shape"],
    y: Float[Array, "*shape"],
    z: Float[Array, "*shape"] | float = 1.0,
    *,
    inverse: Float[Array, "*shape"] | None = None,
) -> Float[Array, "*shape"]:
    """log(1 + x y z) / x, y z where x is 0; for a product that is not negative, and may be beyond the dtype.

    `inverse` is that of x, if it is what x was made of.
    """
    near = x * y * z < 0.5
    small = [jnp.where(near, factor, 0) for factor in (x, y, z)]
    large = [jnp.where(near, 1, factor) for factor in (x, y, z)]
    product = small[0] * small[1] * small[2]
    close = small[1] * small[2] * unit_integral(lambda s: 1 / (1 + s * product))
    over = 1 / large[0] if inverse is None else jnp.where(near, 1, inverse)
    return jnp.where(near, close, _log1p_of_large(*large) * over)


def log1p_product(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + x y), for a product that is not negative, and may be beyond the dtype."""
    near = x * y < 1
    product = jnp.where(near, x, 0) * jnp.where(near, y, 0)
    return jnp.where(near, jnp.log1p(product), _log1p_of_large(*(jnp.where(near, 1, factor) for factor in (x, y))))


def expm1_over(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(exp(x) - 1) / x, which is 1 at 0."""
    near, small, large = _parted(x, jnp.abs(x) < 1)
    return jnp.where(near, unit_integral(lambda s: jnp.exp(s * small)), jnp.expm1(large) / large)


def log_ratio(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(x / y) of positive numbers whose ratio may be beyond the dtype."""
    return 2 * jnp.log(jnp.sqrt(x) / jnp.sqrt(y))


def entropy_gap(
    p: Float[Array, "*shape"], difference: Float[Array, "*shape"], log_ratio: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The term p log(p/q) - p + q of p ≥ 0, given q - p and log(q/p); q where p is 0.

    It is never negative: the linear parts, which sum to 0 in a divergence, are what the others cancel with.
    """
    near = jnp.abs(difference) < p / 2
    excess = jnp.where(near, difference, 0) / jnp.where(near, p, 1)
    return jnp.where(near, p * exp_excess(jnp.log1p(excess)), difference - p * jnp.where(near, 0, log_ratio))


def stirling_error(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """What Stirling's formula misses: log Γ(z) - (z - 1/2) log z + z - log(2π)/2 at z = 1/x; 0 at 0."""
    shifted = [x / (1 + shift * x) for shift in range(_SHIFTS + 1)]
    last = shifted.pop()
    fraction = functools.reduce(
        lambda tail, coefficient: 1 + coefficient * last * last / tail, reversed(_STIELTJES[1:]), jnp.ones_like(x)
    )
    return functools.reduce(jnp.add, map(_stirling_step, shifted), _STIELTJES[0] * last / fraction)


@jax.custom_jvp
def quotient(x: Float[Array, "*shape"], y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The ratio x / y; its derivative does not take the square of y, which may be beyond the dtype."""
    return x / y


@quotient.defjvp
def _quotient_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    ratio = quotient(*primals)
    return ratio, quotient(tangents[0] - ratio * tangents[1], primals[1])


def _stirling_step(x: Array) -> Array:
    """The error at z less that at z + 1, of z = 1/x: (z + 1/2) log(1 + 1/z) - 1."""
    near, small, large = _parted(x, x <= 1)
    square = jnp.square(small / (2 + small))
    series = square * _polynomial([1 / (2 * k + 3) for k in range(16)], square)
    return jnp.where(near, series, (1 / large + 0.5) * jnp.log1p(large) - 1)


def _log1p_of_large(*factors: Array) -> Array:
    root = functools.reduce(jnp.multiply, [jnp.sqrt(jnp.abs(factor)) for factor in factors])
    return 2 * jnp.log(root) + jnp.log1p(jnp.square(1 / root))


def _parted(x: Array, near: Array) -> tuple[Array, Array, Array]:
    """Which numbers are near, those with others made 0, and the others with those made 1."""
    return near, jnp.where(near, x, 0), jnp.where(near, 1, x)


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Σₖ cₖ xᵏ, by Horner's rule."""
    return functools.reduce(
        lambda total, coefficient: total * x + coefficient, reversed(coefficients), jnp.zeros_like(x)
    )
