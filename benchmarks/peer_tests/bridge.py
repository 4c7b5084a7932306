"""Functions of JAX arrays as functions of PyTorch tensors, with gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch

jax.config.update("jax_enable_x64", True)  # the tests compare in double precision


def array(tensor: torch.Tensor) -> jax.Array:
    """The same numbers, without a gradient."""
    return jnp.asarray(tensor.detach().cpu().numpy())


def bridged(function: Callable[..., jax.Array], *tensors: torch.Tensor) -> torch.Tensor:
    """The function's value, which PyTorch can differentiate."""
    result: torch.Tensor = _Bridge.apply(function, *tensors)  # type: ignore[no-untyped-call] # torch has no types there
    return result


class _Bridge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., jax.Array], *tensors: torch.Tensor) -> torch.Tensor:
        value, ctx.vjp = jax.vjp(function, *map(array, tensors))
        ctx.dtype, ctx.tensors = value.dtype, tensors
        return _tensor(value, tensors[0])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        gradients = ctx.vjp(array(cotangents[0]).astype(ctx.dtype))
        return None, *map(_tensor, gradients, ctx.tensors)


def _tensor(x: jax.Array, like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(jax.device_get(x)).to(like.dtype)
