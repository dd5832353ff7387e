"""Basis functions tabulated at the quadrature points, for one field or test function of one integral. Needs Firedrake."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .entities import Bindings, node_map
from .kernel import Tabulation
from .lowering import Placeholder, tabulation
from .tensors import Evaluator

_EQUAL = 1e-14  # entries of tables closer than this, relative to the largest, are equal

#: The variables by which the cells or facets of one group are told from another where their tables differ.
_NUMBERS = {"facet_0", "entity_orientations_0"}


class ArrayPool:
    """The arrays of a compiled form by name, equal ones once."""

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[tuple, str] = {}

    def add(self, array: np.ndarray) -> str:
        array = np.ascontiguousarray(array)
        key = (array.shape, array.dtype.str, array.tobytes())
        if key not in self._names:
            self._names[key] = f"a{len(self.arrays)}"
            self.arrays[self._names[key]] = array
        return self._names[key]


class Jet(NamedTuple):
    """A scalar value at the points: component of the block, and the table ``(groups, points or 1, nodes)`` that gives it."""

    component: int
    table: np.ndarray


class Tables:
    """The tables of one field, or of one block of the test function, on one side of the facets.

    Args:
        space: its Firedrake space.
        symbols: its placeholders, which differ in the derivative.
        points: the GEM indices of the quadrature points.
        bindings: the variables of the integral, for all its cells or facets.
    """

    def __init__(self, space: Any, symbols: Sequence[Placeholder], points: Sequence, bindings: Bindings):
        self.space, self.bindings = space, bindings
        self.side = 1 if symbols[0].restriction == "-" else 0
        tensors = {symbol.name: tabulation(symbol) for symbol in symbols}
        variables = {name for tensor, _ in tensors.values() for name in _variables(tensor)}
        order, self.groups = self._grouped(variables)
        first = order[np.cumsum(self.groups) - self.groups]
        evaluate = Evaluator(bindings.restricted(first))
        self._tables = {name: _table(evaluate, *tensor, points, len(first)) for name, tensor in tensors.items()}
        if all(np.array_equal(table, np.broadcast_to(table[:1], table.shape)) for table in self._tables.values()):
            order, self.groups = np.arange(len(order)), np.array([len(order)])
            self._tables = {name: table[:1] for name, table in self._tables.items()}
        self.order = None if np.array_equal(order, np.arange(len(order))) else order
        self._jets: dict[tuple, Jet] = {}
        self.block = space.block_size if all(map(self._is_blocked, self._tables.values())) else 1

    def jet(self, name: str, position: tuple[int, ...]) -> Jet:
        """One component of a placeholder."""
        if (name, position) not in self._jets:
            self._jets[name, position] = self._jet(name, position)
        return self._jets[name, position]

    def _jet(self, name: str, position: tuple[int, ...]) -> Jet:
        table = self._tables[name][(..., *position)]
        by_component = table.reshape(*table.shape[:2], -1, self.block)
        component = int(np.abs(by_component).max(axis=(0, 1, 2)).argmax())
        table = by_component[..., component]
        if np.abs(table - table[:, :1]).max() <= _EQUAL * np.abs(table).max():
            table = table[:, :1]
        return Jet(component, table)

    def of_field(self, owner: str, offset: int, jets: Mapping[int, Jet], pool: ArrayPool) -> Tabulation:
        """The tabulation that makes these jets, by number, of a field whose dofs begin at ``offset`` of the tensor."""
        return self._tabulation(owner, offset, _distinct(jets), pool, is_test=False)

    def of_test(
        self, offset: int, jets: Mapping[int, Jet], points: Mapping[int, int], weights: np.ndarray, pool: ArrayPool
    ) -> Tabulation:
        """The tabulation that integrates values, by number, with 1 or all ``points`` each, against these jets."""
        weighted = []
        for table, members in _distinct(jets):
            rows = table * weights[:, None]
            constant = all(points[i] == 1 for i in members.values())
            weighted.append((rows.sum(axis=1, keepdims=True) if constant else rows, members))
        return self._tabulation("", offset, weighted, pool, is_test=True)

    def _tabulation(
        self, owner: str, offset: int, tables: Sequence[tuple[np.ndarray, dict[int, int]]], pool: ArrayPool, is_test: bool
    ) -> Tabulation:
        # Fields go from the order of the groups to that of the integral, test functions the other way round.
        permutation = None if self.order is None else self.order if is_test else np.argsort(self.order)
        grid = [(table.shape[1], members.get(component, -1)) for component in range(self.block) for table, members in tables]
        return Tabulation(
            owner=owner,
            dofs=pool.add(self._dofs() + offset),
            table=pool.add(np.concatenate([table for table, _ in tables], axis=1)),
            order="" if permutation is None else pool.add(permutation),
            groups=tuple(map(int, self.groups)),
            block=self.block,
            jets=tuple(rows for rows, _ in grid),
            values=tuple(number for _, number in grid),
        )

    def _grouped(self, variables: set[str]) -> tuple[np.ndarray, np.ndarray]:
        """The entities in an order in which those with one table follow one another, and how many these are."""
        count = len(self.bindings.which)
        if not variables:
            return np.arange(count), np.array([count])
        if not variables <= _NUMBERS:
            return np.arange(count), np.ones(count, dtype=int)
        numbers = np.stack([self.bindings[name][:, self.side] for name in sorted(variables)], axis=1)
        _, inverse, sizes = np.unique(numbers, axis=0, return_inverse=True, return_counts=True)
        return np.argsort(inverse.ravel(), kind="stable"), sizes

    def _is_blocked(self, table: np.ndarray) -> bool:
        """Whether every component of the value depends on one component of the nodes only."""
        size = self.space.block_size
        groups, points, dofs = table.shape[:3]
        occurs = np.abs(table.reshape(groups, points, dofs // size, size, -1)).max(axis=(0, 1, 2)) > 0
        return bool((occurs.sum(axis=0) <= 1).all())

    def _dofs(self) -> np.ndarray:
        """Dofs ``(block, nodes, entities)`` in the order of the groups."""
        nodes = node_map(self.space, self.bindings.integral_type)[self.bindings.which]
        nodes = np.split(nodes, self.bindings.sides, axis=1)[self.side]
        nodes = nodes if self.order is None else nodes[self.order]
        size = self.space.block_size
        dofs = nodes[:, :, None] * size + np.arange(size)
        return dofs.reshape(len(nodes), -1, self.block).transpose(2, 1, 0)


def _distinct(jets: Mapping[int, Jet]) -> list[tuple[np.ndarray, dict[int, int]]]:
    """The tables of some jets, equal ones once, each with the number of the jet by component."""
    found: dict[bytes, tuple[np.ndarray, dict[int, int]]] = {}
    for number, jet in jets.items():
        found.setdefault(jet.table.tobytes(), (jet.table, {}))[1][jet.component] = number
    return list(found.values())


def _table(evaluate: Evaluator, tensor: Any, basis: tuple, points: Sequence, groups: int) -> np.ndarray:
    """``(groups, points, dofs, *value shape)``."""
    array = evaluate.array(tensor, (*points, *basis))
    shape = array.shape[1 + len(points) + len(basis) :]
    num_points = int(np.prod([i.extent for i in points]))
    array = array.reshape(array.shape[0], num_points, -1, *shape)
    return np.broadcast_to(array, (groups, *array.shape[1:]))


def _variables(tensor: Any) -> set[str]:
    """Names of the variables in a GEM expression, those in its indices too."""
    from gem import Variable
    from gem.node import traversal

    return {node.name for node in traversal((tensor,)) if isinstance(node, Variable)}
