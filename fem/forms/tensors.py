"""Values of GEM expressions, TSFC's tensor language, over all cells or facets at once: how tables and geometry become arrays."""

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import scipy.special

#: Elementary functions by UFL's names.
FUNCTIONS = {
    "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "ln": np.log, "cos": np.cos, "sin": np.sin, "tan": np.tan, "cosh": np.cosh,
    "sinh": np.sinh, "tanh": np.tanh, "acos": np.arccos, "asin": np.arcsin, "atan": np.arctan, "atan2": np.arctan2,
    "erf": scipy.special.erf, "real": np.real, "conj": np.conj,
}  # fmt: skip

#: Comparisons by GEM's operators.
COMPARISONS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne
}  # fmt: skip

_OPERATORS = {
    "Sum": operator.add, "Product": operator.mul, "Division": operator.truediv, "Power": operator.pow, "MinValue": np.minimum,
    "MaxValue": np.maximum, "FloorDiv": operator.floordiv, "Remainder": operator.mod, "LogicalAnd": np.logical_and,
    "LogicalOr": np.logical_or, "LogicalNot": np.logical_not, "Conditional": np.where,
}  # fmt: skip


class Value(NamedTuple):
    """An array ``(entities or 1, *free indices, *shape)`` and the GEM indices its middle axes run over."""

    array: np.ndarray
    indices: tuple

    def aligned(self, indices: Sequence, rank: int) -> np.ndarray:
        """The array with axes for all of ``indices``, of length one where it does not depend on them."""
        order = [self.indices.index(i) + 1 for i in indices if i in self.indices]
        shape_axes = range(len(self.indices) + 1, self.array.ndim)
        array = self.array.transpose([0, *order, *shape_axes])
        missing = [axis + 1 for axis, i in enumerate(indices) if i not in self.indices]
        array = np.expand_dims(array, missing)
        assert array.ndim == 1 + len(indices) + rank
        return array


