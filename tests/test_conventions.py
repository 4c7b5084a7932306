"""What makes the losses one library: names, order, defaults, docstrings and exports, read off the functions."""

import inspect
import pickle
import pydoc
import re
import subprocess
import sys

import pytest
from catalogue import CATALOGUE, LOSSES, static_options
from make_tables import SHARED, Loss, families

import jaxloss

# Our words, and those of other libraries for the same: an argument has one name everywhere, so no loss may use theirs.
WORDS = {
    **{"predictions": "prediction preds y_pred input", "targets": "target y_true", "labels": "label classes"},
    **{"logits": "logit", "probs": "prob probabilities", "log_probs": "log_prob", "scores": "score"},
    **{"means": "mean", "variances": "var variance", "embeddings": "embedding", "anchors": "anchor"},
    **{"positives": "positive", "negatives": "negative", "class_weights": "class_weight", "pos_weight": "pos_weights"},
    **{"weights": "weight sample_weight", "where": "mask", "axis": "dim axes batch_axis", "kind": "loss_type"},
    **{"ignore_index": "ignore_class", "label_smoothing": "smoothing", "eps": "epsilon", "p": "norm_degree"},
    **{"distance_function": "distance_fn", "critic": "critic_fn"},
}
FOREIGN = {theirs: ours for ours, words in WORDS.items() for theirs in words.split()}
REQUIRED = ["Args", "Returns", "Example", "References"]

over_losses = pytest.mark.parametrize("loss", [Loss(loss) for loss in LOSSES.values()], ids=LOSSES)


@over_losses
def test_inputs_are_positional_and_all_else_is_a_keyword(loss: Loss) -> None:
    kinds = {parameter.kind for parameter in loss.parameters.values()}
    assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


@over_losses
def test_arguments_have_the_words_of_the_library(loss: Loss) -> None:
    for name in loss.parameters:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert name not in FOREIGN, f"{name} is called {FOREIGN[name]} here"


@over_losses
def test_every_loss_ends_in_the_shared_keywords(loss: Loss) -> None:
    parameters = list(loss.parameters.values())
    assert {p.name: p.default for p in parameters[-3:]} == SHARED
    if "axis" in loss.options:
        assert parameters[-4].name == "axis"
        assert parameters[-4].default == -1


@over_losses
def test_losses_are_exported_picklable_functions(loss: Loss) -> None:
    assert inspect.isfunction(loss.function)
    assert getattr(jaxloss, loss.name) is loss.function
    assert pickle.loads(pickle.dumps(loss.function)) is loss.function


@over_losses
def test_docstrings_have_their_sections(loss: Loss) -> None:
    assert loss.summary.endswith(".")
    assert [heading for heading, _ in loss.sections if heading != "Raises"] == REQUIRED
    assert list(loss.arguments) == [*loss.inputs, *loss.options, ", ".join(SHARED)]
    assert loss.arguments[", ".join(SHARED)].startswith("As in `jaxloss.reduce`, per ")
    assert f">>> jaxloss.{loss.name}(" in dict(loss.sections)["Example"]


@over_losses
def test_a_signature_fits_on_a_screen(loss: Loss) -> None:
    assert len(str(inspect.signature(loss.function))) <= (500 if loss.name == "cross_entropy" else 720)


def test_help_lists_every_loss_by_family_with_its_first_line() -> None:
    page, position = pydoc.plain(pydoc.render_doc(jaxloss)), 0
    for family in families():
        position = page.index(family.summary.partition(":")[0], position)
        for loss in family.losses:
            line = re.compile(rf"^.*\b{loss.name}\b.*{re.escape(loss.summary)}$", re.MULTILINE).search(page, position)
            assert line, f"{loss.name} is not listed under {family.summary}"
            position = line.end()


def test_the_package_shows_losses_and_little_else() -> None:
    public = {name for name in vars(jaxloss) if not name.startswith("_")}
    functions = {function.__name__ for family in families() for function in family.functions}
    assert public == functions | {"kit", "reduce", "partial_mean", "PartialMean"}


@over_losses
def test_the_catalogue_calls_each_option_both_ways(loss: Loss) -> None:
    given = [set(call.options) for call in CATALOGUE if call.loss is loss.function]
    assert given
    for name, parameter in loss.options.items():
        if name in {"axis", "ignore_index"}:  # laws of their own
            continue
        assert any(name in names for names in given), f"no call gives {name}"
        assert parameter.default is parameter.empty or any(name not in names for names in given), f"all give {name}"


@over_losses
def test_static_options_are_those_that_change_the_program(loss: Loss) -> None:
    for name, parameter in loss.options.items():
        is_scalar = isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool)
        assert name in static_options(loss.function) or is_scalar or parameter.default in (None, parameter.empty)


def test_importing_makes_no_array_and_starts_no_backend() -> None:
    # JAX refuses to change the number of devices once a backend runs.
    program = "import jaxloss, jax; jax.config.update('jax_num_cpu_devices', 3); assert len(jax.devices()) == 3"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_package_imports_without_docstrings() -> None:
    subprocess.run([sys.executable, "-OO", "-c", "import jaxloss"], check=True)
