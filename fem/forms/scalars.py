"""From tensor algebra to scalars: a GEM integrand as polynomials in the fields, one for each component of the test function."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import InputError
from .polynomial import Algebra, Polynomial, coefficient
from .tensors import COMPARISONS, FUNCTIONS, Evaluator

#: A component of the test function or of one of its derivatives: name of the placeholder and position in it; None where there is none.
Test = tuple[str, tuple[int, ...]] | None

#: What multiplies each component of the test function.
Linear = dict[Test, Polynomial]

#: What a field or a constant is in a GEM expression: its atoms by position.
Leaf = Callable[[tuple[int, ...]], Polynomial]

ONE = Polynomial({(): 1.0})


class Scalars:
    """Splits GEM expressions into scalar components, folding all that depends on the mesh alone.

    Args:
        algebra: in which the polynomials are built.
        evaluate: for the geometry.
        points: the GEM indices of the quadrature points.
        leaves: fields and constants by the name of their placeholder.
        tests: names of the placeholders of test functions.
    """

    def __init__(
        self, algebra: Algebra, evaluate: Evaluator, points: Sequence, leaves: Mapping[str, Leaf], tests: frozenset[str]
    ):
        self.algebra, self.evaluate, self.points, self.leaves, self.tests = algebra, evaluate, tuple(points), leaves, tests
        self._components: dict[Any, Linear] = {}
        self._geometric: dict[Any, bool] = {}

    def __call__(self, node: Any, position: tuple[int, ...] = (), binding: Mapping | None = None) -> Linear:
        """One component of an expression whose free indices are bound to the given values."""
        binding = {i: n for i, n in (binding or {}).items() if i in node.free_indices}
        key = (node, position, tuple(binding.items()))
        if key not in self._components:
            self._components[key] = self._component(node, position, binding)
        return self._components[key]

    def _component(self, node: Any, position: tuple[int, ...], binding: Mapping) -> Linear:
        if self._is_geometric(node):
            return _plain(self._fold(node, position, binding))
        kind = type(node).__name__
        a = self.algebra
        match kind:
            case "Variable" if node.name in self.tests:
                return {(node.name, position): ONE}
            case "Variable":
                return _plain(self.leaves[node.name](position))
            case "Indexed":
                return self(node.children[0], tuple(_value(i, binding) for i in node.multiindex), binding)
            case "ComponentTensor":
                return self(node.children[0], (), {**binding, **dict(zip(node.multiindex, position, strict=True))})
            case "ListTensor":
                return self(node.array[position], (), binding)
            case "IndexSum":
                ranges = np.ndindex(*(i.extent for i in node.multiindex))
                terms = (dict(zip(node.multiindex, values, strict=True)) for values in ranges)
                return self.sum(self(node.children[0], (), {**binding, **term}) for term in terms)
            case "Sum":
                return self.sum(self(child, (), binding) for child in node.children)
            case "Product":
                p, q = (self(child, (), binding) for child in node.children)
                p, q = (q, p) if set(p) <= {None} else (p, q)
                factor = q.get(None, Polynomial())
                if not a.expand and not all(c.is_pure for c in p.values()):
                    factor = a.sealed(factor)
                return _nonzero({test: a.multiply(c, factor) for test, c in p.items()})
            case "Division":
                p, q = (self(child, (), binding) for child in node.children)
                return _nonzero({test: a.divide(c, q.get(None, Polynomial())) for test, c in p.items()})
            case "Conditional":
                chosen, yes, no = (self(child, (), binding) for child in node.children)
                condition, zero = chosen.get(None, Polynomial()), Polynomial()
                if condition.is_constant and isinstance(condition.constant, float):
                    return yes if condition.constant else no
                return {
                    t: a.atom("call", "where", condition, yes.get(t, zero), no.get(t, zero)) for t in dict.fromkeys((*yes, *no))
                }
        operands = [self(child, (), binding).get(None, Polynomial()) for child in node.children]
        return _plain(self._function(node, kind, operands))

    def _function(self, node: Any, kind: str, operands: Sequence[Polynomial]) -> Polynomial:
        a = self.algebra
        match kind:
            case "Power":
                return a.power(*operands)
            case "MathFunction" if node.name in {"real", "conj"}:
                return operands[0]
            case "MathFunction" if node.name in FUNCTIONS:
                return a.atom("call", node.name, *operands)
            case "Comparison" if node.operator in COMPARISONS:
                return a.atom("call", node.operator, *operands)
            case "MinValue" | "MaxValue" | "LogicalAnd" | "LogicalOr" | "LogicalNot":
                return a.atom("call", kind, *operands)
        name = getattr(node, "name", kind)
        raise InputError(
            f"The form uses {name!r} of a field, which has no batched counterpart. The functions that have one are "
            f"{', '.join(sorted(set(FUNCTIONS) - {'real', 'conj'}))}, powers, minima, maxima and conditionals."
        )

    def sum(self, terms: Iterable[Linear]) -> Linear:
        """The sum, component by component of the test function."""
        collected: dict[Test, list[Polynomial]] = {}
        for linear in terms:
            for test, p in linear.items():
                collected.setdefault(test, []).append(p)
        return _nonzero({test: self.algebra.add(ps) for test, ps in collected.items()})

    def _fold(self, node: Any, position: tuple[int, ...], binding: Mapping) -> Polynomial:
        value = self.evaluate(node)
        points = self.points if set(self.points) & set(value.indices) else ()
        bound = [i for i in value.indices if i not in points]
        array = value.aligned((*points, *bound), len(node.shape))
        array = array[(..., *(binding[i] for i in bound), *position)]
        array = np.broadcast_to(array, (array.shape[0], *(i.extent for i in points)))
        folded = coefficient(np.asarray(array, dtype=float).reshape(array.shape[0], -1).T)
        return Polynomial({(): folded}) if np.any(folded) else Polynomial()

    def _is_geometric(self, node: Any) -> bool:
        if node not in self._geometric:
            named = getattr(node, "name", None)
            self._geometric[node] = (
                named not in self.leaves
                and named not in self.tests
                and all(self._is_geometric(child) for child in (*node.children, *getattr(node, "indirect_children", ())))
            )
        return self._geometric[node]


def _value(index: Any, binding: Mapping) -> int:
    return index if isinstance(index, int) else binding[index]


def _plain(p: Polynomial) -> Linear:
    return {None: p} if p else {}


def _nonzero(linear: Linear) -> Linear:
    return {test: p for test, p in linear.items() if p}
