"""The pages: their examples run, their links lead somewhere, their list is whole, their losses obey the laws."""

import doctest
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import test_laws
from catalogue import CLASS_WEIGHTS, DISTRIBUTION, LABEL, LOGITS, LOSSES, REAL, SIGN, VECTOR, Call, Input, call
from make_tables import README, ROOT, SHARED, families, full_tables, with_list

PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


# --- examples ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A piece of code, and the line of its page where it starts."""

    code: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in re.finditer(r"^( *)```python\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        yield Block(textwrap.dedent(match[2]), text.count("\n", 0, match.start(2)))


@contextmanager
def settings_of_a_user() -> Iterator[None]:
    """JAX as it is when nobody has set anything, where the other tests are strict."""
    filtering = jax.config.values["jax_traceback_filtering"]
    # By default jax adds a note to errors, which `doctest` would take for the message.
    jax.config.update("jax_traceback_filtering", "off")
    try:
        with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            yield
    finally:
        jax.config.update("jax_traceback_filtering", filtering)


class Checker(doctest.OutputChecker):
    """Takes numbers for equal that agree to four digits, however they are spaced."""

    NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?")

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        expected, actual = ([float(number) for number in self.NUMBER.findall(text)] for text in (want, got))
        words = {re.sub(r"\s+", "", self.NUMBER.sub("#", text)) for text in (want, got)}
        return len(words) == 1 and np.allclose(actual, expected, rtol=1e-4, atol=1e-4)


@cache
def executed(page: Path) -> dict[str, Any]:
    """Runs the blocks of a page one after the other, and returns what they define."""
    # Decorators and dataclasses look their module up; and `doctest` wants a name.
    namespace: dict[str, Any] = {"__name__": page.stem}
    with settings_of_a_user():
        for block in blocks(page):
            if block.code.startswith(">>>"):
                example = doctest.DocTestParser().get_doctest(block.code, namespace, page.name, str(page), block.line)
                report: list[str] = []
                doctest.DocTestRunner(Checker()).run(example, out=report.append, clear_globs=False)
                assert not report, "".join(report)
                namespace.update(example.globs)
            else:  # with as many empty lines before it as make the line numbers of a traceback those of the page
                exec(compile("\n" * block.line + block.code, page, "exec"), namespace)
    return namespace


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_run(page: Path) -> None:
    executed(page)


def test_a_wrong_example_fails(tmp_path: Path) -> None:
    for code, error in [(">>> 1.5 + 1\n2.4\n", "Got"), (">>> 0.25\n0.25 or so\n", "Got"), ("assert 1 > 2\n", None)]:
        page = tmp_path / f"{len(code)}.md"
        page.write_text(f"- An item:\n\n  ```python\n{textwrap.indent(code, '  ')}  ```\n")
        with pytest.raises(AssertionError, match=error):
            executed(page)


# --- what is said of all losses ---------------------------------------------------------------------------------------


def test_the_list_in_readme_is_that_of_today() -> None:
    assert README.read_text() == with_list(README.read_text()), "run `make tables`"


def test_every_loss_is_in_one_family() -> None:
    assert sorted(loss.name for family in families() for loss in family.losses) == sorted(LOSSES)


def test_the_full_tables_have_every_loss_with_its_arguments() -> None:
    rows = {row.split("`")[1]: row for row in full_tables().splitlines() if row.startswith("| `")}
    assert rows.keys() == LOSSES.keys()
    for name, loss in LOSSES.items():
        arguments = [name for name in inspect.signature(loss).parameters if name not in SHARED]
        assert re.findall(r"(?:\| |<br>)`(\w+)", rows[name]) == [name, *arguments]


# --- links ------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The names that headings are linked by."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


# --- the custom losses under the laws ---------------------------------------------------------------------------------


def laws(*, labelled: bool) -> Iterator[Any]:
    """The laws that hold for every loss, or those for losses with labels, with each of their other arguments."""
    for law in test_laws.LAWS[labelled]:
        marks: list[pytest.Mark] = getattr(law, "pytestmark", [])
        others = [mark.args for mark in marks if mark.name == "parametrize" and mark.args[0] != "call"]
        for values in product(*(values for _, values in others)):
            cases = [value if hasattr(value, "marks") else pytest.param(value) for value in values]
            plain = [case.values[0] for case in cases]
            marked = [*marks, *(mark for case in cases for mark in case.marks)]
            arguments = dict(zip((argument for argument, _ in others), plain, strict=True))
            slow = [pytest.mark.slow] * any(mark.name == "slow" for mark in marked)
            described = "-".join([law.__name__.removeprefix("test_"), *map(_short, plain)])
            yield pytest.param(law, arguments, id=described, marks=slow)


def _short(value: Any) -> str:
    return str(getattr(value, "__name__", value))


WRITING = ROOT / "docs" / "writing_a_loss.md"


@cache
def custom_call(name: str) -> Call:
    """A call of a loss that the page makes: one object, so that its program is compiled once."""
    kinds, options = WRITTEN[name]
    return call(executed(WRITING)[name], *kinds, **options)


PICTURE = Input(lambda rng, batch: rng.normal(size=(*batch, 3, 4)), np.zeros((2, 3, 4)))
POINT = replace(VECTOR, edges=VECTOR.edges[:3])  # the square of the others does not fit
ROW = replace(LOGITS, edges=LOGITS.edges[:-2])  # a row without a class has no probabilities
WRITTEN: dict[str, tuple[tuple[Input, ...], dict[str, Any]]] = {
    "newsvendor_loss": ((REAL, REAL), {"overage": 0.7, "underage": 1.5}),
    "ranked_probability_loss": ((DISTRIBUTION, DISTRIBUTION), {"exempt": ("class_sharding",)}),  # its page says so
    "dot_product_loss": ((POINT, POINT, SIGN), {}),
    "brier_loss": ((ROW, LABEL), {"class_weights": CLASS_WEIGHTS}),
    "outline_loss": ((PICTURE, PICTURE), {}),
}
HELD = [*((name, False) for name in WRITTEN), ("brier_loss", True)]


@pytest.mark.parametrize(
    ("name", "law", "arguments"),
    [
        pytest.param(
            *(name, *law.values),
            id=f"{name}-{law.id}",
            marks=[*law.marks, *[pytest.mark.slow] * (name != "newsvendor_loss")],
        )
        for name, labelled in HELD
        for law in laws(labelled=labelled)
    ],
)
def test_custom_losses_obey_the_laws(name: str, law: Callable[..., None], arguments: dict[str, Any]) -> None:
    law(call=custom_call(name), **arguments)


def test_the_newsvendor_loss_is_least_at_the_quantile() -> None:
    targets = np.sort(np.random.default_rng(0).normal(size=101))
    newsvendor_loss = executed(WRITING)["newsvendor_loss"]
    costs = {"overage": 1.0, "underage": 9.0}
    losses = [newsvendor_loss(np.full_like(targets, guess), targets, **costs) for guess in targets]
    assert np.argmin(losses) == 90