class Evaluator:
    """Evaluates GEM expressions without arguments or fields; ``bindings`` maps variable names to arrays ``(entities, *shape)``.

    Values are kept, so that subexpressions shared by many expressions are computed once.
    """

    def __init__(self, bindings: Mapping[str, np.ndarray]):
        self.bindings = bindings
        self._values: dict[Any, Value] = {}

    def __call__(self, node: Any) -> Value:
        if node not in self._values:
            self._values[node] = self._evaluate(node)
        return self._values[node]

    def array(self, node: Any, indices: Sequence) -> np.ndarray:
        """The value as an array ``(entities or 1, *indices, *shape)``, every index at its full extent."""
        array = self(node).aligned(indices, len(node.shape))
        extents = [i.extent for i in indices]
        return np.broadcast_to(array, (array.shape[0], *extents, *node.shape))

    def _evaluate(self, node: Any) -> Value:
        kind = type(node).__name__
        if kind in _OPERATORS:
            return self._pointwise(_OPERATORS[kind], node.children)
        if kind == "MathFunction":
            return self._pointwise(FUNCTIONS[node.name], node.children)
        if kind == "Comparison":
            return self._pointwise(COMPARISONS[node.operator], node.children)
        return getattr(self, f"_{kind.lower()}")(node)

    def _pointwise(self, function: Any, children: Sequence) -> Value:
        values = [self(child) for child in children]
        indices = _union(v.indices for v in values)
        # Of a conditional both branches are evaluated, also where the other one is taken.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return Value(function(*(v.aligned(indices, 0) for v in values)), indices)

    def _zero(self, node: Any) -> Value:
        return Value(np.zeros((1, *node.shape)), ())

    def _literal(self, node: Any) -> Value:
        return Value(np.asarray(node.array)[None], ())

    _identity = _literal

    def _variable(self, node: Any) -> Value:
        return Value(self.bindings[node.name].reshape(-1, *node.shape), ())

    def _delta(self, node: Any) -> Value:
        i, j = node.i, node.j
        if isinstance(i, int) or isinstance(j, int):
            index: Any
            index, value = (j, i) if isinstance(i, int) else (i, j)
            return Value((np.arange(index.extent) == value).astype(float)[None], (index,))
        return Value(np.eye(i.extent, j.extent)[None], (i, j))

    def _componenttensor(self, node: Any) -> Value:
        value = self(node.children[0])
        free = tuple(i for i in value.indices if i not in node.multiindex)
        array = value.aligned((*free, *node.multiindex), 0)
        lead = array.shape[: 1 + len(free)]
        return Value(np.broadcast_to(array, (*lead, *(i.extent for i in node.multiindex))), free)

    def _listtensor(self, node: Any) -> Value:
        values = [self(child) for child in node.children]
        indices = _union(v.indices for v in values)
        arrays = np.broadcast_arrays(*(v.aligned(indices, 0) for v in values))
        stacked = np.stack(arrays, axis=-1)
        return Value(stacked.reshape(*stacked.shape[:-1], *node.shape), indices)

    def _concatenate(self, node: Any) -> Value:
        values = [(self(child), len(child.shape)) for child in node.children]
        indices = _union(v.indices for v, _ in values)
        arrays = [v.aligned(indices, rank) for v, rank in values]
        lead = np.broadcast_shapes(*(a.shape[: 1 + len(indices)] for a in arrays))
        flat = [np.broadcast_to(a, (*lead, *a.shape[len(lead) :])).reshape(*lead, -1) for a in arrays]
        return Value(np.concatenate(flat, axis=-1), indices)

    def _inverse(self, node: Any) -> Value:
        value = self(node.children[0])
        return Value(np.linalg.inv(value.array), value.indices)

    def _solve(self, node: Any) -> Value:
        A, B = (self(child) for child in node.children)
        indices = _union((A.indices, B.indices))
        rank = len(node.children[1].shape)
        a, b = A.aligned(indices, 2), B.aligned(indices, rank)
        return Value(np.linalg.solve(a, b[..., None])[..., 0] if rank == 1 else np.linalg.solve(a, b), indices)

    def _indexsum(self, node: Any) -> Value:
        # A sum of products is a contraction: the product itself, one entry for each point and dof, is never formed.
        factors = [self(factor) for factor in _factors(node.children[0])]
        indices = _union(v.indices for v in factors)
        letters = {index: n + 1 for n, index in enumerate(indices)}
        free = tuple(i for i in indices if i not in node.multiindex)
        operands: list[Any] = []
        for value in factors:
            constant = value.array.shape[0] == 1
            array = value.array[0] if constant else value.array
            operands += [array, [*([] if constant else [0]), *(letters[i] for i in value.indices)]]
        constant = all(value.array.shape[0] == 1 for value in factors)
        array = np.einsum(*operands, [*([] if constant else [0]), *(letters[i] for i in free)], optimize=len(factors) > 2)
        absent = [i.extent for i in node.multiindex if i not in indices]
        return Value((array[None] if constant else array) * np.prod(absent, dtype=int), free)

    def _indexed(self, node: Any) -> Value:
        return self._index(self(node.children[0]), node.multiindex)

    def _flexiblyindexed(self, node: Any) -> Value:
        positions = [
            reduce(_plus, (_times(self._position(i), self._position(s)) for i, s in terms), self._position(offset))
            for offset, terms in node.dim2idxs
        ]
        return self._index(self(node.children[0]), positions)

    def _index(self, value: Value, multiindex: Sequence) -> Value:
        """``value[multiindex]`` for shape axes indexed by integers, free indices, or integer values that vary by entity."""
        positions = [i if isinstance(i, Value) else self._position(i) for i in multiindex]
        indices = _union((value.indices, *(p.indices for p in positions)))
        rank = 1 + len(indices)
        entities = value.array.shape[0]
        own = [_axis(0, rank, entities)] if entities > 1 else [np.zeros((1,) * rank, dtype=int)]
        own += [_axis(1 + indices.index(i), rank, i.extent) for i in value.indices]
        return Value(value.array[(*own, *(p.aligned(indices, 0) for p in positions))], indices)

    def _position(self, index: Any) -> Value:
        """An index, an offset or a stride as an integer value."""
        if isinstance(index, Value):
            return index
        if isinstance(index, int | np.integer):
            return Value(np.full(1, int(index)), ())
        if hasattr(index, "extent"):
            return Value(np.arange(index.extent)[None], (index,))
        value = self(getattr(index, "expression", index))
        return Value(value.array.astype(np.int64), value.indices)


def _factors(node: Any) -> list:
    if type(node).__name__ == "Product":
        return [factor for child in node.children for factor in _factors(child)]
    return [node]


def _union(groups: Any) -> tuple:
    return tuple(dict.fromkeys(index for group in groups for index in group))


def _axis(axis: int, rank: int, extent: int) -> np.ndarray:
    return np.arange(extent).reshape([-1 if a == axis else 1 for a in range(rank)])


def _plus(a: Value, b: Value) -> Value:
    indices = _union((a.indices, b.indices))
    return Value(a.aligned(indices, 0) + b.aligned(indices, 0), indices)


def _times(a: Value, b: Value) -> Value:
    indices = _union((a.indices, b.indices))
    return Value(a.aligned(indices, 0) * b.aligned(indices, 0), indices)
