"""What an argument of a loss is, as its annotation says: it is read once, where the loss is defined."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import AbstractArray, Array, Bool, Integer, Real


class Kind(Enum):
    """What an argument is."""

    FLOATING = "floating numbers"
    CASTABLE = "real numbers, integers and booleans among them"
    LABELS = "integers"
    LABELS_OR_PROBABILITIES = "integers, or floating probabilities"
    IDS = "integers that are only ever compared"
    MASK = "booleans"
    NUMBER = "one number, which may be traced"
    STATIC = "a value that changes the program"
    FUNCTION = "a function"


_T = TypeVar("_T")

# Types for which jaxtyping and Python have no short name.
Castable = Real[ArrayLike, "..."]
Ids = Annotated[Integer[ArrayLike, "..."], Kind.IDS]
Label = int | Integer[Array, ""]
Static = Annotated[_T, Kind.STATIC]
Mask = Bool[ArrayLike, "..."]
Weights = Real[ArrayLike, "..."]
Reduction = Literal["mean", "sum", "none"]


@dataclass(frozen=True)
class Parameter:
    """An argument of a loss.

    Attributes:
        kind: What it is.
        is_input: Whether it is positional.
        optional: Whether it may be None.
        nested: Whether it is a tuple of arrays, or of such tuples.
        types: What a static value has to be an instance of; empty if its annotation does not say.
        choices: The static values there are; empty if its annotation names none.
    """

    kind: Kind
    is_input: bool
    optional: bool
    nested: bool = False
    types: tuple[type, ...] = ()
    choices: tuple[Any, ...] = ()


def parameters_of(function: Callable[..., Any]) -> dict[str, Parameter]:
    """The arguments of a function by name."""
    return {name: _parameter(function, p) for name, p in inspect.signature(function).parameters.items()}


def _parameter(function: Callable[..., Any], parameter: inspect.Parameter) -> Parameter:
    is_input = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    members = list(_members(_evaluated(function, parameter)))
    optional = not is_input and (parameter.default is None or not members or NoneType in members)
    leaves = [leaf for member in members for leaf in _leaves(member)]
    if nested := any(_is_array(leaf) for leaf in leaves):
        members = leaves
    kind = _kind(members, is_input=is_input) if members else _kind_by_habit(parameter, is_input=is_input)
    if kind is not Kind.STATIC:
        return Parameter(kind, is_input, optional, nested)
    choices = tuple(choice for member in members if get_origin(member) is Literal for choice in get_args(member))
    plain = [get_origin(member) or member for member in members if member not in (Kind.STATIC, NoneType)]
    types = tuple(plain) if all(isinstance(member, type) for member in plain) else ()
    return Parameter(kind, is_input, optional, nested, types, choices)


def _evaluated(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    try:  # postponed, as by `from __future__ import annotations`
        return eval(parameter.annotation, inspect.unwrap(function).__globals__)
    except Exception as error:
        raise TypeError(
            f"{function.__name__}: the annotation of {parameter.name} cannot be evaluated where the loss is defined "
            f"({error}): import what it needs at the top of the module, or leave the annotation out"
        ) from None


def _members(annotation: Any) -> Iterator[Any]:
    """The members of a union, None among them, and a kind that it is annotated with; of no annotation none."""
    if annotation is inspect.Parameter.empty or annotation is Any:
        return
    if get_origin(annotation) is Annotated:
        yield from (data for data in annotation.__metadata__ if isinstance(data, Kind))
        yield from _members(annotation.__origin__)
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _leaves(member: Any) -> Iterator[Any]:
    """What a tuple is made of, and the tuples in it."""
    if get_origin(member) is tuple:
        for part in get_args(member):
            yield from _leaves(part) if get_origin(part) is tuple else _members(part)


def _is_array(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, AbstractArray)


def _kind(members: list[Any], *, is_input: bool) -> Kind:
    for member in members:
        if isinstance(member, Kind):
            return member
        if Callable in (member, get_origin(member)):
            return Kind.FUNCTION
    arrays = [member for member in members if _is_array(member)]
    if arrays:
        return _kind_of_arrays(arrays, is_input=is_input)
    if jax.Array in members or np.ndarray in members:
        return Kind.FLOATING if is_input else Kind.CASTABLE
    return Kind.NUMBER if float in members else Kind.STATIC


def _kind_of_arrays(arrays: list[Any], *, is_input: bool) -> Kind:
    """The kind of what jaxtyping describes."""
    floating, integer, boolean = (
        [array for array in arrays if any(str(dtype).startswith(names) for dtype in array.dtypes)]
        for names in (("float", "bfloat"), ("int", "uint"), ("bool",))
    )
    if not is_input and floating:
        return Kind.NUMBER if all(array.dim_str == "" for array in arrays) else Kind.CASTABLE
    if floating and integer:
        return Kind.CASTABLE if set(floating) & set(integer) else Kind.LABELS_OR_PROBABILITIES
    if integer:
        return Kind.LABELS
    return Kind.MASK if boolean else Kind.FLOATING


def _kind_by_habit(parameter: inspect.Parameter, *, is_input: bool) -> Kind:
    """The kind of an argument without an annotation, as losses in notebooks have them."""
    habits = {"where": Kind.MASK, "valid": Kind.MASK, "weights": Kind.CASTABLE}
    if parameter.name in habits:
        return habits[parameter.name]
    if is_input:
        inputs = {"targets": Kind.CASTABLE, "labels": Kind.LABELS_OR_PROBABILITIES}
        return inputs.get(parameter.name, Kind.FLOATING)
    if callable(parameter.default) and parameter.default is not parameter.empty:
        return Kind.FUNCTION
    if isinstance(parameter.default, float):
        return Kind.NUMBER
    return Kind.CASTABLE if parameter.default is parameter.empty else Kind.STATIC
