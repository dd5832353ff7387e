"""The work at the quadrature points of one integral, written as a program with all geometry folded."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .entities import Bindings
from .kernel import Kernel
from .lowering import Integrand, Placeholder
from .polynomial import Algebra, Polynomial
from .program import Writer
from .scalars import Leaf, Scalars
from .tables import ArrayPool, Jet, Tables
from .tensors import Evaluator


def build_kernel(part: Integrand, bindings: Bindings, spaces: Mapping[str, Any], pool: ArrayPool) -> Kernel | None:
    """The kernel of an integrand, or None if that vanishes.

    Args:
        part: the integrand.
        bindings: the geometry of the cells or facets it is integrated over.
        spaces: Firedrake spaces of the fields by name, and of the test function under the empty name.
        pool: to which the arrays are added.
    """
    sides: dict[tuple, list[Placeholder]] = {}
    for symbol in part.placeholders.values():
        if symbol.kind != "constant":
            sides.setdefault(_side(symbol), []).append(symbol)
    points = part.rule.point_set.indices
    tables = {key: Tables(_subspaces(spaces[key[1]])[key[2]], symbols, points, bindings) for key, symbols in sides.items()}
    evaluate = Evaluator(bindings)
    # Whether it pays to multiply out products of geometry and fields is found by counting both ways.
    written = [_Pointwise(part, tables, evaluate, len(bindings.which), expand) for expand in (True, False)]
    best = min(written, key=lambda pointwise: pointwise.writer.cost)
    return best.kernel(spaces, pool) if best.outputs else None


class _Pointwise:
    """One way to write an integrand as a program."""

    def __init__(self, part: Integrand, tables: Mapping[tuple, Tables], evaluate: Evaluator, entities: int, expand: bool):
        self.part, self.tables = part, tables
        self.entities = entities
        self.algebra = Algebra(expand)
        self.jets: dict[tuple, dict[tuple, Jet]] = {}
        self.constants: dict[tuple, None] = {}
        self._equal: dict[tuple, tuple] = {}
        symbols = part.placeholders.values()
        leaves = {s.name: self._leaf(s) for s in symbols if s.kind != "test"}
        tests = frozenset(s.name for s in symbols if s.kind == "test")
        scalars = Scalars(self.algebra, evaluate, part.rule.point_set.indices, leaves, tests)
        linear = scalars.sum(scalars(expression) for expression in part.expressions)
        linear = scalars.sum({test and self._representative(*test): p} for test, p in linear.items())
        shapes = {key: (jet.table.shape[1], self.entities) for side in self.jets.values() for key, jet in side.items()}
        shapes.update(dict.fromkeys(self.constants, (1, 1)))
        self.writer = Writer(self.algebra, shapes)
        self.outputs = {test: self.writer.polynomial(p) for test, p in linear.items()}

    def kernel(self, spaces: Mapping[str, Any], pool: ArrayPool) -> Kernel:
        weights = Evaluator({}).array(self.part.rule.weight_expression, self.part.rule.point_set.indices).ravel()
        fields, number = [], 0
        for side, jets in self.jets.items():
            numbered = dict(enumerate(jets.values(), start=number))
            number += len(jets)
            fields.append(self.tables[side].of_field(side[1], _offset(spaces[side[1]], side[2]), numbered, pool))
        tested: dict[tuple, dict[int, Jet]] = {}
        for i, test in enumerate(self.outputs):
            if test is not None:
                tested.setdefault(_side(self.part.placeholders[test[0]]), {})[i] = self._jet(*test)
        points = {i: self.writer.shape(value)[0] for i, value in enumerate(self.outputs.values())}
        tests = [
            self.tables[side].of_test(_offset(spaces[""], side[2]), jets, points, weights, pool) for side, jets in tested.items()
        ]
        return Kernel(
            entities=self.entities,
            points=len(weights),
            fields=tuple(fields),
            constants=tuple(
                (self.part.placeholders[name].owner, self._flat(name, position)) for name, position in self.constants
            ),
            program=self.writer.finish(list(self.outputs.values()), [pool.add(array) for array in self.writer.arrays]),
            tests=tuple(tests),
            weights="" if tests else pool.add(weights),
        )

    def _leaf(self, symbol: Placeholder) -> Leaf:
        def leaf(position: tuple[int, ...]) -> Polynomial:
            key = (symbol.name, position)
            if symbol.kind == "constant":
                self.constants[key] = None
            else:
                key = self._representative(*key)
                self.jets.setdefault(_side(symbol), {})[key] = self._jet(*key)
            return self.algebra.atom("input", *key)

        return leaf

    def _jet(self, name: str, position: tuple[int, ...]) -> Jet:
        return self.tables[_side(self.part.placeholders[name])].jet(name, position)

    def _representative(self, name: str, position: tuple[int, ...]) -> tuple:
        """The first component met that has the same table, so that equal values are computed and tested once."""
        component, table = self._jet(name, position)
        key = (_side(self.part.placeholders[name]), component, table.tobytes())
        return self._equal.setdefault(key, (name, position))

    def _flat(self, name: str, position: tuple[int, ...]) -> int:
        shape = self.part.placeholders[name].shape
        return int(np.ravel_multi_index(position, shape)) if shape else 0


def _side(symbol: Placeholder) -> tuple:
    return symbol.kind, symbol.owner, symbol.block, symbol.restriction


def _subspaces(V: Any) -> tuple:
    return tuple(V.subspaces) if len(V) > 1 else (V,)


def _offset(V: Any, block: int) -> int:
    """Where the dofs of a subspace begin in a mixed field."""
    return sum(sub.dim() for sub in _subspaces(V)[:block])
