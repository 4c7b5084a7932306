"""The arguments of a call: named, checked and cast, each by its kind."""

import difflib
import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from .._math.dtypes import compute_dtype
from .checks import in_domain, require, require_dtype, require_option, tracing
from .kinds import Kind, Parameter

_ARRAYS = get_args(ArrayLike)
_FLOATING = ("float64", "float32", "float16", "bfloat16")

# What an argument is called elsewhere.
_HABITS = {
    "mask": "where",
    "sample_weight": "weights",
    "weight": "weights, or class_weights for one per class",
    "size_average": "reduction",
    "reduce": "reduction",
    "dim": "axis",
}


# --- names ------------------------------------------------------------------------------------------------------------


def bound(signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, defaults among them."""
    try:
        call = signature.bind(*args, **kwargs)
    except TypeError as error:
        unknown = next((name for name in kwargs if name not in signature.parameters), None)
        by_name = ": options are passed by name" if "too many positional" in str(error) else ""
        mend = by_name if unknown is None else _instead_of(unknown, signature.parameters)
        raise TypeError(f"{tracing().name}: {error}{mend}") from None
    call.apply_defaults()
    return call.arguments


def _instead_of(unknown: str, names: Collection[str]) -> str:
    if unknown in _HABITS:
        return f": use {_HABITS[unknown]}"
    close = difflib.get_close_matches(unknown, names, n=1)
    return f": did you mean {close[0]}?" if close else f": it takes {', '.join(names)}"


# --- what Python has to see before JAX does ---------------------------------------------------------------------------


def acceptable(parameters: Mapping[str, Parameter], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that JAX can take: static values as they have to be, and arrays that are some.

    Raises:
        TypeError: An argument is not of its type, or a static value is traced.
        ValueError: A static value is none of those there are.
    """
    return {name: _acceptable(name, parameters[name], value) for name, value in arguments.items()}


def _acceptable(name: str, parameter: Parameter, value: Any) -> Any:
    if value is None and parameter.optional:
        return None
    if parameter.kind is Kind.FUNCTION:
        require_dtype(callable(value), f"{name} must be a function, got {type(value).__name__}")
        return value
    if parameter.kind is Kind.STATIC:
        return _static(name, parameter, value)
    # Python's own numbers stay constants of the program; np.float64, which inherits from float, has a dtype.
    if parameter.kind in (Kind.NUMBER, Kind.LABELS) and not parameter.is_input and type(value) in (int, float):
        return value
    if isinstance(value, (list, tuple)) and parameter.nested:
        return tuple(_acceptable(name, parameter, part) for part in value)
    if isinstance(value, (list, tuple)) and parameter.kind is Kind.CASTABLE and not parameter.is_input:
        return jnp.stack([_array(name, number, "a list of numbers") for number in value])
    return _array(name, value, "a number" if parameter.kind is Kind.NUMBER else "an array")


def _static(name: str, parameter: Parameter, value: Any) -> Any:
    if isinstance(value, jax.core.Tracer):
        raise TypeError(
            f"{tracing().name}: {name} changes the program and cannot be traced: pass a Python value, and if a jit is "
            f"around the call name it in static_argnames"
        )
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, np.generic):
        value = value.item()
    if parameter.choices:
        require_option(name, value, parameter.choices)
    elif parameter.types:
        fits = isinstance(value, parameter.types) or (float in parameter.types and isinstance(value, int))
        fits = fits and (bool in parameter.types or not isinstance(value, bool))
        expected = " or ".join(kind.__name__ for kind in parameter.types)
        require_dtype(fits, f"{name} must be of type {expected}, got {value!r}")
    domain = tracing().domains.get(name)
    if domain is not None and value is not None and not domain.contains(value):
        raise ValueError(f"{tracing().name}: {name} must be {domain.description}, got {value!r}")
    return value


