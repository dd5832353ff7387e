"""Derivatives of a pointwise program, as a program: forward differentiation of its instructions, zeros left out."""

from collections.abc import Sequence
from dataclasses import replace

from ...errors import InputError
from .program import Program

#: The derivative of a value: the number of another value, a constant, or None where it vanishes.
Tangent = int | float | None

_WITHOUT_DERIVATIVE = {"<", "<=", ">", ">=", "==", "!=", "LogicalAnd", "LogicalOr", "LogicalNot"}


def differentiate(program: Program, inputs: Sequence[int]) -> tuple[Program, dict[tuple[int, int], int]]:
    """The program of all derivatives of outputs by some inputs.

    Returns:
        the program, and by (output, input), as they are numbered in the given one, which of its outputs their derivative is. Derivatives
        that vanish for every input are not there.

    Raises:
        InputError: the program calls a function whose derivative is not known.
    """
    derivatives = [_Derivative(program, i) for i in inputs]
    written, outputs, places = list(program.instructions), [], {}
    first = program.num_inputs + len(program.geometry)
    for i, derivative in zip(inputs, derivatives, strict=True):
        derivative.write(written, first)
        for k, value in enumerate(program.outputs):
            tangent = derivative.of(value)
            if tangent is not None:
                places[k, i] = len(outputs)
                outputs.append(derivative.value(tangent))
    return replace(program, instructions=tuple(written), outputs=tuple(outputs)), places


