"""What is compared: each computation in the words of every library that has it.

Every call takes the same inputs and means the same number: where a library has no such option, it is composed of what
the library does have. `measure` asserts that all agree with jaxloss, in value and gradient, before it times any.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import jaxloss

from .peers import jax_cce, keras, optax, present, tokamax, torch

Inputs = tuple[NDArray[Any], ...]
Layout = Callable[[Inputs], Inputs]
Loss = Callable[..., Any]
Shape = tuple[int, ...]

SMOOTHING, Z_LOSS = 0.1, 1e-4
SMALL = (128, 10)
SHAPES = (SMALL, (2048, 1000), (512, 32_000), (2048, 32_000))


@dataclass(frozen=True)
class Comparison:
    """One computation, as each library has it.

    Attributes:
        group: The family that tables show together.
        variant: What it is.
        shapes: The sizes to measure it at, smallest first.
        sample: Makes the inputs for a shape; the first `differentiable` of them get a gradient.
        calls: The loss by candidate. The first word of a name is the library.
        references: Other computations on the same inputs to time beside it: what the least possible work would be.
        layouts: The inputs of candidates that want them laid out otherwise. Its own inverse for the gradients.
        tolerance: How far values may be apart, relative to jaxloss's.
        gradient_tolerance: The same for each entry of the gradients.
    """

    group: str
    variant: str
    shapes: tuple[Shape, ...]
    sample: Callable[..., Inputs]
    calls: Mapping[str, Loss]
    references: Mapping[str, Loss] = field(default_factory=dict)
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    differentiable: int = 1
    tolerance: float = 1e-3
    gradient_tolerance: float = 1e-3

    def candidates(self, shape: Shape) -> Iterator["Candidate"]:
        """Those whose library is here, with their inputs."""
        inputs = self.sample(np.random.default_rng(0), *shape)
        for name, loss in self.calls.items():
            if present(name):
                layout = self.layouts.get(name, _as_is)
                yield Candidate(name, loss, layout(inputs), self.differentiable, layout)


def _as_is(inputs: Inputs) -> Inputs:
    return inputs


def compiled_call(function: Loss, inputs: Inputs) -> Callable[[], Any]:
    """A call of the compiled function that waits for what it returns."""
    compiled, arrays = jax.jit(function), tuple(map(jnp.asarray, inputs))
    return lambda: jax.block_until_ready(compiled(*arrays))


@dataclass(frozen=True)
class Candidate:
    """A loss of one library with its inputs, and the calls of it to time."""

    name: str
    loss: Loss
    inputs: Inputs
    differentiable: int
    layout: Layout

    @property
    def in_jax(self) -> bool:
        """Whether it is a JAX function, so that it can be compiled."""
        return not self.name.startswith("torch")

    @property
    def value_and_grad(self) -> Loss:
        """Its value and gradients as one JAX function: a new one each time, which nothing has compiled yet."""
        return jax.value_and_grad(lambda *inputs: self.loss(*inputs), argnums=tuple(range(self.differentiable)))

    def gradient(self) -> Callable[[], Any]:
        """The call for value and gradients."""
        if self.in_jax:
            return compiled_call(self.value_and_grad, self.inputs)
        tensors = list(map(_tensor, self.inputs))
        leaves = [tensor.requires_grad_() for tensor in tensors[: self.differentiable]]

        def run() -> Any:
            value = self.loss(*tensors)
            return value, torch.autograd.grad(value, leaves)  # `backward`, without `.grad` to reset in between

        return run

    def forward(self) -> Callable[[], Any]:
        """The call for the value alone, compiled where that exists."""
        if self.in_jax:
            return compiled_call(self.loss, self.inputs)
        return self.unjitted()

    def unjitted(self) -> Callable[[], Any]:
        """The call for the value as one writes it in a notebook."""
        if self.in_jax:
            arrays = tuple(map(jnp.asarray, self.inputs))
            return lambda: jax.block_until_ready(self.loss(*arrays))
        tensors = tuple(map(_tensor, self.inputs))
        return lambda: self.loss(*tensors)


def _tensor(array: NDArray[Any]) -> Any:
    if np.issubdtype(array.dtype, np.integer):
        return torch.tensor(array).long()
    if array.dtype == jnp.bfloat16:
        return torch.tensor(array.astype(np.float32)).bfloat16()
    return torch.tensor(array)


# --- cross-entropy ----------------------------------------------------------------------------------------------------


def _logits(rng: np.random.Generator, *shape: int) -> NDArray[Any]:
    return rng.standard_normal(shape, dtype=np.float32)


def _labels(rng: np.random.Generator, *shape: int, classes: int) -> NDArray[Any]:
    return rng.integers(0, classes, shape, dtype=np.int32)


def _classification(rng: np.random.Generator, rows: int, classes: int) -> Inputs:
    return _logits(rng, rows, classes), _labels(rng, rows, classes=classes)


def _half_classification(rng: np.random.Generator, rows: int, classes: int) -> Inputs:
    logits, labels = _classification(rng, rows, classes)
    return logits.astype(jnp.bfloat16), labels


def _weighted_classification(rng: np.random.Generator, rows: int, classes: int) -> Inputs:
    return *_classification(rng, rows, classes), rng.uniform(0.5, 2.0, classes).astype(np.float32)


def _padded_classification(rng: np.random.Generator, rows: int, classes: int) -> Inputs:
    logits, labels, class_weights = _weighted_classification(rng, rows, classes)
    return logits, np.where(rng.random(rows) < 0.1, np.int32(-100), labels), class_weights


def _copy(logits: jax.Array, *_: jax.Array) -> jax.Array:
    """Reads and writes as much as the gradient has to: a mere copy would be compiled away."""
    return -logits


def _optax_plain(logits: jax.Array, labels: jax.Array) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _keras_plain(logits: jax.Array, labels: jax.Array) -> Any:
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def _optax_smoothed(logits: jax.Array, labels: jax.Array) -> Any:
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), SMOOTHING)
    return optax.softmax_cross_entropy(logits, targets).mean()


def _keras_smoothed(logits: jax.Array, labels: jax.Array) -> Any:
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING)
    return loss(keras.ops.one_hot(labels, logits.shape[-1]), logits)


def _optax_weighted(logits: jax.Array, labels: jax.Array, class_weights: jax.Array) -> Any:
    shares = class_weights[labels]
    return jnp.sum(shares * optax.softmax_cross_entropy_with_integer_labels(logits, labels)) / jnp.sum(shares)


def _keras_weighted(logits: jax.Array, labels: jax.Array, class_weights: jax.Array) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    return loss(labels, logits, sample_weight=class_weights[labels])


def _everything(logits: jax.Array, labels: jax.Array, class_weights: jax.Array) -> Any:
    return jaxloss.cross_entropy(
        logits, labels, class_weights=class_weights, label_smoothing=SMOOTHING, z_loss_weight=Z_LOSS
    )


def _optax_everything(logits: jax.Array, labels: jax.Array, class_weights: jax.Array) -> Any:
    counts = labels != -100
    targets = class_weights * optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), SMOOTHING)
    values = optax.softmax_cross_entropy(logits, targets) + Z_LOSS * jax.nn.logsumexp(logits, axis=-1) ** 2
    return jnp.sum(values, where=counts) / jnp.sum(class_weights[labels], where=counts)


def _torch_everything(logits: Any, labels: Any, class_weights: Any) -> Any:
    counts = labels != -100
    z_losses = Z_LOSS * torch.logsumexp(logits, dim=-1) ** 2
    shares = class_weights[labels[counts]]
    loss = torch.nn.functional.cross_entropy(logits, labels, weight=class_weights, label_smoothing=SMOOTHING)
    return loss + z_losses[counts].sum() / shares.sum()


_PLAIN: dict[str, Loss] = {
    "jaxloss": jaxloss.cross_entropy,
    "optax": _optax_plain,
    "Keras": _keras_plain,
    "torch": lambda logits, labels: torch.nn.functional.cross_entropy(logits, labels),
}
_SMOOTHED: dict[str, Loss] = {
    "jaxloss": lambda logits, labels: jaxloss.cross_entropy(logits, labels, label_smoothing=SMOOTHING),
    "optax": _optax_smoothed,
    "Keras": _keras_smoothed,
    "torch": lambda logits, labels: torch.nn.functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING),
}
_WEIGHTED: dict[str, Loss] = {
    "jaxloss": lambda logits, labels, weights: jaxloss.cross_entropy(logits, labels, class_weights=weights),
    "optax": _optax_weighted,
    "Keras": _keras_weighted,
    "torch": lambda logits, labels, weights: torch.nn.functional.cross_entropy(logits, labels, weight=weights),
}
_EVERYTHING: dict[str, Loss] = {
    "jaxloss": _everything,
    "optax": _optax_everything,
    "torch": _torch_everything,
}
_FLOOR: dict[str, Loss] = {"copy": _copy}
_NO_OPTIONS: dict[str, Loss] = {
    "no options": jax.value_and_grad(lambda logits, labels, _: jaxloss.cross_entropy(logits, labels))
}

CROSS_ENTROPY = "cross-entropy"
CROSS_ENTROPIES = [
    Comparison(CROSS_ENTROPY, "plain", SHAPES, _classification, _PLAIN, _FLOOR),
    Comparison(CROSS_ENTROPY, "smoothed", SHAPES, _classification, _SMOOTHED, _FLOOR),
    Comparison(CROSS_ENTROPY, "weighted", SHAPES, _weighted_classification, _WEIGHTED, _FLOOR),
    Comparison(CROSS_ENTROPY, "everything", SHAPES, _padded_classification, _EVERYTHING, _FLOOR | _NO_OPTIONS),
    Comparison(
        CROSS_ENTROPY,
        "bfloat16",
        SHAPES,
        _half_classification,
        _PLAIN,
        _FLOOR,
        # The others round log-probabilities of about -10 to bfloat16, to steps of 0.06: so coarse are their gradients.
        tolerance=0.01,
        gradient_tolerance=0.1,
    ),
]


# --- cross-entropy of a linear layer ----------------------------------------------------------------------------------


def _hidden_and_kernel(rng: np.random.Generator, rows: int, features: int, classes: int) -> Inputs:
    kernel = _logits(rng, features, classes) / np.float32(np.sqrt(features))
    return _logits(rng, rows, features), kernel, _labels(rng, rows, classes=classes)


def _classes_first(inputs: Inputs) -> Inputs:
    hidden, kernel, *labels = inputs
    return hidden, np.ascontiguousarray(kernel.T), *labels


def _three_matmuls(hidden: jax.Array, kernel: jax.Array, _: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The logits, and what brings gradients of their size back to the layer's inputs and kernel."""
    logits = hidden @ kernel
    return logits @ kernel.T, hidden.T @ logits


