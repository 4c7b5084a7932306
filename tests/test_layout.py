"""Who may import whom: the losses the kit and the maths, the kit the maths, the maths nothing else of the package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jaxloss"
MODULES = sorted(path for folder in ("_kit", "_math", "_losses") for path in (PACKAGE / folder).glob("*.py"))
ALLOWED = {"_math": {"_math"}, "_kit": {"_kit", "_math"}, "_losses": {"_kit", "_math"}}


def imported(path: Path) -> Iterator[str]:
    """The parts of the package that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            part = path.parent.name if node.level == 1 else None
            yield part or (node.module or "the package itself").partition(".")[0]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (name for name in names if name.partition(".")[0] == "jaxloss")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_module_imports_what_it_must_not(path: Path) -> None:
    assert set(imported(path)) <= ALLOWED[path.parent.name]


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent.name == "_losses"], ids=lambda path: path.name
)
def test_a_family_has_at_most_twelve_losses_and_imports_no_other(path: Path) -> None:
    tree = ast.parse(path.read_text())
    losses = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    assert len(losses) <= 12
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level == 1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_module_shares_is_public_in_it(path: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert not [alias.name for node in imports for alias in node.names if alias.name.startswith("_")]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_long(path: Path) -> None:
    text = path.read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented) and ast.get_docstring(node)
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    assert len(text.splitlines()) - len(docstrings) <= 200


def test_only_one_module_chooses_by_platform() -> None:
    choosing = [path.name for path in MODULES if "platform_dependent" in path.read_text()]
    assert choosing == ["passes.py"]
