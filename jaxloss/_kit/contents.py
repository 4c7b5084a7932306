"""The table of contents that `help(jaxloss)` shows."""

import inspect
import sys
from collections.abc import Mapping
from typing import Any


def contents(namespace: Mapping[str, Any]) -> str:
    """The functions of a namespace by family, which is their module, each with the first line of its docstring."""
    families: dict[str, list[str]] = {}
    for name, function in namespace.items():
        if inspect.isfunction(function) and "._losses." in function.__module__:
            families.setdefault(function.__module__, []).append(f"    {name}: {_first_line(function)}")
    return "\n\n".join("\n".join([_first_line(sys.modules[module]), *lines]) for module, lines in families.items())


def _first_line(documented: Any) -> str:
    return (documented.__doc__ or "").partition("\n")[0]  # `python -OO` keeps no docstrings
