"""What is found of rows of logits, where -inf rules a class out, and of vectors: in one pass or in several."""

import functools
import operator
from typing import NamedTuple

from jaxtyping import Array, Float

Factors = tuple[Float[Array, "*#batch classes"], ...]


class TargetSums(NamedTuple):
    """Sums over the classes of each row, where t is the target of a class. A class exists if it is not ruled out.

    Attributes:
        below: The sum of t (largest logit - logit) over the classes that exist.
        targets: The sum of t over the classes that exist.
        others: The sum of t over all classes but one with the largest logit: found as `RowSums.rest`.
        missing: The sum of t over the classes that do not exist.
    """

    below: Float[Array, "*batch"]
    targets: Float[Array, "*batch"]
    others: Float[Array, "*batch"]
    missing: Float[Array, "*batch"]


class RowSums(NamedTuple):
    """What is found of each row.

    Attributes:
        top: The largest logit, a constant; 0 if all classes are ruled out.
        rest: The sum of exp(logit - top) without one class that has the largest logit: found by an accelerator only, as
            a CPU keeps the exponentials.
        score: The logit of the label, likewise; 0 without labels.
        classes: The number of classes that exist, at least 1; found with targets only.
        targets: The sums of each set of targets.
    """

    top: Float[Array, "*batch"]
    rest: Float[Array, "*batch"]
    score: Float[Array, "*batch"]
    classes: Float[Array, "*batch"]
    targets: tuple[TargetSums, ...]


class Directions(NamedTuple):
    """What is found of two vectors.

    Attributes:
        first: Of the first vector a scale and the squared length in its units, as `scaled_powers` finds them.
        second: The same of the second.
        gap: Half the squared distance of their directions, for two vectors that are not zero.
        product: The product of the vectors, in units of both scales.
    """

    first: tuple[Float[Array, "*batch"], Float[Array, "*batch"]]
    second: tuple[Float[Array, "*batch"], Float[Array, "*batch"]]
    gap: Float[Array, "*batch"]
    product: Float[Array, "*batch"]


class Largest(NamedTuple):
    """The largest of each row of scores, how many are as large, and the score of the row's label."""

    score: Float[Array, "*batch"]
    ties: Float[Array, "*batch"]
    of_label: Float[Array, "*batch"]


def product(*factors: Array) -> Array:
    """That of arrays."""
    return functools.reduce(operator.mul, factors)
