"""What is said of all losses at once, read off the losses: their signatures, docstrings and modules.

    python tests/make_tables.py

writes the list of families in README.md, and the full tables to docs/losses.md, which is not committed. The tests of
conventions, pages and migration tables read the losses through this module too, so none of them has a line per loss.
"""

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from catalogue import LOSSES
from jaxtyping import Array

import jaxloss

ROOT = Path(__file__).parent.parent
README, TABLES = ROOT / "README.md", ROOT / "docs" / "losses.md"
START, END = "<!-- The list that `make tables` writes -->", "<!-- The end of the list -->"

SHARED = {"where": None, "weights": None, "reduction": "mean"}
HEADINGS = re.compile(r"^(Args|Returns|Raises|Example|References):$", re.MULTILINE)
ARGUMENT = re.compile(r"^(\w[\w, ]*): (.*(?:\n +.*)*)", re.MULTILINE)


# --- the losses -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """What a loss says of itself."""

    function: Callable[..., Array]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(self.function).parameters)

    @property
    def inputs(self) -> list[str]:
        return [name for name, p in self.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """The keywords that not every loss has."""
        return {name: p for name, p in self.parameters.items() if name not in {*self.inputs, *SHARED}}

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.function) or ""

    @property
    def summary(self) -> str:
        return self.doc.partition("\n")[0]

    @property
    def sections(self) -> list[tuple[str, str]]:
        """The headings of the docstring, and what stands below them."""
        _, *parts = HEADINGS.split(self.doc)
        return list(zip(parts[::2], map(textwrap.dedent, parts[1::2]), strict=True))

    @property
    def arguments(self) -> dict[str, str]:
        """What the docstring says of each argument."""
        return {name: " ".join(text.split()) for name, text in ARGUMENT.findall(dict(self.sections)["Args"])}


@dataclass(frozen=True)
class Family:
    """The public functions of one module, in the order of `jaxloss/__init__.py`."""

    module: str
    functions: list[Callable[..., Any]]

    @property
    def path(self) -> str:
        return self.module.replace(".", "/") + ".py"

    @property
    def summary(self) -> str:
        """The first line of the module: its title, and after a colon what its losses have in common."""
        return (inspect.getdoc(import_module(self.module)) or "").partition("\n")[0].removesuffix(".")

    @property
    def losses(self) -> list[Loss]:
        return [Loss(function) for function in self.functions if function in LOSSES.values()]

    @property
    def others(self) -> list[Callable[..., Any]]:
        """The functions that have no reduction, and so are no losses."""
        return [function for function in self.functions if function not in LOSSES.values()]


def families() -> list[Family]:
    """All families, in the order in which `jaxloss/__init__.py` imports them."""
    functions = [f for f in vars(jaxloss).values() if inspect.isfunction(f) and "._losses." in f.__module__]
    modules = dict.fromkeys(function.__module__ for function in functions)
    return [Family(module, [f for f in functions if f.__module__ == module]) for module in modules]


# --- the pages --------------------------------------------------------------------------------------------------------


def short_list() -> str:
    """The list in README: a family a line, with a link to its module."""
    return "\n".join(textwrap.fill(_line(family), 120, **LAYOUT) for family in families())


LAYOUT: dict[str, Any] = {"subsequent_indent": "  ", "break_on_hyphens": False, "break_long_words": False}


def _line(family: Family) -> str:
    title, _, about = family.summary.partition(": ")
    losses = ", ".join(f"`{loss.name}`" for loss in family.losses)
    others = ", ".join(f"`{function.__name__}`" for function in family.others)
    named = "; ".join(filter(None, [losses, others and f"without a reduction {others}"]))
    return ", ".join(filter(None, [f"- [{title}]({family.path})", about])) + f": {named}"


INTRODUCTION = """\
# The losses

`make tables` writes this page from the docstrings. Every loss also takes `where`, `weights` and `reduction`.
"""
HEADER = """\
| loss | inputs | options |
|---|---|---|
"""


def full_tables() -> str:
    """A page with a table for each family: every loss, its inputs and its options, each with what it is."""
    return "\n".join([INTRODUCTION, *map(_table, families())])


def _table(family: Family) -> str:
    others = [f"- `{function.__name__}`: {Loss(function).summary}\n" for function in family.others]
    rows = [_row(loss) for loss in family.losses]
    return f"## {family.summary}\n\n" + "".join([HEADER * bool(rows), *rows, "\n" * bool(others), *others])


def _row(loss: Loss) -> str:
    options = [_default(parameter) for parameter in loss.options.values()]
    cells = [
        f"`{loss.name}`: {loss.summary}",
        "<br>".join(f"`{name}`: {loss.arguments[name]}" for name in loss.inputs),
        "<br>".join(f"`{o}`: {loss.arguments[name]}" for o, name in zip(options, loss.options, strict=True)),
    ]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"


def _default(parameter: inspect.Parameter) -> str:
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"


def with_list(page: str) -> str:
    """The text of README with the list as it is now."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{start}\n\n{short_list()}\n\n{end}{after}"


def main() -> None:
    README.write_text(with_list(README.read_text()))
    TABLES.write_text(full_tables())


if __name__ == "__main__":
    main()
