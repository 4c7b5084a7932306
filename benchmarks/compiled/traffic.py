"""What a compiled program reads, writes, holds and multiplies, counted from its scheduled operations.

XLA's own count takes the body of a loop once, however often it turns, and for a GPU that is not there it is empty.
Here an operation outside of a fusion is a kernel, which reads its operands from memory and writes its results to it; a
loop counts as often as it turns, and of branches the dearest.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s64": 8, "u64": 8, "f64": 8}
_WORD = 4  # of the other dtypes
_ARRAY = re.compile(r"\b([a-z]+\d+|pred|bf16)\[([\d,]*)\](\{[^}]*\})?")
_OPERATION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
# What XLA writes as an operation, and does without touching memory.
_FREE = frozenset(
    (
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "after-all", "domain"),
        *("copy-done", "async-done", "opt-barrier", "add-dependency", "partition-id", "replica-id"),
    )
)
ENTRY = "ENTRY"  # no computation of XLA has a name in capitals
_SPARSE = frozenset(("gather", "dynamic-slice", "slice"))  # read only what they take
_PRODUCT = re.compile(r"gemm|matmul|cublas")


class Operation(NamedTuple):
    """A line of a program: a name, the type of its result, what it is, and its operands and attributes."""

    name: str
    shape: str
    kind: str
    rest: str

    @property
    def operands(self) -> list[str]:
        """Their names."""
        return re.findall(r"%([\w.\-]+)", self.rest.split("), ")[0])

    def called(self, attribute: str) -> str:
        """The computation that an attribute names; "" if there is no such attribute."""
        found = re.search(rf"{attribute}=%?([\w.\-]+)", self.rest)
        return found[1] if found else ""


class Traffic(NamedTuple):
    """What a program does once.

    Attributes:
        kernels: How many operations are launched.
        moved: Bytes that these read and write.
        flops: Of matrix products: two for each multiplication.
        products: The dtypes of the products, as "bf16 x bf16 -> f32", each as often as it is computed.
    """

    kernels: int
    moved: int
    flops: float
    products: Counter[str]

    def plus(self, other: "Traffic", times: int = 1) -> "Traffic":
        """This, and another some times."""
        products = self.products + Counter({name: count * times for name, count in other.products.items()})
        moved, flops = self.moved + times * other.moved, self.flops + times * other.flops
        return Traffic(self.kernels + times * other.kernels, moved, flops, products)


Program = dict[str, list[Operation]]


def traffic_of(text: str) -> Traffic:
    """That of a program, given as `compiled.as_text()`."""
    return _traffic(_parsed(text), ENTRY)


def _parsed(text: str) -> Program:
    """The operations by computation; the program itself is called ENTRY."""
    found: Program = {}
    current: list[Operation] | None = None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            current = found[head[2]] = []
            if head[1]:
                found[ENTRY] = current
        elif line.startswith("}"):
            current = None
        elif current is not None and (operation := _OPERATION.match(line)):
            current.append(Operation(*operation.groups()))
    return found


def _traffic(program: Program, name: str) -> Traffic:
    shapes = {operation.name: operation.shape for operation in program[name]}
    total = Traffic(0, 0, 0.0, Counter())
    for operation in program[name]:
        if operation.kind == "while":
            total = total.plus(_traffic(program, operation.called("body")), _trips(program, operation))
        elif operation.kind == "conditional":
            total = total.plus(
                max((_traffic(program, branch) for branch in _branches(operation)), key=lambda t: t.moved)
            )
        elif operation.kind in ("call", "async-start") and _inner(operation) in program:
            total = total.plus(_traffic(program, _inner(operation)))
        elif operation.kind not in _FREE:
            total = total.plus(_kernel(program, operation, shapes))
    return total


def _inner(operation: Operation) -> str:
    return operation.called("to_apply") or operation.called("calls")


def _branches(operation: Operation) -> list[str]:
    listed = re.search(r"branch_computations=\{(.*?)\}", operation.rest)
    if listed:
        return re.findall(r"%([\w.\-]+)", listed[1])
    return re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", operation.rest)


def _trips(program: Program, loop: Operation) -> int:
    """How often a loop turns: as XLA knows it, or the number that its condition compares a counter with."""
    known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest)
    if known:
        return int(known[1])
    condition = program[loop.called("condition")]
    numbers = [int(found[1]) for o in condition if o.kind == "constant" and (found := re.match(r"(\d+)\)", o.rest))]
    if len(numbers) != 1:
        raise ValueError(f"how often does {loop.name} turn? Its condition has the numbers {numbers}")
    return numbers[0]


def _kernel(program: Program, operation: Operation, shapes: dict[str, str]) -> Traffic:
    """A slice that is updated in place counts as the slice, and an array of which a slice is taken likewise."""
    fused = operation.called("calls")
    is_fusion, inner = fused in program, program.get(fused, [operation])
    parameters = _parameters(inner) if is_fusion else {}
    types = {o.name: o.shape for o in inner} if is_fusion else shapes
    # The type of a copy that is only started names the copy, the array it is of, and a token.
    result = _ARRAY.search(operation.shape) if operation.kind == "copy-start" else None
    written, in_place = size_of(result[0] if result else operation.shape), set()
    for update in (o for o in inner if o.kind == "dynamic-update-slice"):
        target, part = update.operands[:2]
        written -= size_of(update.shape) - size_of(types.get(part, ""))
        in_place |= set(_sources(inner, target)) if is_fusion else {target}
    moved = max(written, 0)
    for position, operand in enumerate(operation.operands):
        whole = size_of(shapes.get(operand, ""))
        name = parameters.get(position, "") if is_fusion else operand
        if name not in in_place:
            users = inner if is_fusion else [operation] if position == 0 else []
            moved += min(_read(program, users, name, whole), whole)
    return _with_products(Traffic(1, moved, 0.0, Counter()), operation, inner, types, shapes)


def _read(program: Program, users: list[Operation], name: str, whole: int) -> int:
    """What operations read of an array: the slices, if they take nothing else of it, also in fusions inside."""
    total = 0
    for user in (o for o in users if name in o.operands):
        fused = program.get(user.called("calls"))
        if user.kind in _SPARSE:
            total += size_of(user.shape)
        elif user.kind == "fusion" and fused is not None:
            for position in (i for i, operand in enumerate(user.operands) if operand == name):
                total += _read(program, fused, _parameters(fused)[position], whole)
        else:
            return whole
    return total or whole


def _parameters(operations: list[Operation]) -> dict[int, str]:
    """The names of the parameters of a computation by their positions."""
    return {int(o.rest.split(")")[0]): o.name for o in operations if o.kind == "parameter"}


def _sources(inner: list[Operation], name: str) -> Iterator[str]:
    """An array, and what it is without a copy."""
    by_name = {o.name: o for o in inner}
    yield name
    while name in by_name and by_name[name].kind in ("bitcast", "copy-done") and by_name[name].operands:
        name = by_name[name].operands[0]
        yield name


def _with_products(
    traffic: Traffic, operation: Operation, inner: list[Operation], types: dict[str, str], shapes: dict[str, str]
) -> Traffic:
    for product, known in [(o, types) for o in inner if o.kind in ("dot", "convolution")] or (
        [(operation, shapes)] if operation.kind == "custom-call" and _PRODUCT.search(operation.rest) else []
    ):
        left, right = (known.get(name, "") for name in product.operands[:2])
        result = product.shape
        contracted = re.search(r'lhs_contracting_dim\w*"?[=:]\s*[\[{]"?([\d",]+)', product.rest)
        if contracted:
            lengths = _lengths(left)
            length = math.prod(lengths[int(axis)] for axis in contracted[1].replace('"', "").split(","))
        else:  # of a convolution, in which no axis is one of all three arrays
            length = math.isqrt(_count(left) * _count(right) // max(_count(result), 1))
        flops = 2.0 * length * _count(result)
        name = f"{_dtype(left)} x {_dtype(right)} -> {_dtype(result)}"
        traffic = traffic._replace(flops=traffic.flops + flops, products=traffic.products + Counter([name]))
    return traffic


def size_of(shape: str) -> int:
    """Bytes of an array in main memory, or of a tuple of them. A TPU's compiler marks what stays on the chip."""
    return sum(
        0 if layout and "S(1)" in layout else _BYTES.get(dtype, _WORD) * math.prod(int(d) for d in dims.split(",") if d)
        for dtype, dims, layout in _ARRAY.findall(shape)
    )


def _lengths(shape: str) -> list[int]:
    found = _ARRAY.search(shape)
    return [int(length) for length in found[2].split(",") if length] if found else []


def _count(shape: str) -> int:
    return math.prod(_lengths(shape))


def _dtype(shape: str) -> str:
    found = _ARRAY.search(shape)
    return found[1] if found else "?"
