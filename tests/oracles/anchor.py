"""What an oracle is: how another library calls a loss, on which inputs and with which options."""

import importlib
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

os.environ["KERAS_BACKEND"] = "torch"  # read when Keras is imported, which is here and nowhere else
keras: Any = importlib.import_module("keras")
# Keras averages in single precision, as JAX does by default, and has no setting for that.
importlib.import_module("keras.src.backend.common.dtypes").BIT64_TO_BIT32_DTYPE["float64"] = "float64"
jax.config.update("jax_enable_x64", True)  # for those written in JAX

Arguments = dict[str, Any]
CLASSES, FEATURES = 4, 4
DRAWN = "drawn"


class Draw:
    """Random inputs of a case, for a loss of a given shape; continuous, so that no kink is met."""

    def __init__(self, seed: str, batch: tuple[int, ...], options: Mapping[str, Any]) -> None:
        # The legacy generator: numpy promises never to change its numbers.
        self._random = np.random.RandomState(zlib.crc32(seed.encode()))
        self.batch, self.options = batch, options

    def uniform(self, low: float, high: float, shape: tuple[int, ...] | None = None) -> np.ndarray:
        drawn = self._random.uniform(low, high, self.batch if shape is None else shape)
        return np.asarray(np.round(drawn, 6))  # short in the file

    def normal(self, shape: tuple[int, ...] | None = None, scale: float = 1.0) -> np.ndarray:
        return np.asarray(np.round(self._random.normal(scale=scale, size=self.batch if shape is None else shape), 6))

    def integers(self, low: int, high: int, shape: tuple[int, ...] | None = None) -> np.ndarray:
        return np.asarray(self._random.randint(low, high + 1, self.batch if shape is None else shape))

    def signs(self) -> np.ndarray:
        return np.asarray(2.0 * self.integers(0, 1) - 1)

    def rows(self, size: int = CLASSES, scale: float = 2.0) -> np.ndarray:
        axis = self.options.get("axis", -1) % (len(self.batch) + 1)
        return self.normal((*self.batch[:axis], size, *self.batch[axis:]), scale)

    def log_probabilities(self) -> np.ndarray:
        rows, axis = self.rows(), self.options.get("axis", -1)
        return np.asarray(np.round(rows - np.log(np.exp(rows).sum(axis, keepdims=True)), 6))

    def probabilities(self) -> np.ndarray:
        return np.asarray(np.round(np.exp(self.log_probabilities()), 6))

    def labels(self, classes: int = CLASSES) -> np.ndarray:
        drawn = self.integers(0, classes - 1)
        if self.options.get("ignore_index") is not None:
            drawn.reshape(-1)[::3] = self.options["ignore_index"]
        return drawn

    def option(self, name: str) -> np.ndarray:
        """What stands in the table as DRAWN."""
        match name:
            case "valid":
                drawn = self.integers(0, 2, (*self.batch, CLASSES)) > 0
                drawn[..., 0] = True  # what has none at all does not count
                return drawn
            case "head_bias":
                return self.normal((self.options["cutoffs"][0] + len(self.options["cutoffs"]),))
            case "pos_weight":
                return self.uniform(0.5, 2, self.batch[-1:])
            case "prior_means" | "prior_log_variances":
                return self.rows()
            case _:
                return self.uniform(0.5, 2, (CLASSES,))


@dataclass(frozen=True)
class Anchor:
    """A loss, how another library computes it, its inputs, and the options that the library has too."""

    loss: str
    call: Callable[..., Tensor]
    inputs: Callable[[Draw], Arguments]
    options: list[Arguments] = field(default_factory=lambda: [{}])
    batch: tuple[int, ...] = (2, 3)
    own_mean: bool = True
    """Whether the library's mean is ours. If not, its values are divided by the sum of the labels' class weights."""
    constant: frozenset[str] = frozenset({"class_weights", "pos_weight"})
    """The arguments of which the library takes no gradient."""
    kind: str = ""


def and_mean(**options: Any) -> list[Arguments]:
    """Options that change what the mean is divided by: without a reduction, and with the mean."""
    return [options, options | {"reduction": "mean"}]


def labelled(d: Draw) -> Arguments:
    return {"logits": d.rows(), "labels": d.labels()}


def classes_second(x: Tensor, axis: int) -> Tensor:
    return x if x.ndim == 1 else x.movedim(axis, 1).contiguous()


def matrix(x: Tensor, axis: int) -> Tensor:
    return x.movedim(axis, -1).reshape(-1, x.shape[axis]).contiguous()


def from_jax(function: Callable[..., jax.Array]) -> Callable[..., Tensor]:
    """A function of JAX arrays, as in optax, as one of tensors; with gradients of its positional arguments."""

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, options: Arguments, *tensors: Tensor) -> Tensor:
            arrays = [jnp.asarray(tensor.detach().numpy()) for tensor in tensors]
            value, ctx.pull = jax.vjp(lambda *arrays: function(*arrays, **options), *arrays)
            return torch.tensor(np.asarray(value))

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Any:
            gradients = ctx.pull(jnp.asarray(cotangent.numpy()))
            return None, *(
                None if gradient.dtype == jax.dtypes.float0 else torch.tensor(np.asarray(gradient))
                for gradient in gradients
            )

    def call(*tensors: Tensor, **options: Any) -> Tensor:
        arrays = {name: x.detach().numpy() if isinstance(x, Tensor) else x for name, x in options.items()}
        bridge: Any = Bridge  # torch does not type it
        value: Tensor = bridge.apply(arrays, *tensors)
        return value

    return call
