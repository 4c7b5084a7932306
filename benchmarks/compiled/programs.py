"""The programs: value and gradient of every loss by its first input, at sizes at which memory counts; and of its peers.

Each loss by the first line of the tests' catalogue that has it, and cross-entropy by all its lines. The linear layer
has the gradients of its inputs and of its kernel.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from awkward import is_float
from catalogue import CATALOGUE, CLASSES, Call

from ..accuracy import peers
from ..accuracy.subjects import Subject

ENTRIES, ROWS, WIDTH = 1 << 24, 4096, 32_000
Shapes = tuple[tuple[int, ...], ...]
IMAGES: Shapes = ((8, 65_536, 21), (8, 65_536))
PAIRS: Shapes = ((2048, 1024), (2048,))
# Of what is no list of entries or of wide rows.
SHAPES: dict[str, Shapes] = {
    "ctc_loss": ((32, 500, 100), (32, 64), (32,), (32,)),
    "linear_cross_entropy": ((8192, 4096), (4096, 131_072), (8192,)),
    **dict.fromkeys(("dice_loss", "generalized_dice_loss", "tversky_loss"), IMAGES),
    **dict.fromkeys(("nt_xent_loss", "circle_loss"), PAIRS),
    "quantile_huber_loss": ((ROWS, 200), (ROWS, 200)),
    "multilabel_margin_loss": ((ROWS, 100), (ROWS, 100)),
    "crps_ensemble": ((65_536, 50), (65_536,)),
    "gaussian_mixture_nll_loss": ((262_144, 16), (262_144,), (262_144, 16), (262_144, 16)),
    "gaussian_kl": ((65_536, 256), (65_536, 256)),
    "binary_cross_entropy_with_logits": ((ENTRIES,), (ENTRIES,)),
}
HALF = {"linear_cross_entropy"}  # as language models have it
BOTH = {"cross_entropy"}


class Program(NamedTuple):
    """A function to compile.

    Attributes:
        loss: The call, as the study of accuracy names it.
        library: Whose it is.
        dtype: Of the floating inputs.
        function: Returns value and gradient.
        shapes: Of the inputs.
        dtypes: Of the inputs.
    """

    loss: str
    library: str
    dtype: str
    function: Callable[..., Any]
    shapes: Shapes
    dtypes: tuple[Any, ...]

    @property
    def bytes_of_inputs(self) -> int:
        """What has to be read at least."""
        return sum(int(np.prod(s)) * jnp.dtype(d).itemsize for s, d in zip(self.shapes, self.dtypes, strict=True))


def programs() -> Iterator[Program]:
    """All of them."""
    seen = set()
    for call in CATALOGUE:
        name = call.loss.__name__
        if name not in seen or name in BOTH:
            for dtype in (jnp.float32, jnp.bfloat16):
                if dtype == (jnp.bfloat16 if name in HALF else jnp.float32) or name in BOTH:
                    yield from _of(call, dtype)
        seen.add(name)


def _of(call: Call, dtype: Any) -> Iterator[Program]:
    inputs = call.inputs((3,))
    if any(isinstance(x, tuple) for x in inputs):
        return  # of `adaptive_log_softmax_with_loss`, whose sizes are its own
    shapes = SHAPES.get(call.loss.__name__) or tuple(_scaled(x, np.ndim(inputs[0]) == 1) for x in inputs)
    dtypes = tuple(dtype if is_float(x) else jnp.int32 for x in inputs)
    options = {name: _widened(option, shapes) for name, option in call.options.items()}
    wide = Call(call.loss, call.kinds, options)
    by = (0, 1) if call.loss.__name__ == "linear_cross_entropy" else 0
    losses: dict[str, Callable[..., Any]] = {"jaxloss": partial(call.loss, **options)}
    losses |= {name: _mean_of(loss) for name, loss in peers.losses(Subject(wide, dtype)).items() if name != "torch"}
    for library, loss in losses.items():
        function = jax.value_and_grad(loss, argnums=by)
        yield Program(Subject(call, dtype).name, library, jnp.dtype(dtype).name, function, shapes, dtypes)


def _scaled(x: Any, of_entries: bool) -> tuple[int, ...]:
    if of_entries:
        return (ENTRIES,)
    return (ROWS, *(WIDTH if length == CLASSES else length for length in np.shape(x)[1:]))


def _widened(option: Any, shapes: Shapes) -> Any:
    """An option with an entry per class for as many classes as there are now."""
    if isinstance(option, np.ndarray) and option.ndim and option.shape[-1] == CLASSES:
        return np.ones((*option.shape[:-1], shapes[0][-1]), np.float32 if is_float(option) else option.dtype)
    return option


def _mean_of(loss: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *inputs: jnp.mean(loss(*inputs))
