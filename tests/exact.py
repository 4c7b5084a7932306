"""Arithmetic with 200 digits on numbers that remember how they were made, for exact values and gradients.

A formula that is computed with `Exact` may be the plain one: of its 200 digits, cancellation leaves more than enough,
and no exponential overflows. Its gradient follows from the slopes of every step, by the chain rule backwards.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import mpmath

MP = mpmath.MPContext()
MP.dps = 200
INF = MP.inf

ROUNDING = 1e-6
"""What floats may lose of the largest term: some units in the last place of float32."""

_order = itertools.count()


class Exact:
    """A number, and what it was made of: pairs of a number and the slope towards it.

    At a kink there is no slope, and its sources have no derivative. Of a maximum, also a smooth one, its rivals are the
    numbers that may be the largest.
    """

    __slots__ = ("kink", "order", "rivals", "sources", "value")

    def __init__(self, value: Any, sources: Iterable[tuple["Exact", Any]] = (), *, kink: bool = False) -> None:
        """A constant, or a variable; with sources a step of a computation."""
        self.value = MP.mpf(value)
        self.sources = tuple(sources)
        self.kink = kink
        self.rivals: list[Exact] = []
        self.order = next(_order)

    def __add__(self, other: Any) -> "Exact":
        if isinstance(other, Exact):
            return Exact(self.value + other.value, ((self, 1), (other, 1)))
        return Exact(self.value + other, ((self, 1),))

    def __mul__(self, other: Any) -> "Exact":
        if isinstance(other, Exact):
            return Exact(self.value * other.value, ((self, other.value), (other, self.value)))
        return Exact(self.value * other, ((self, other),))

    def __truediv__(self, other: Any) -> "Exact":
        inverse: Any = other**-1 if isinstance(other, Exact) else 1 / MP.mpf(other)
        return self.__mul__(inverse)

    def __rtruediv__(self, other: Any) -> "Exact":
        return (self**-1).__mul__(other)

    def __pow__(self, other: Any) -> "Exact":
        exponent, zero = value_of(other), self.value == 0
        value = self.value**exponent
        sources = [(self, 0 if zero and exponent < 1 else exponent * self.value ** (exponent - 1))]
        if isinstance(other, Exact):
            sources.append((other, 0 if zero else value * MP.ln(self.value)))
        return Exact(value, sources, kink=zero and exponent < 1)

    def __neg__(self) -> "Exact":
        return self * -1

    def __sub__(self, other: Any) -> "Exact":
        return self.__add__(other * -1)

    def __rsub__(self, other: Any) -> "Exact":
        return (self * -1).__add__(other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __bool__(self) -> bool:
        return bool(self.value)

    def __eq__(self, other: object) -> bool:
        return bool(self.value == value_of(other))

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < value_of(other))

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= value_of(other))

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > value_of(other))

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= value_of(other))

    __hash__ = object.__hash__


Number = Exact | float  # or what is exact in the place of a float


def value_of(number: object) -> Any:
    """The number alone."""
    return number.value if isinstance(number, Exact) else number


def constant(number: Number) -> Exact:
    """The same number without its past: no gradient goes through it."""
    return Exact(value_of(number))


def kink(value: Any, *sources: Number) -> Exact:
    """A number that has no derivative by its sources."""
    return Exact(value, ((source, 0) for source in sources if isinstance(source, Exact)), kink=True)


def gradient(result: Exact, variables: Sequence[Exact]) -> list[Any]:
    """The derivatives of a result by variables: NaN for those that have none."""
    slopes = _backwards(result, through_kinks=False)
    return [slopes.get(variable, MP.zero) for variable in variables]


def size(result: Exact) -> Any:
    """That of the largest term that a result is made of: by how much it changes where a term does by all of itself.

    A number that is not the largest of some counts too, where that is a matter of rounding in its own terms.
    """
    slopes = _backwards(result, through_kinks=True)
    sizes = [_largest_term(slopes)]
    for number, slope in slopes.items():
        for rival in number.rivals if slope else ():
            of_rival = _largest_term(_backwards(rival, through_kinks=True))
            if number.value - rival.value < ROUNDING * of_rival:
                sizes.append(abs(slope) * of_rival)
    return max(sizes)


def _largest_term(slopes: dict[Exact, Any]) -> Any:
    return max(abs(slope * number.value) for number, slope in slopes.items())


def _backwards(result: Exact, *, through_kinks: bool) -> dict[Exact, Any]:
    """The derivatives of a result by all that it is made of: NaN beyond a kink, or what is so on one side of it."""
    reached = {result}
    waiting = [result]
    while waiting:
        for source, _ in waiting.pop().sources:
            if source not in reached:
                reached.add(source)
                waiting.append(source)
    slopes = dict.fromkeys(reached, MP.zero)
    slopes[result] = MP.one
    # What was made later depends on what was made before, never the other way round.
    for number in sorted(reached, key=lambda number: -number.order):
        slope = slopes[number]
        if not through_kinks and (MP.isnan(slope) or (slope and number.kink)):
            slopes |= {source: MP.nan for source, _ in number.sources}
        elif slope:
            for source, step in number.sources:
                slopes[source] += slope * (1 if step is None else step)
    return slopes


# --- functions --------------------------------------------------------------------------------------------------------


def _function(value: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Callable[[Number], Exact]:
    """A function of one number, from its value and its slope by the number and the value: None at a kink."""

    def function(number: Number) -> Exact:
        x = MP.mpf(value_of(number))
        y = value(x)
        step = slope(x, y)
        sources = ((number, step),) if isinstance(number, Exact) else ()
        return Exact(y, sources, kink=step is None)

    return function


exp = _function(MP.exp, lambda x, y: y)
log = _function(MP.ln, lambda x, y: 1 / x if x else None)
sqrt = _function(MP.sqrt, lambda x, y: 1 / (2 * y) if y else None)
absolute = _function(abs, lambda x, y: MP.sign(x) if x else None)
tanh = _function(MP.tanh, lambda x, y: 1 - y * y)
sigmoid = _function(lambda x: 1 / (1 + MP.exp(-x)), lambda x, y: y * (1 - y))
normal_cdf = _function(MP.ncdf, lambda x, y: MP.npdf(x))
log_gamma = _function(MP.loggamma, lambda x, y: MP.digamma(x))


def softplus(number: Number) -> Exact:
    """log(1 + exp(x))."""
    return log(1 + exp(number))


def total(numbers: Iterable[Number]) -> Exact:
    """The sum."""
    numbers = list(numbers)
    return Exact(MP.fsum(map(value_of, numbers)), [(number, 1) for number in numbers if isinstance(number, Exact)])


def logsumexp(numbers: Iterable[Exact]) -> Exact:
    """The log of the sum of exponentials."""
    numbers = list(numbers)
    exponentials = [MP.exp(number.value) for number in numbers]
    whole = MP.fsum(exponentials)
    result = Exact(MP.ln(whole), [(number, part / whole) for number, part in zip(numbers, exponentials, strict=True)])
    result.rivals = numbers
    return result


def largest(numbers: Iterable[Number]) -> Exact:
    """The maximum, with a kink where several are largest."""
    numbers = list(numbers)
    most = max(map(value_of, numbers))
    ties = [number for number in numbers if number == most]
    result = Exact(most, ((number, 1) for number in ties if isinstance(number, Exact)), kink=len(ties) > 1)
    result.rivals = [number for number in numbers if isinstance(number, Exact) and number != most]
    return result


def smallest(numbers: Iterable[Number]) -> Exact:
    """The minimum, likewise."""
    return -largest(-number for number in numbers)


def hinge(number: Number) -> Exact:
    """max(0, x)."""
    return largest([number, 0])
