"""What makes the losses one library: names, order, defaults, docstrings and exports, read off the functions."""

import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from catalogue import CATALOGUE

import jaxloss
from jaxloss import _core

LOSSES = sorted((f for f in _core._losses if f.__module__.startswith("jaxloss.")), key=lambda f: f.__name__)

# Inputs may be passed by name, so their names are a promise.
INPUTS = {
    "adaptive_log_softmax_with_loss": ["hidden", "labels", "head", "tails"],
    "asymmetric_loss": ["logits", "targets"],
    "binary_cross_entropy": ["probs", "targets"],
    "binary_cross_entropy_with_logits": ["logits", "targets"],
    "charbonnier_loss": ["predictions", "targets"],
    "circle_loss": ["embeddings", "labels"],
    "cosine_distance": ["predictions", "targets"],
    "cosine_embedding_loss": ["x1", "x2", "targets"],
    "cross_entropy": ["logits", "labels"],
    "crps_ensemble": ["predictions", "targets"],
    "crps_gaussian": ["means", "targets", "scales"],
    "ctc_loss": ["logits", "labels", "logit_lengths", "label_lengths"],
    "dice_loss": ["probs", "labels"],
    "entmax_loss": ["logits", "labels"],
    "expectile_loss": ["predictions", "targets"],
    "gaussian_kl": ["means", "log_variances"],
    "gaussian_mixture_nll_loss": ["means", "targets", "scales", "logits"],
    "gaussian_nll_loss": ["means", "targets", "variances"],
    "general_robust_loss": ["predictions", "targets"],
    "generalized_cross_entropy": ["logits", "labels"],
    "generalized_dice_loss": ["probs", "labels"],
    "generalized_kl_div": ["log_predictions", "targets"],
    "hinge_embedding_loss": ["predictions", "targets"],
    "hinge_loss": ["logits", "targets"],
    "huber_loss": ["predictions", "targets"],
    "js_div": ["log_predictions", "targets"],
    "kl_div": ["log_predictions", "targets"],
    "l1_loss": ["predictions", "targets"],
    "laplace_nll_loss": ["locations", "targets", "scales"],
    "linear_cross_entropy": ["hidden", "kernel", "labels"],
    "log_cosh_loss": ["predictions", "targets"],
    "logit_adjusted_cross_entropy": ["logits", "labels"],
    "mape_loss": ["predictions", "targets"],
    "margin_ranking_loss": ["x1", "x2", "targets"],
    "mse_loss": ["predictions", "targets"],
    "msle_loss": ["predictions", "targets"],
    "multi_margin_loss": ["logits", "labels"],
    "multiclass_hinge_loss": ["logits", "labels"],
    "multiclass_perceptron_loss": ["logits", "labels"],
    "multilabel_margin_loss": ["logits", "labels"],
    "multilabel_soft_margin_loss": ["logits", "targets"],
    "negative_binomial_nll_loss": ["means", "targets", "dispersions"],
    "nll_loss": ["log_probs", "labels"],
    "nt_xent_loss": ["embeddings", "labels"],
    "perceptron_loss": ["logits", "targets"],
    "poisson_nll_loss": ["predictions", "targets"],
    "poly_cross_entropy": ["logits", "labels"],
    "quantile_huber_loss": ["predictions", "targets"],
    "quantile_loss": ["predictions", "targets"],
    "ranking_softmax_loss": ["scores", "relevance"],
    "sigmoid_focal_loss": ["logits", "targets"],
    "smooth_l1_loss": ["predictions", "targets"],
    "soft_margin_loss": ["logits", "targets"],
    "softmax_focal_loss": ["logits", "labels"],
    "sparsemax_loss": ["logits", "labels"],
    "squared_hinge_loss": ["logits", "targets"],
    "student_t_nll_loss": ["locations", "targets", "scales", "dfs"],
    "triplet_margin_loss": ["anchors", "positives", "negatives"],
    "triplet_margin_with_distance_loss": ["anchors", "positives", "negatives"],
    "tversky_loss": ["probs", "labels"],
    "tweedie_loss": ["means", "targets"],
}
OPTIONS = {
    *("alpha", "anchors", "beta", "bias", "blank", "chunk_size", "class_weights", "clip", "cutoffs", "delta", "dfs"),
    *("distance_function", "eps", "expectile", "fair", "full", "gamma", "gamma_neg", "gamma_pos", "head_bias"),
    *("ignore_index", "label_smoothing", "locations", "log_input", "log_prior", "log_target", "margin", "means"),
    *("negatives", "p", "poly_weight", "pos_weight", "positives", "power", "precision", "prior_log_variances"),
    *("prior_means", "q", "quantiles", "scale", "scales", "smooth_dr", "smooth_nr", "softcap", "space"),
    *("student_t_nll_loss", "swap", "targets", "tau", "temperature", "triplet_margin_loss"),
    *("triplet_margin_with_distance_loss", "tweedie_loss", "valid", "z_loss_weight", "zero_infinity"),
}
SHARED = {"where": None, "weights": None, "reduction": "mean"}

