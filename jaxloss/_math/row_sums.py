"""What is summed over the classes of rows of logits, where -inf rules a class out."""

from typing import NamedTuple

from jaxtyping import Array, Float


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
