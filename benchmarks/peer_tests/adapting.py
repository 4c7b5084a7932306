"""What the adapters share: jaxloss with its calls counted, and what an adapter says of its peer's tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import pytest

import jaxloss


@dataclass(frozen=True)
class ByDesign:
    """Tests that jaxloss does not pass and is not to pass.

    Attributes:
        tests: What their names have in them.
        why: What differs.
        page: Where users read it.
    """

    tests: str
    why: str
    page: str


class Counted:
    """jaxloss, and how often it was called: a test that never calls it says nothing about it."""

    def __init__(self) -> None:
        """Nothing is called yet."""
        self.calls = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A function of jaxloss."""
        function = getattr(jaxloss, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return function(*args, **kwargs)

        return counted


LOSSES = Counted()


def not_applicable(why: str) -> None:
    """Ends a test that wants what jaxloss does not have."""
    pytest.skip(f"n/a: {why}")


def floating(x: Any, like: Any = None) -> Any:
    """An array of floats, as users have to hand over."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32 if like is None else like.dtype)


def install(module: ModuleType, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Replaces the peer's functions of these names in its module."""
    for name, function in functions.items():
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__} has no {name}: its adapter is older than it is")
        setattr(module, name, function)
