"""How losses become one number: masks, weights, and means that stay exact over micro-batches and devices."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, cast

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._math.arithmetic import masked
from .._math.dtypes import widened
from .checks import NON_NEGATIVE, in_domain, require_option, tracing
from .decorator import loss_of
from .inputs import broadcastable, sharded_as
from .kinds import Mask, Reduction, Weights

P = ParamSpec("P")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PartialMean:
    """A mean before its division: add those of micro-batches, `jax.lax.psum` those of devices, then take `value`.

    The mean of means is wrong where parts count differently: losses {2} and {1, 1, 1} have the mean 1.25, not 1.5.

    Attributes:
        total: The weighted sum of the losses, a scalar.
        weight: The sum of the weights, a scalar.

    Example:
        >>> import jaxloss
        >>> parts = jaxloss.PartialMean(2.0, 1.0), jaxloss.PartialMean(3.0, 3.0)
        >>> print(sum(parts).value)
        1.25
    """

    total: Float[ArrayLike, ""]
    weight: Float[ArrayLike, ""]

    def __add__(self, other: "PartialMean | int") -> "PartialMean":
        if isinstance(other, PartialMean):
            return PartialMean(self.total + other.total, self.weight + other.weight)
        return self if other == 0 else NotImplemented  # `sum` starts at 0

    __radd__ = __add__

    @property
    def value(self) -> Float[Array, ""]:
        """The mean: total over weight, and 0 with zero gradient over nothing."""
        nothing = jnp.equal(self.weight, 0)
        return jnp.where(nothing, 0, self.total / jnp.where(nothing, 1, self.weight))


def partial_mean(loss: Callable[P, Array]) -> Callable[P, PartialMean]:
    """Makes a loss return its mean before the division, for exact means over micro-batches and devices.

    Apply it first, closest to the loss: `jax.vmap(partial_mean(loss))`. Inside `jax.shard_map`, differentiate
    the value of the `psum`-ed partial mean, and take no `psum` of the gradients: that would count each device again.

    Args:
        loss: A loss of this library, or one made with `loss_function`.

    Returns:
        A function with the arguments of `loss` but `reduction`, returning a `PartialMean`.

    Raises:
        TypeError: `loss` was not made with `loss_function`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> partial_mse = jaxloss.partial_mean(jaxloss.mse_loss)
        >>> batches = [(jnp.array([3.0]), jnp.array([1.0])), (jnp.ones(3), jnp.zeros(3))]
        >>> sum(partial_mse(*batch) for batch in batches).value
        Array(1.75, dtype=float32)
    """
    if loss_of(loss) is None:
        mend = ": use partial(partial_mean(loss), ...)" if isinstance(loss, functools.partial) else ""
        raise TypeError(f"partial_mean: expected a loss made with loss_function, innermost, got {loss!r}{mend}")
    return _PartialLoss(loss)


class _PartialLoss(Generic[P]):
    """A loss that returns its mean before the division: an object, so that it can be pickled."""

    def __init__(self, loss: Callable[P, Array]) -> None:
        self.loss = loss
        functools.update_wrapper(self, loss)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> PartialMean:
        if "reduction" in kwargs:
            raise TypeError(f"partial_mean({self.loss.__name__}) is a mean: it takes no reduction")
        loss = loss_of(self.loss)
        assert loss is not None
        return cast(PartialMean, loss.partial(*args, **kwargs))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial_mean, (self.loss,)


def reduce(
    values: Float[Array, "..."],
    *,
    where: Mask | None = None,
    weights: Weights | None = None,
    normalizer: Float[Array, "..."] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Applies mask and weights to unreduced losses, and reduces them.

    Every loss ends in it, so that `where`, `weights` and `reduction` mean the same everywhere. A loss is float32, or
    float64 where an input is that.

    Args:
        values: The losses, one per entry or row.
        where: Boolean mask of the entries that count. A scalar, or the rank of `values` with axes of its sizes or 1.
        weights: Multiplier of each entry, shaped like `where`. Weight 2 is a repeat, weight 0 a removal; but only
            `where` shields from NaN.
        normalizer: What each entry adds to the divisor of the mean before its weight, if not 1: for values that
            are weighted already, as by class.
        reduction: "mean", "sum" or "none".

    Returns:
        "mean": sum of the weighted values over the sum of the weights, 0 where there are none. "sum": the former.
        "none": the weighted values, 0 where excluded, of the shape of `values`.

    Raises:
        ValueError: `where` or `weights` does not fit `values`, or there is no such reduction.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxloss
        >>> jaxloss.reduce(jnp.array([1.0, 2.0, jnp.nan]), where=jnp.array([True, True, False]))
        Array(1.5, dtype=float32)
    """
    values, weight = weighted(values, where, weights, normalizer)
    return values if reduction == "none" and not tracing().partial else reduced(jnp.sum(values), weight, reduction)


def weighted(
    values: Array, where: Mask | None, weights: Weights | None, normalizer: Array | None
) -> tuple[Array, Array]:
    """The losses with mask and weights applied, and the sum of the weights."""
    values = widened(values)
    mask = None if where is None else sharded_as(values, broadcastable("where", where, values.shape))
    values = masked(values, mask)
    if weights is not None:
        multipliers = sharded_as(values, broadcastable("weights", weights, values.shape))
        multipliers = masked(multipliers.astype(values.dtype), mask)
        multipliers = in_domain("weights", multipliers, NON_NEGATIVE)
        values = multipliers * values
        normalizer = multipliers if normalizer is None else multipliers * normalizer
    return values, _total_weight(values, mask, normalizer)


def reduced(total: Array, weight: Array, reduction: Reduction) -> Array:
    """What `reduce` returns of the sum of weighted losses and that of the weights."""
    if tracing().partial:
        return cast(Array, PartialMean(total, weight))
    require_option("reduction", reduction, ("mean", "sum", "none"))
    return total if reduction == "sum" else PartialMean(total, weight).value


def _total_weight(values: Array, mask: Array | None, normalizer: Array | None) -> Array:
    if normalizer is None:
        # Counted as integers: a float32 sum of ones stands still at 2**24.
        counted = jnp.ones((), jnp.int32) if mask is None else mask.astype(jnp.int32)
    else:
        counted = masked(normalizer, mask)
    stretched = values.size / max(counted.size, 1)
    return jnp.sum(counted).astype(values.dtype) * stretched
