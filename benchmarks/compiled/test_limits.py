"""What the compilers for an H100 and a TPU v5e may make of the losses at most: `make limits`, which needs neither chip.

The limits are bytes moved in parts of those of the inputs, and bytes held beside inputs and outputs; of value and
gradient by the first input. Nothing is run.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from awkward import is_float
from catalogue import CATALOGUE

import jaxloss

from .chips import CHIPS
from .traffic import Traffic, traffic_of

pytest.importorskip("jax_plugins.xla_cuda12")
pytest.importorskip("libtpu")

ENTRIES = 1 << 22
# Of rows: the sizes of a language model's, of one whose classes no power of two divides, and of a classifier's.
SIZES = [(4096, 32_000), (1024, 50_257), (8192, 1000)]


@cache
def sharding_on(chip: str) -> jax.sharding.Sharding:
    return CHIPS[chip].sharding()


class Needs(NamedTuple):
    traffic: Traffic
    inputs: int
    held: int


def needs(chip: str, loss: Callable[..., Any], *inputs: tuple[tuple[int, ...], Any], by: Any = 0) -> Needs:
    arguments = [jax.ShapeDtypeStruct(shape, dtype, sharding=sharding_on(chip)) for shape, dtype in inputs]
    compiled: Any = jax.jit(jax.value_and_grad(loss, argnums=by)).lower(*arguments).compile()
    size = sum(x.size * x.dtype.itemsize for x in arguments)
    return Needs(traffic_of(compiled.as_text()), size, compiled.memory_analysis().temp_size_in_bytes)


# --- losses of single entries -----------------------------------------------------------------------------------------


def elementwise() -> Iterator[Any]:
    for call in CATALOGUE:
        inputs = call.inputs((3,))
        if all(np.shape(x) == (3,) for x in inputs):
            yield pytest.param(call, [is_float(x) for x in inputs], id=call.name)


@pytest.mark.parametrize(("call", "floating"), list(elementwise()))
def test_a_loss_of_single_entries_reads_its_inputs_once_and_holds_nothing(call: Any, floating: list[bool]) -> None:
    inputs = [((ENTRIES,), jnp.float32 if is_floating else jnp.int32) for is_floating in floating]
    needed = needs("H100", partial(call.loss, **call.options), *inputs)
    read_and_written = (len(inputs) + 1) / len(inputs)
    assert needed.traffic.moved <= 1.07 * read_and_written * needed.inputs
    assert needed.held <= 0.01 * needed.inputs


# --- losses of rows ---------------------------------------------------------------------------------------------------


def with_every_option(loss: Callable[..., Any]) -> Callable[..., Any]:
    def call(logits: Any, labels: Any) -> Any:
        weights = jnp.ones(logits.shape[-1])
        return loss(logits, labels, class_weights=weights, label_smoothing=0.1, z_loss_weight=1e-4)

    return call


def adjusted(logits: Any, labels: Any) -> Any:
    return jaxloss.logit_adjusted_cross_entropy(logits, labels, log_prior=jnp.zeros(logits.shape[-1]))


# With integer labels, with rows of targets, and with three sets of vectors.
LABELLED = {
    "cross_entropy": (jaxloss.cross_entropy, 3.1),
    "cross_entropy, every option": (with_every_option(jaxloss.cross_entropy), 3.2),
    "softmax_focal_loss": (jaxloss.softmax_focal_loss, 3.2),
    "poly_cross_entropy": (jaxloss.poly_cross_entropy, 3.2),
    "generalized_cross_entropy": (jaxloss.generalized_cross_entropy, 3.2),
    "logit_adjusted_cross_entropy": (adjusted, 3.2),
    "multiclass_hinge_loss": (jaxloss.multiclass_hinge_loss, 3.2),
    "multiclass_perceptron_loss": (jaxloss.multiclass_perceptron_loss, 3.2),
}
PAIRED = {
    "cross_entropy": (jaxloss.cross_entropy, 2.6),
    "cross_entropy, every option": (with_every_option(jaxloss.cross_entropy), 2.6),
    "logit_adjusted_cross_entropy": (adjusted, 2.6),
    "ranking_softmax_loss": (jaxloss.ranking_softmax_loss, 2.6),
    "multilabel_soft_margin_loss": (jaxloss.multilabel_soft_margin_loss, 2.6),
    "cosine_distance": (jaxloss.cosine_distance, 2.6),
    "kl_div": (jaxloss.kl_div, 1.6),
    "js_div": (jaxloss.js_div, 1.6),
}
HALF = {"cross_entropy", "cross_entropy, every option"}


def of_rows() -> Iterator[Any]:
    for chip in CHIPS:
        for rows, classes in SIZES:
            for losses, targets in ((LABELLED, ((rows,), jnp.int32)), (PAIRED, ((rows, classes), None))):
                for name, (loss, limit) in losses.items():
                    for dtype in (jnp.float32, jnp.bfloat16)[: 1 + (name in HALF)]:
                        inputs = ((rows, classes), dtype), (targets[0], targets[1] or dtype)
                        kind = "labels" if losses is LABELLED else "rows"
                        name_of = f"{chip}-{name}, {kind}, {rows} x {classes}, {jnp.dtype(dtype).name}"
                        yield pytest.param(chip, loss, inputs, limit, id=name_of)


@pytest.mark.parametrize(("chip", "loss", "inputs", "limit"), list(of_rows()))
def test_a_loss_of_rows_reads_them_once_for_the_value_and_once_for_the_gradient(
    chip: str, loss: Callable[..., Any], inputs: Any, limit: float
) -> None:
    needed = needs(chip, loss, *inputs)
    assert needed.traffic.moved <= limit * needed.inputs
    assert needed.held <= 0.06 * needed.inputs  # sums of parts of the rows, more with every option


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chip", CHIPS)
def test_a_triplet_is_read_once_for_all_its_distances(chip: str, size: tuple[int, int], swap: bool) -> None:
    needed = needs(chip, partial(jaxloss.triplet_margin_loss, swap=swap), *[(size, jnp.float32)] * 3)
    assert needed.traffic.moved <= 2.4 * needed.inputs
    assert needed.held <= 0.01 * needed.inputs


# --- the linear layer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "features", "moved", "held", "beside_dense"),
    [(8192, 4096, 50, 0.54, 1.35), (32_768, 4096, 200, 4.3, 1.05), (8192, 1024, 35, 0.44, 1.35)],
)
def test_the_linear_layer_moves_and_holds_little(
    rows: int, features: int, moved: float, held: float, beside_dense: float
) -> None:
    half, classes = jnp.bfloat16, 131_072
    inputs = ((rows, features), half), ((features, classes), half), ((rows,), jnp.int32)
    needed = needs("H100", jaxloss.linear_cross_entropy, *inputs, by=(0, 1))
    assert needed.traffic.moved <= moved * 1e9
    assert needed.held <= held * 1e9
    assert set(needed.traffic.products) == {"bf16 x bf16 -> f32"}
    dense = 3 * 2 * rows * features * classes / CHIPS["H100"].flops
    assert CHIPS["H100"].seconds(needed.traffic) <= beside_dense * dense
