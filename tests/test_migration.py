"""What the pages say to those who come from optax, Keras and PyTorch: every name, and for optax the same numbers."""

import inspect
import re
from collections.abc import Callable, Collection
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalogue import (
    BITS,
    CTC,
    DISTRIBUTION,
    FRAMES,
    LABEL,
    LOG_PROBS,
    LOGIT,
    LOGITS,
    PROB,
    REAL,
    SCORES,
    SIGN,
    SYMBOLS,
    TRIPLET,
    VECTOR,
    Input,
)
from test_laws import split

import jaxloss

DOCS = Path(__file__).parent.parent / "docs"
N = 18

# The losses of torch.nn 2.13 and keras.losses 3.15; those of optax 0.2.8 are the keys of PAIRS.
TORCH = [
    *("AdaptiveLogSoftmaxWithLoss", "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CosineEmbeddingLoss"),
    *("CrossEntropyLoss", "GaussianNLLLoss", "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss"),
    *("LinearCrossEntropyLoss", "MSELoss", "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss"),
    *("MultiMarginLoss", "NLLLoss", "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss"),
    *("TripletMarginWithDistanceLoss", "CosineSimilarity", "PairwiseDistance"),
]
KERAS = [
    *("BinaryCrossentropy", "BinaryFocalCrossentropy", "CTC", "CategoricalCrossentropy"),
    *("CategoricalFocalCrossentropy", "CategoricalGeneralizedCrossEntropy", "CategoricalHinge", "Circle"),
    *("CosineSimilarity", "Dice", "Hinge", "Huber", "KLDivergence", "LogCosh", "Loss", "MeanAbsoluteError"),
    *("MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson"),
    *("SparseCategoricalCrossentropy", "SquaredHinge", "Tversky"),
]


class Pair(NamedTuple):
    """A loss of optax, ours called so that it means the same, and what both take."""

    theirs: Callable[..., Any]
    ours: Callable[..., Any]
    kinds: tuple[Input, ...]
    tolerance: float = 1e-9


def unreduced(loss: Callable[..., jax.Array], **options: Any) -> Callable[..., jax.Array]:
    return lambda *inputs: loss(*inputs, **options, reduction="none")


def paddings(lengths: Any, size: int) -> Any:
    return (jnp.arange(size) >= lengths[:, None]).astype(float)


def padded_ctc(logits: Any, labels: Any, logit_lengths: Any, label_lengths: Any) -> Any:
    inputs = logits, paddings(logit_lengths, FRAMES), labels, paddings(label_lengths, SYMBOLS)
    return optax.losses.ctc_loss(*inputs)


def padded_ctc_with_forward_probs(logits: Any, labels: Any, logit_lengths: Any, label_lengths: Any) -> Any:
    inputs = logits, paddings(logit_lengths, FRAMES), labels, paddings(label_lengths, SYMBOLS)
    return optax.losses.ctc_loss_with_forward_probs(*inputs)[0]


def frequency_weighted_dice(logits: Any, targets: Any) -> Any:
    rarity = 1 / (targets.sum((0, 1)) ** 2 + 1e-7)
    return jaxloss.dice_loss(jax.nn.softmax(logits), targets, class_weights=rarity, smooth_nr=2.0, smooth_dr=2.0)


def mean_logsumexp(logits: Any) -> Any:
    return jax.nn.logsumexp(logits, axis=-1)


IMAGE = Input(lambda rng, batch: rng.normal(size=(*batch, 4, 3)))
REGIONS = Input(lambda rng, batch: np.eye(3)[rng.integers(0, 3, (*batch, 4))])
MASK = Input(lambda rng, batch: rng.integers(0, 2, (*batch, 4, 1)).astype(float))
SCORE_MAP = Input(lambda rng, batch: rng.normal(size=(*batch, 4, 1)))
LABEL_BIT = Input(lambda rng, batch: rng.integers(0, 2, batch))
ID = Input(lambda rng, batch: rng.integers(0, 3, batch))