def _tokamax_linear(hidden: jax.Array, kernel: jax.Array, labels: jax.Array) -> Any:
    """Its `chunked_xla` with the largest block, up to the default, that divides the classes.

    Any other is filled up with classes of logit 0 that count, at least in tokamax 0.0.17: of 32,000 classes in blocks
    of 2,048 the loss is 0.13% too large.
    """
    block = next(block for block in range(2048, 0, -128) if kernel.shape[1] % block == 0)
    loss = tokamax.ChunkedXlaLinearSoftmaxCrossEntropyLoss(config=tokamax.Config(v_block_size=block))
    return loss(hidden, labels, kernel, reduction="mean")


def _torch_linear_chunked(hidden: Any, kernel: Any, labels: Any) -> Any:
    options = torch.nn.LinearCrossEntropyOptions()
    return torch.nn.functional.linear_cross_entropy(hidden, kernel, labels, options=options)


LINEAR = Comparison(
    "linear cross-entropy",
    "plain",
    ((2048, 256, 32_000), (1024, 512, 65_536)),
    _hidden_and_kernel,
    {
        "jaxloss": jaxloss.linear_cross_entropy,
        "jaxloss dense": lambda hidden, kernel, labels: jaxloss.cross_entropy(hidden @ kernel, labels),
        "optax dense": lambda hidden, kernel, labels: _optax_plain(hidden @ kernel, labels),
        "tokamax": _tokamax_linear,
        "jax-cce": lambda hidden, kernel, labels: jax_cce.linear_cross_entropy(hidden, kernel, labels),
        "torch": lambda hidden, kernel, labels: torch.nn.functional.linear_cross_entropy(hidden, kernel, labels),
        "torch chunked": _torch_linear_chunked,
    },
    {"three matmuls": _three_matmuls},
    {"jax-cce": _classes_first, "torch": _classes_first, "torch chunked": _classes_first},
    differentiable=2,
)