class _Derivative:
    """Derivatives of the values of a program by one input, whose instructions are appended to those that are there."""

    def __init__(self, program: Program, variable: int):
        self.program = program
        self.tangents: dict[int, Tangent] = {variable: 1.0}

    def write(self, written: list, first: int) -> None:
        self.written, self.first = written, first
        for number, instruction in enumerate(self.program.instructions, start=first):
            tangent = self._tangent(number, instruction)
            if tangent is not None:
                self.tangents[number] = tangent

    def of(self, value: int) -> Tangent:
        return self.tangents.get(value)

    def value(self, tangent: Tangent) -> int:
        """The number of a value that holds the derivative."""
        return tangent if isinstance(tangent, int) else self._emit("sum", float(tangent or 0.0), ())

    def _emit(self, *instruction: object) -> int:
        self.written.append(instruction)
        return self.first + len(self.written) - 1

    def _sum(self, terms: Sequence[tuple[int, int, float]], bias: float = 0.0) -> Tangent:
        """bias + Σ c·a·g."""
        if not terms:
            return bias or None
        if len(terms) == 1 and not bias and terms[0][1:] == (-1, 1.0):
            return terms[0][0]
        return self._emit("sum", bias, tuple(terms))

    def _scaled(self, tangent: Tangent, factor: int, c: float = 1.0) -> list[tuple[int, int, float]]:
        """The terms of c · tangent · factor."""
        if tangent is None:
            return []
        if isinstance(tangent, float):
            return [(factor, -1, c * tangent)]
        return [(self._emit("mul", tangent, factor), -1, c)]

    def _tangent(self, number: int, instruction: Sequence) -> Tangent:
        kind = instruction[0]
        if kind == "mul":
            _, a, b = instruction
            return self._sum(self._scaled(self.of(a), b) + self._scaled(self.of(b), a))
        if kind == "power":
            return self._power(*instruction[1:])
        if kind == "sum":
            return self._of_sum(instruction[2])
        return self._call(number, *instruction[1:])

    def _of_sum(self, given: Sequence[tuple[int, int, float]]) -> Tangent:
        terms, bias = [], 0.0
        for a, g, c in given:
            tangent = self.of(a)
            if tangent is None:
                continue
            if isinstance(tangent, int):
                terms.append((tangent, g, c))
            elif g >= 0:
                terms.append((g, -1, tangent))
            else:
                bias += c * tangent
        return self._sum(terms, bias)

    def _power(self, a: int, exponent: float) -> Tangent:
        if self.of(a) is None or exponent == 0:
            return None
        if exponent == 1:
            return self.of(a)
        factor = a if exponent == 2 else self._emit("power", a, exponent - 1)
        return self._sum(self._scaled(self.of(a), factor, exponent))

    def _call(self, number: int, name: str, *arguments: int) -> Tangent:
        if name in _WITHOUT_DERIVATIVE or all(self.of(a) is None for a in arguments):
            return None
        if name in ("MinValue", "MaxValue"):
            a, b = arguments
            # At a tie the derivative is that of the second argument, as in UFL.
            return self._chosen(self._emit("call", "<" if name == "MinValue" else ">", a, b), a, b)
        if name == "where":
            return self._chosen(*arguments)
        if name == "pow":
            return self._variable_power(number, *arguments)
        if name == "atan2":
            return self._angle(*arguments)
        (a,) = arguments
        factor, c = self._slope(name, a, number)
        return self._sum(self._scaled(self.of(a), factor, c))

    def _chosen(self, condition: int, yes: int, no: int) -> Tangent:
        if self.of(yes) is None and self.of(no) is None:
            return None
        return self._emit("call", "where", condition, self.value(self.of(yes)), self.value(self.of(no)))

    def _variable_power(self, number: int, a: int, b: int) -> Tangent:
        terms: list[tuple[int, int, float]] = []
        if self.of(a) is not None:
            less = self._emit("sum", -1.0, ((b, -1, 1.0),))
            factor = self._emit("mul", b, self._emit("call", "pow", a, less))
            terms += self._scaled(self.of(a), factor)
        if self.of(b) is not None:
            terms += self._scaled(self.of(b), self._emit("mul", number, self._emit("call", "ln", a)))
        return self._sum(terms)

    def _angle(self, y: int, x: int) -> Tangent:
        squares = self._emit("sum", 0.0, ((self._emit("mul", x, x), -1, 1.0), (self._emit("mul", y, y), -1, 1.0)))
        inverse = self._emit("call", "reciprocal", squares)
        along_y, along_x = self._emit("mul", x, inverse), self._emit("mul", y, inverse)
        return self._sum(self._scaled(self.of(y), along_y) + self._scaled(self.of(x), along_x, -1.0))

    def _slope(self, name: str, a: int, value: int) -> tuple[int, float]:
        """The derivative of a function of one argument at that, as a value and a factor."""
        if name == "exp":
            return value, 1.0
        if name in ("sin", "sinh", "cosh", "cos"):
            other = {"sin": "cos", "cos": "sin", "sinh": "cosh", "cosh": "sinh"}[name]
            return self._emit("call", other, a), -1.0 if name == "cos" else 1.0
        if name in ("tan", "tanh"):
            return self._emit("sum", 1.0, ((self._emit("mul", value, value), -1, 1.0 if name == "tan" else -1.0),)), 1.0
        if name in ("ln", "sqrt", "rsqrt", "reciprocal"):
            exponent, c = {"ln": (-1.0, 1.0), "sqrt": (-0.5, 0.5), "rsqrt": (-1.5, -0.5), "reciprocal": (-2.0, -1.0)}[name]
            return self._emit("power", a, exponent), c
        if name == "abs":
            plus, minus = (self._emit("sum", sign, ()) for sign in (1.0, -1.0))
            return self._emit("call", "where", self._emit("call", "<", a, self._emit("sum", 0.0, ())), minus, plus), 1.0
        square = self._emit("mul", a, a)
        if name == "erf":
            return self._emit("call", "exp", self._emit("sum", 0.0, ((square, -1, -1.0),))), 1.1283791670955126  # 2/√π
        if name in ("asin", "acos"):
            return self._emit("power", self._emit("sum", 1.0, ((square, -1, -1.0),)), -0.5), 1.0 if name == "asin" else -1.0
        if name == "atan":
            return self._emit("power", self._emit("sum", 1.0, ((square, -1, 1.0),)), -1.0), 1.0
        raise InputError(f"The derivative of {name!r} in a form is not known.")