theirs = optax.losses
PAIRS = {
    "binary_dice_loss": Pair(
        theirs.binary_dice_loss,
        lambda logits, targets: unreduced(jaxloss.dice_loss, smooth_nr=2.0, smooth_dr=2.0)(
            jax.nn.sigmoid(logits), targets
        ),
        (SCORE_MAP, MASK),
    ),
    "convex_kl_divergence": Pair(
        theirs.generalized_kl_divergence, unreduced(jaxloss.generalized_kl_div), (LOG_PROBS, DISTRIBUTION)
    ),
    "cosine_distance": Pair(theirs.cosine_distance, unreduced(jaxloss.cosine_distance), (VECTOR, VECTOR)),
    "cosine_similarity": Pair(theirs.cosine_similarity, jaxloss.cosine_similarity, (VECTOR, VECTOR)),
    # optax stands -1e5 in for the log of 0.
    "ctc_loss": Pair(padded_ctc, unreduced(jaxloss.ctc_loss), CTC, 1e-6),
    "ctc_loss_with_forward_probs": Pair(padded_ctc_with_forward_probs, unreduced(jaxloss.ctc_loss), CTC, 1e-6),
    "dice_loss": Pair(
        theirs.dice_loss,
        lambda logits, targets: unreduced(jaxloss.dice_loss, smooth_nr=2.0, smooth_dr=2.0)(
            jax.nn.softmax(logits), targets
        ),
        (IMAGE, REGIONS),
    ),
    "generalized_kl_divergence": Pair(
        theirs.generalized_kl_divergence, unreduced(jaxloss.generalized_kl_div), (LOG_PROBS, DISTRIBUTION)
    ),
    "hinge_loss": Pair(theirs.hinge_loss, unreduced(jaxloss.hinge_loss), (REAL, SIGN)),
    "huber_loss": Pair(theirs.huber_loss, unreduced(jaxloss.huber_loss), (REAL, REAL)),
    "kl_divergence": Pair(theirs.kl_divergence, unreduced(jaxloss.kl_div), (LOG_PROBS, DISTRIBUTION)),
    "kl_divergence_with_log_targets": Pair(
        theirs.kl_divergence_with_log_targets, unreduced(jaxloss.kl_div, log_target=True), (LOG_PROBS, LOG_PROBS)
    ),
    "l2_loss": Pair(theirs.l2_loss, lambda x, y: unreduced(jaxloss.mse_loss)(x, y) / 2, (REAL, REAL)),
    "log_cosh": Pair(theirs.log_cosh, unreduced(jaxloss.log_cosh_loss), (REAL, REAL)),
    "make_fenchel_young_loss": Pair(
        theirs.make_fenchel_young_loss(mean_logsumexp),
        unreduced(jaxloss.make_fenchel_young_loss(mean_logsumexp)),
        (LOGITS, DISTRIBUTION),
    ),
    "multiclass_generalized_dice_loss": Pair(
        theirs.multiclass_generalized_dice_loss, frequency_weighted_dice, (IMAGE, REGIONS)
    ),
    "multiclass_hinge_loss": Pair(
        theirs.multiclass_hinge_loss, unreduced(jaxloss.multiclass_hinge_loss), (SCORES, LABEL)
    ),
    "multiclass_perceptron_loss": Pair(
        theirs.multiclass_perceptron_loss, unreduced(jaxloss.multiclass_perceptron_loss), (SCORES, LABEL)
    ),
    "multiclass_sparsemax_loss": Pair(
        theirs.multiclass_sparsemax_loss, unreduced(jaxloss.sparsemax_loss), (SCORES, LABEL)
    ),
    "ntxent": Pair(theirs.ntxent, jaxloss.nt_xent_loss, (VECTOR, ID), 1e-7),
    "perceptron_loss": Pair(theirs.perceptron_loss, unreduced(jaxloss.perceptron_loss), (REAL, SIGN)),
    "poly_loss_cross_entropy": Pair(
        theirs.poly_loss_cross_entropy, unreduced(jaxloss.poly_cross_entropy), (LOGITS, DISTRIBUTION)
    ),
    "ranking_softmax_loss": Pair(theirs.ranking_softmax_loss, jaxloss.ranking_softmax_loss, (LOGITS, BITS)),
    "safe_softmax_cross_entropy": Pair(
        theirs.safe_softmax_cross_entropy, unreduced(jaxloss.cross_entropy), (LOGITS, DISTRIBUTION)
    ),
    "sigmoid_binary_cross_entropy": Pair(
        theirs.sigmoid_binary_cross_entropy, unreduced(jaxloss.binary_cross_entropy_with_logits), (LOGIT, PROB)
    ),
    "sigmoid_focal_loss": Pair(
        lambda logits, targets: theirs.sigmoid_focal_loss(logits, targets, alpha=0.25),
        unreduced(jaxloss.sigmoid_focal_loss, alpha=0.25),
        (LOGIT, PROB),
    ),
    "smooth_labels": Pair(
        lambda labels: theirs.smooth_labels(labels, 0.1),
        lambda labels: jaxloss.smooth_labels(labels, label_smoothing=0.1),
        (DISTRIBUTION,),
    ),
    "softmax_cross_entropy": Pair(
        theirs.softmax_cross_entropy, unreduced(jaxloss.cross_entropy), (LOGITS, DISTRIBUTION)
    ),
    "softmax_cross_entropy_with_integer_labels": Pair(
        theirs.softmax_cross_entropy_with_integer_labels, unreduced(jaxloss.cross_entropy), (LOGITS, LABEL)
    ),
    "sparsemax_loss": Pair(
        theirs.sparsemax_loss,
        lambda logits, labels: unreduced(jaxloss.sparsemax_loss)(
            jnp.stack([jnp.zeros_like(logits), logits], axis=-1), labels
        ),
        (REAL, LABEL_BIT),
    ),
    "squared_error": Pair(theirs.squared_error, unreduced(jaxloss.mse_loss), (REAL, REAL)),
    "triplet_margin_loss": Pair(
        lambda *triplet: theirs.triplet_margin_loss(*triplet, eps=0.0),
        unreduced(jaxloss.triplet_margin_loss, eps=0.0),
        TRIPLET,
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_optax_gives_the_same(name: str) -> None:
    pair = PAIRS[name]
    rng = np.random.default_rng(0)
    floating, rebuild = split(tuple(kind.sample(rng, (N,)) for kind in pair.kinds))

    def evaluated(loss: Callable[..., Any], floating: Any) -> Any:
        def total(floating: Any) -> Any:
            values = loss(*rebuild(floating))
            return jnp.sum(values * jnp.cos(jnp.arange(values.size)).reshape(values.shape)), values

        return jax.grad(total, has_aux=True)(floating)

    @jax.jit
    def both(floating: Any) -> Any:
        return evaluated(pair.theirs, floating), evaluated(pair.ours, floating)

    # optax promotes dtypes and ranks as JAX does unless it is strict.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected, found = both(floating)
    for ours, optaxs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, optaxs, rtol=pair.tolerance, atol=pair.tolerance)


class Row(NamedTuple):
    """What a page says of one loss of another library."""

    theirs: str
    ours: list[str]
    differences: str


def rows(page: str) -> list[Row]:
    section = (DOCS / page).read_text().partition("\n## Every loss\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    return [Row(name.strip(" `"), re.findall(r"`([\w.]+)", ours), text) for name, ours, text in cells]


@pytest.mark.parametrize(
    ("page", "names"),
    [("coming_from_optax.md", PAIRS), ("coming_from_keras.md", KERAS), ("coming_from_pytorch.md", TORCH)],
)
def test_the_page_has_every_name(page: str, names: Collection[str]) -> None:
    assert sorted(row.theirs for row in rows(page)) == sorted(names)


@pytest.mark.parametrize("page", ["coming_from_optax.md", "coming_from_keras.md", "coming_from_pytorch.md"])
def test_the_page_calls_ours_by_their_names(page: str) -> None:
    for row in rows(page):
        for name in row.ours:
            known = {*inspect.signature(attrgetter(name)(jaxloss)).parameters, *vars(jaxloss)}
            # As in "`weight` is `class_weights`" and "with `log_input=False`".
            for ours in re.findall(r"\b(?:is|with) `(\w+)", row.differences):
                assert ours in known, f"{name} has no {ours}"