# --- CTC --------------------------------------------------------------------------------------------------------------


def _sequences(rng: np.random.Generator, batch: int, frames: int, classes: int, symbols: int) -> Inputs:
    logit_lengths = rng.integers(frames - frames // 5, frames + 1, batch, dtype=np.int32)
    label_lengths = rng.integers(symbols // 2, symbols + 1, batch, dtype=np.int32)
    labels = rng.integers(1, classes, (batch, symbols), dtype=np.int32)
    return _logits(rng, batch, frames, classes), labels, logit_lengths, label_lengths


def _frames_first(inputs: Inputs) -> Inputs:
    logits, *rest = inputs
    return np.ascontiguousarray(np.swapaxes(logits, 0, 1)), *rest


def _jaxloss_ctc(logits: jax.Array, labels: jax.Array, logit_lengths: jax.Array, label_lengths: jax.Array) -> Any:
    return jaxloss.ctc_loss(logits, labels, logit_lengths, label_lengths, reduction="sum")


def _optax_ctc(logits: jax.Array, labels: jax.Array, logit_lengths: jax.Array, label_lengths: jax.Array) -> Any:
    logit_paddings = jnp.arange(logits.shape[1]) >= logit_lengths[:, None]
    label_paddings = jnp.arange(labels.shape[1]) >= label_lengths[:, None]
    losses = optax.ctc_loss(logits, logit_paddings.astype(jnp.float32), labels, label_paddings.astype(jnp.float32))
    return losses.sum()


def _keras_ctc(logits: jax.Array, labels: jax.Array, logit_lengths: jax.Array, label_lengths: jax.Array) -> Any:
    return keras.ops.sum(keras.ops.ctc_loss(labels, logits, label_lengths, logit_lengths))


def _torch_ctc(logits: Any, labels: Any, logit_lengths: Any, label_lengths: Any) -> Any:
    log_probs = torch.nn.functional.log_softmax(logits, dim=-1)
    return torch.nn.functional.ctc_loss(log_probs, labels, logit_lengths, label_lengths, reduction="sum")


CTC = Comparison(
    "CTC",
    "plain",
    ((8, 100, 32, 20), (32, 500, 64, 100)),
    _sequences,
    {"jaxloss": _jaxloss_ctc, "optax": _optax_ctc, "Keras": _keras_ctc, "torch": _torch_ctc},
    layouts={"torch": _frames_first},
    # Over 500 frames float32 adds up errors: in torch 0.16% of the gradient's largest entry, in optax 0.08%.
    gradient_tolerance=0.1,
)


# --- entry by entry ---------------------------------------------------------------------------------------------------


def _regression(rng: np.random.Generator, *shape: int) -> Inputs:
    return _logits(rng, *shape), _logits(rng, *shape)


def _yes_or_no(rng: np.random.Generator, *shape: int) -> Inputs:
    return _logits(rng, *shape), rng.integers(0, 2, shape).astype(np.float32)


_BINARY: dict[str, Loss] = {
    "jaxloss": jaxloss.binary_cross_entropy_with_logits,
    "optax": lambda logits, targets: optax.sigmoid_binary_cross_entropy(logits, targets).mean(),
    "Keras": lambda logits, targets: keras.losses.BinaryCrossentropy(from_logits=True)(targets, logits),
    "torch": lambda logits, targets: torch.nn.functional.binary_cross_entropy_with_logits(logits, targets),
}
_SQUARED: dict[str, Loss] = {
    "jaxloss": jaxloss.mse_loss,
    "optax": lambda predictions, targets: optax.squared_error(predictions, targets).mean(),
    "Keras": lambda predictions, targets: keras.losses.MeanSquaredError()(targets, predictions),
    "torch": lambda predictions, targets: torch.nn.functional.mse_loss(predictions, targets),
}
_HUBER: dict[str, Loss] = {
    "jaxloss": jaxloss.huber_loss,
    "optax": lambda predictions, targets: optax.huber_loss(predictions, targets).mean(),
    "Keras": lambda predictions, targets: keras.losses.Huber()(targets, predictions),
    "torch": lambda predictions, targets: torch.nn.functional.huber_loss(predictions, targets),
}

_SIZES = (SMALL, (2048, 1000), (2048, 32_000))
ENTRYWISE = [
    Comparison("binary cross-entropy", "with logits", _SIZES, _yes_or_no, _BINARY, _FLOOR),
    Comparison("mean squared error", "plain", _SIZES, _regression, _SQUARED, _FLOOR),
    Comparison("Huber loss", "plain", _SIZES, _regression, _HUBER, _FLOOR),
]

COMPARISONS = [*CROSS_ENTROPIES, LINEAR, CTC, *ENTRYWISE]
