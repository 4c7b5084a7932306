"""Divergences between distributions."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from ._core import PROBABILITY, Mask, Reduction, Weights, check_values, loss_function, reduce, rowwise_inputs


@loss_function(static=("log_target", "axis"))
def kl_div(
    log_predictions: Float[ArrayLike, "*batch classes"],
    targets: Real[ArrayLike, "*batch classes"],
    *,
    log_target: bool = False,
    axis: int = -1,
    where: Mask | None = None,
    weights: Weights | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence of predicted from target distributions.

        Σₖ tₖ (log tₖ - xₖ)

    The bits, in nats, that coding targets by the predictions wastes; for distillation and soft labels. Terms with a
    target of 0 are 0, and so is their gradient. The mean is over distributions: PyTorch calls that "batchmean", and
    divides by the first axis alone if there are several.

    Args:
        log_predictions: Log-probabilities, shape (..., classes).
        targets: Probabilities, or their logs if `log_target`; the shape of `log_predictions`.
        log_target: Whether `targets` are logs.
        axis: The class axis.
        where, weights, reduction: As in `jaxloss.reduce`, per distribution.

    Returns:
        A scalar, or with reduction "none" the shape of `log_predictions` without `axis`; float32, or float64 if an
        input is.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.kl_div(jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[1.0, 0.0]]))
        Array(0.6931, dtype=float32)

    References:
        Kullback and Leibler, On information and sufficiency, 1951.
    """
    log_predictions, targets = rowwise_inputs(where, axis, log_predictions=log_predictions, targets=targets)
    values = jnp.sum(_kl_terms(log_predictions, targets, log_target=log_target), axis=-1)
    return reduce(values, where=where, weights=weights, reduction=reduction)


def _kl_terms(log_predictions: Array, targets: Array, *, log_target: bool) -> Array:
    absent = targets == (-jnp.inf if log_target else 0)
    ruled_out = log_predictions == -jnp.inf
    # Made safe before the maths: an infinite log meets neither 0 nor another one, in the terms or their gradient.
    present = jnp.where(absent, 0 if log_target else 1, targets)
    log_predictions = jnp.where(ruled_out, 0, log_predictions)
    probs, log_probs = (jnp.exp(present), present) if log_target else (present, jnp.log(present))
    check_values(PROBABILITY.contains(probs), targets, f"targets must be {'logs of ' * log_target}probabilities")
    return jnp.where(absent, 0, probs * (log_probs - log_predictions)) + jnp.where(ruled_out & ~absent, jnp.inf, 0)
