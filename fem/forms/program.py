"""The pointwise part of a compiled form: a list of instructions on arrays ``(points, entities, batch)``, and their execution in torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .polynomial import Algebra, Coefficient, Polynomial

_CALLS: dict[str, Any] = {
    "abs": torch.abs, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal, "exp": torch.exp, "ln": torch.log,
    "cos": torch.cos, "sin": torch.sin, "tan": torch.tan, "cosh": torch.cosh, "sinh": torch.sinh, "tanh": torch.tanh,
    "acos": torch.acos, "asin": torch.asin, "atan": torch.atan, "atan2": torch.atan2, "erf": torch.special.erf, "pow": torch.pow,
    "<": torch.lt, "<=": torch.le, ">": torch.gt, ">=": torch.ge, "==": torch.eq, "!=": torch.ne,
    "LogicalAnd": torch.logical_and, "LogicalOr": torch.logical_or, "LogicalNot": torch.logical_not,
    # At a tie the derivative is that of the second argument, as in UFL.
    "MinValue": lambda a, b: torch.where(a < b, a, b), "MaxValue": lambda a, b: torch.where(a > b, a, b),
    "where": lambda condition, yes, no: torch.where(condition.to(torch.bool), yes, no),
}  # fmt: skip


@dataclass(frozen=True)
class Program:
    """Instructions in order; the values they refer to by number are the inputs, the geometry, and the results so far.

    ``["mul", a, b]`` is a product, ``["power", a, e]`` a power with a fixed exponent, ``["call", name, a, ...]`` a function,
    ``["sum", bias, [[a, g, c], ...]]`` is ``bias + Σ c·a·g``, where g may be absent (−1) and is geometry.
    """

    num_inputs: int
    geometry: tuple[str, ...]
    instructions: tuple
    outputs: tuple[int, ...]

    def __call__(self, inputs: Sequence[Tensor], geometry: Sequence[Tensor], like: Tensor) -> list[Tensor]:
        """The outputs for inputs ``(points or 1, entities or 1, batch or 1)`` and geometry of the same shape with one sample.

        Numbers that depend on neither become tensors ``like`` the given one.
        """
        values = [*inputs, *geometry]
        for instruction in self.instructions:
            values.append(_execute(instruction, values, like))
        return [values[i] for i in self.outputs]

    def dependencies(self) -> frozenset[int]:
        """The inputs that any output depends on, by their numbers."""
        known = [frozenset({i}) for i in range(self.num_inputs)] + [frozenset()] * len(self.geometry)
        for instruction in self.instructions:
            known.append(frozenset().union(*(known[i] for i in _operands(instruction))))
        return frozenset().union(*(known[i] for i in self.outputs))


def _operands(instruction: Sequence) -> list[int]:
    """The values that an instruction refers to."""
    kind, *rest = instruction
    if kind == "sum":
        return [i for a, g, _ in rest[1] for i in (a, g) if i >= 0]
    return rest[:1] if kind == "power" else rest[1:] if kind == "call" else rest


def _execute(instruction: Sequence, values: Sequence[Tensor], like: Tensor) -> Tensor:
    kind = instruction[0]
    if kind == "mul":
        return values[instruction[1]] * values[instruction[2]]
    if kind == "power":
        return values[instruction[1]] ** instruction[2]
    if kind == "call":
        return _CALLS[instruction[1]](*(values[i] for i in instruction[2:]))
    bias, terms = instruction[1:]
    total = None
    for a, g, c in terms:
        if total is None:
            total = values[a] * values[g] if g >= 0 else values[a] * c if c != 1.0 else values[a]
        elif g >= 0:
            total = torch.addcmul(total, values[a], values[g])
        else:
            total = torch.add(total, values[a], alpha=c)
    if total is None:
        return like.new_full((1, 1, 1), bias)
    return total + bias if bias else total


class Writer:
    """Writes polynomials as instructions; a value that two polynomials share is computed once.

    Args:
        algebra: whose atoms occur in the polynomials.
        inputs: shapes ``(points or 1, entities or 1)`` of the atoms ``("input", *key)`` by key, in the order of the program's inputs.
    """

    def __init__(self, algebra: Algebra, inputs: Mapping[tuple, tuple[int, int]]):
        self.algebra = algebra
        self.instructions: list[list] = []
        self.arrays: list[np.ndarray] = []
        self.shapes = list(inputs.values())
        self._inputs = {key: i for i, key in enumerate(inputs)}
        self.num_inputs = len(inputs)
        self._atoms: dict[int, int] = {}
        self._products: dict[tuple[int, ...], int] = {}
        self._geometry: dict[tuple, int] = {}
        self._sums: dict[Any, int] = {}

    def polynomial(self, p: Polynomial) -> int:
        """Number of the value that a polynomial takes; geometry is numbered downwards from −1 until :meth:`finish`."""
        key = self.algebra._key(p)
        if key not in self._sums:
            self._sums[key] = self._write(p)
        return self._sums[key]

    def finish(self, outputs: Sequence[int], names: Sequence[str]) -> Program:
        """The program with these outputs, whose geometry is known by ``names``, one for each of :attr:`arrays`."""
        shift = len(self.arrays)

        def number(i: int) -> int:
            if i <= -2:
                return self.num_inputs - 2 - i
            return i if i < self.num_inputs else i + shift

        written = []
        for kind, *rest in self.instructions:
            if kind == "sum":
                bias, terms = rest
                written.append((kind, bias, tuple((number(a), number(g) if g != -1 else -1, c) for a, g, c in terms)))
            elif kind == "call":
                written.append((kind, rest[0], *map(number, rest[1:])))
            elif kind == "power":
                written.append((kind, number(rest[0]), rest[1]))
            else:
                written.append((kind, *map(number, rest)))
        return Program(self.num_inputs, tuple(names), tuple(written), tuple(map(number, outputs)))

    @property
    def cost(self) -> float:
        """Passes over arrays of full size, the measure by which equivalent programs are compared."""
        sizes = [points * entities for points, entities in self.shapes]
        work = [len(i[2]) if i[0] == "sum" else 1 for i in self.instructions]
        return sum(n * size for n, size in zip(work, sizes[self.num_inputs :], strict=True)) / max(sizes, default=1)

    def shape(self, i: int) -> tuple[int, int]:
        """Shape ``(points or 1, entities or 1)`` of a value."""
        return self.shapes[i] if i >= 0 else self.arrays[-2 - i].shape

    def _write(self, p: Polynomial) -> int:
        bias, terms = 0.0, []
        for monomial, c in sorted(p.items(), key=lambda item: isinstance(item[1], float)):
            if not monomial and isinstance(c, float):
                bias = c
            elif not monomial:
                terms.append([self._array(c), -1, 1.0])
            elif isinstance(c, float):
                terms.append([self._product(monomial), -1, c])
            else:
                terms.append([self._product(monomial), self._array(c), 1.0])
        if len(terms) == 1 and not bias and terms[0][1:] == [-1, 1.0]:
            return terms[0][0]
        return self._append(["sum", bias, terms], *(i for a, g, _ in terms for i in (a, g) if i != -1))

    def _product(self, monomial: tuple[int, ...]) -> int:
        factors = tuple(sorted(map(self._atom, monomial), key=lambda i: (self._size(i), i)))
        for n in range(2, len(factors) + 1):
            if factors[:n] not in self._products:
                a = factors[0] if n == 2 else self._products[factors[: n - 1]]
                b = factors[n - 1]
                self._products[factors[:n]] = self._append(["mul", a, b], a, b)
        return factors[0] if len(factors) == 1 else self._products[factors]

    def _atom(self, number: int) -> int:
        if number not in self._atoms:
            kind, *rest = self.algebra.atoms[number]
            if kind == "input":
                self._atoms[number] = self._inputs[tuple(rest)]
            elif kind == "sum":
                self._atoms[number] = self.polynomial(rest[0])
            elif kind == "power":
                a = self.polynomial(rest[0])
                self._atoms[number] = self._append(["power", a, rest[1]], a)
            else:
                arguments = [self.polynomial(p) for p in rest[1:]]
                self._atoms[number] = self._append(["call", rest[0], *arguments], *arguments)
        return self._atoms[number]

    def _array(self, c: Coefficient) -> int:
        """Geometry is numbered −2, −3, … while writing; −1 means none."""
        assert isinstance(c, np.ndarray)
        key = self.algebra._coefficient_key(c)
        if key not in self._geometry:
            self._geometry[key] = -2 - len(self.arrays)
            self.arrays.append(c)
        return self._geometry[key]

    def _append(self, instruction: list, *operands: int) -> int:
        self.instructions.append(instruction)
        self.shapes.append(np.broadcast_shapes((1, 1), *map(self.shape, operands)))
        return len(self.shapes) - 1

    def _size(self, i: int) -> int:
        points, entities = self.shape(i)
        return points * entities