over_losses = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


def options(loss: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keywords of a loss that are its own."""
    parameters = inspect.signature(loss).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY and name not in SHARED}


def test_the_registry_holds_the_losses() -> None:
    assert [loss.__name__ for loss in LOSSES] == sorted(INPUTS)


@over_losses
def test_inputs_are_positional_and_named_as_promised(loss: Callable[..., Any]) -> None:
    parameters = inspect.signature(loss).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == INPUTS[loss.__name__]
    assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters)


@over_losses
def test_options_are_keywords_of_the_glossary(loss: Callable[..., Any]) -> None:
    assert set(options(loss)) <= OPTIONS | {"axis"}


@over_losses
def test_every_loss_ends_in_the_shared_keywords(loss: Callable[..., Any]) -> None:
    parameters = list(inspect.signature(loss).parameters.values())
    assert {p.name: p.default for p in parameters[-3:]} == SHARED
    if "axis" in options(loss):
        assert parameters[-4].name == "axis"
        assert parameters[-4].default == -1


@over_losses
def test_losses_are_exported_picklable_functions(loss: Callable[..., Any]) -> None:
    assert inspect.isfunction(loss)
    assert getattr(jaxloss, loss.__name__) is loss
    assert pickle.loads(pickle.dumps(loss)) is loss


@over_losses
def test_docstrings_have_their_sections(loss: Callable[..., Any]) -> None:
    doc = inspect.getdoc(loss) or ""
    assert doc.splitlines()[0].endswith(".")
    sections = [line[:-1] for line in doc.splitlines() if line in {f"{s}:" for s in (*REQUIRED, "Raises")}]
    assert [section for section in sections if section != "Raises"] == REQUIRED
    arguments = doc[doc.index("\nArgs:") : doc.index("\nReturns:")]
    for name in (*INPUTS[loss.__name__], *options(loss)):
        assert f"\n    {name}: " in arguments, f"{name} is not documented"
    assert "\n    where, weights, reduction: As in `jaxloss.reduce`, per " in arguments
    assert "float32, or float64 if an input is" in doc.replace("\n    ", " ")
    assert f">>> jaxloss.{loss.__name__}(" in doc


REQUIRED = ["Args", "Returns", "Example", "References"]


@over_losses
def test_the_catalogue_calls_each_option_both_ways(loss: Callable[..., Any]) -> None:
    given = [set(call.options) for call in CATALOGUE if call.loss is loss]
    for name, parameter in options(loss).items():
        if name in {"axis", "ignore_index"}:  # laws of their own
            continue
        assert any(name in names for names in given), f"no call gives {name}"
        assert parameter.default is parameter.empty or any(name not in names for names in given), f"all give {name}"


@over_losses
def test_static_options_are_those_that_change_the_program(loss: Callable[..., Any]) -> None:
    for name, parameter in options(loss).items():
        is_scalar = isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool)
        assert name in _core._losses[loss].static or is_scalar or parameter.default in (None, parameter.empty)


def test_importing_makes_no_array_and_starts_no_backend() -> None:
    # JAX refuses to change the number of devices once a backend runs.
    program = "import jaxloss, jax; jax.config.update('jax_num_cpu_devices', 3); assert len(jax.devices()) == 3"
    subprocess.run([sys.executable, "-c", program], check=True)