def _array(name: str, value: Any, expected: str) -> Array:
    """An array of whatever JAX takes for one: also a variable of a network library, which says so itself."""
    if hasattr(type(value), "__jax_array__"):
        return jnp.asarray(value)
    if not isinstance(value, _ARRAYS):
        mend = ""
        if isinstance(value, (list, tuple)):
            mend = f": use jnp.array({name})"
        elif hasattr(type(value), "__array__"):
            mend = f": use np.asarray({name})"
        elif callable(value):
            mend = ": pass what it returns"
        raise TypeError(f"{tracing().name}: {name} must be {expected}, got {type(value).__name__}{mend}")
    dtype = value.dtype if isinstance(value, np.ndarray) else jnp.result_type(value)
    numeric = jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)
    require_dtype(numeric, f"{name} must be {expected} of numbers, got dtype {dtype}")
    return jnp.asarray(value)


# --- casts ------------------------------------------------------------------------------------------------------------


def cast(parameters: Mapping[str, Parameter], half: Collection[str], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Acceptable arguments in the dtypes that a loss computes with: float32, or float64 where an input is that.

    Those named in `half` may stay in half precision. A number that kept its default is a Python constant, so that an
    option that is not used costs nothing.
    """
    inputs = [value for name, value in arguments.items() if parameters[name].is_input]
    dtype = compute_dtype(jax.tree.leaves(inputs))

    def of_kind(name: str, parameter: Parameter, value: Any) -> Any:
        if value is None or parameter.kind in (Kind.STATIC, Kind.FUNCTION) or isinstance(value, (int, float)):
            return value
        stays = name in half and dtype == "float32"
        array = jax.tree.map(lambda leaf: _cast(name, parameter, leaf, dtype, stays_half=stays), value)
        if parameter.kind is Kind.NUMBER:
            require(chex.assert_rank, array, 0, message=f"{name} must be a scalar, got shape {array.shape}")
        return array if parameter.is_input else in_domain(name, array)

    return {name: of_kind(name, parameters[name], value) for name, value in arguments.items()}


def _cast(name: str, parameter: Parameter, array: Array, dtype: jnp.dtype, *, stays_half: bool) -> Array:
    kind = parameter.kind
    floating, boolean = array.dtype.name in _FLOATING, array.dtype == jnp.bool_
    integer = jnp.issubdtype(array.dtype, jnp.integer)
    as_computed = array.dtype if stays_half and array.dtype.name in ("float16", "bfloat16") else dtype
    if kind is Kind.MASK:
        require_dtype(boolean, f"{name} must be boolean, got {array.dtype}: use {name}.astype(bool)")
        return array
    if kind is Kind.LABELS_OR_PROBABILITIES and floating:
        return array.astype(as_computed)
    if kind in (Kind.LABELS, Kind.LABELS_OR_PROBABILITIES, Kind.IDS):
        one_hot = ": for one-hot labels pass floats" if boolean and kind is Kind.LABELS_OR_PROBABILITIES else ""
        require_dtype(integer, f"{name} must be integers, got {array.dtype}{one_hot}")
        return array if kind is Kind.IDS else _to_int32(array)
    if kind is Kind.FLOATING:
        mend = f": use {name}.astype(jnp.float32)" if integer or boolean else ""
        require_dtype(floating, f"{name} must be floating (16, 32 or 64 bits), got {array.dtype}{mend}")
        return array.astype(as_computed)
    require_dtype(floating or integer or boolean, f"{name} must be real numbers, got {array.dtype}")
    return array.astype(dtype)


def _to_int32(array: Array) -> Array:
    # Comparing labels in their own dtype wraps (uint8 == -100), and so does narrowing: 2**32 would become class 0.
    narrow, wide = jnp.iinfo(jnp.int32), jnp.iinfo(array.dtype)
    if wide.max > narrow.max:
        array = jnp.clip(array, max(wide.min, narrow.min), narrow.max)
    return array.astype(jnp.int32)
