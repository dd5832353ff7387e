"""One integral of a compiled form: gather, tabulate, compute at the quadrature points, test, scatter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .program import Program


@dataclass(frozen=True)
class Tabulation:
    """How values at the quadrature points follow from the dofs on each cell or facet, for one field or one block of a residual.

    Arrays are known by name. ``dofs`` has shape ``(block, nodes, entities)``: positions in the field's tensor. ``table`` has shape
    ``(groups, rows, nodes)``; the entities of one group, ``groups[i]`` consecutive ones, share a table: for facets, those with equal
    number in their cell. ``order``, if not empty, permutes between the order of the groups and that of the integral. The rows fall into
    jets, one value or derivative at the points each: ``jets`` are their numbers of rows, for every component of the block in turn, and
    ``values`` the inputs of the program that they are, or the outputs that multiply them for a test function (−1: none).
    """

    owner: str
    dofs: str
    table: str
    order: str
    groups: tuple[int, ...]
    block: int
    jets: tuple[int, ...]
    values: tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """An integral over ``entities`` cells or facets with ``points`` quadrature points each.

    ``constants`` are ``(name, component)``; they follow the jets of the fields as inputs of the program. For a functional, ``tests`` is
    empty, and the one output is summed with the ``weights``.
    """

    entities: int
    points: int
    fields: tuple[Tabulation, ...]
    constants: tuple[tuple[str, int], ...]
    program: Program
    tests: tuple[Tabulation, ...]
    weights: str

    def __call__(
        self, fields: Mapping[str, Tensor], constants: Mapping[str, Tensor], arrays: Callable[[str], Tensor], residual: Tensor
    ) -> Tensor:
        """Add the integral to a residual ``(dofs, batch)``, or to a functional ``(1, batch)``.

        Fields are ``(dofs, batch or 1)``, constants ``(components, batch or 1)``.
        """
        outputs = self.outputs(self.inputs(fields, constants, arrays), arrays, residual)
        batch = residual.shape[-1]
        if not self.tests:
            (value,) = outputs
            points, _, columns = value.shape
            weights = arrays(self.weights)
            weights = weights.sum().reshape(1, 1) if points == 1 else weights.unsqueeze(0)
            integral = (weights @ value.reshape(points, -1)).view(-1, columns).sum(0, keepdim=True)
            return residual + integral * (self.entities // value.shape[1])
        for t in self.tests:
            residual = _test(t, outputs, arrays, residual, (self.entities, batch))
        return residual

    def inputs(
        self, fields: Mapping[str, Tensor], constants: Mapping[str, Tensor], arrays: Callable[[str], Tensor]
    ) -> list[Tensor]:
        """The inputs of the program: jets ``(points or 1, entities, batch or 1)`` of the fields, then the constants."""
        jets = {i: jet for t in self.fields for i, jet in _tabulate(t, fields[t.owner], arrays)}
        return [jets[i] for i in range(len(jets))] + [constants[name][i : i + 1, None] for name, i in self.constants]

    def outputs(self, inputs: Sequence[Tensor], arrays: Callable[[str], Tensor], like: Tensor) -> list[Tensor]:
        """What the program makes of its inputs: the values that multiply the test functions, or the integrand of a functional."""
        return self.program(inputs, [arrays(name).unsqueeze(-1) for name in self.program.geometry], like)


def _tabulate(t: Tabulation, field: Tensor, arrays: Callable[[str], Tensor]) -> list[tuple[int, Tensor]]:
    """Jets ``(points or 1, entities, batch)`` of a field ``(dofs, batch)``, with their numbers as inputs of the program."""
    dofs = arrays(t.dofs)
    block, nodes, entities = dofs.shape
    batch = field.shape[-1]
    x = field.index_select(0, dofs.view(-1)).view(block, nodes, entities * batch)
    values = _product(arrays(t.table), x, t.groups, batch).reshape(-1, entities, batch)
    if t.order:
        values = values.index_select(1, arrays(t.order))
    # One split instead of many slices: its derivative is one concatenation.
    return [(i, jet) for i, jet in zip(t.values, values.split(t.jets), strict=True) if i >= 0]


def _test(
    t: Tabulation, outputs: list[Tensor], arrays: Callable[[str], Tensor], residual: Tensor, shape: tuple[int, int]
) -> Tensor:
    """Add the integrals against every basis function to the residual."""
    pieces = []
    for rows, i in zip(t.jets, t.values, strict=True):
        value = outputs[i] if i >= 0 else residual.new_zeros(1, 1, 1)
        pieces.append(value.expand(rows, *shape))
    values = torch.cat(pieces)
    if t.order:
        values = values.index_select(1, arrays(t.order))
    x = values.view(t.block, -1, shape[0] * shape[1])
    y = _product(arrays(t.table).mT, x, t.groups, shape[1])
    return residual.index_add(0, arrays(t.dofs).view(-1), y.reshape(-1, shape[1]))


def _product(tables: Tensor, x: Tensor, groups: tuple[int, ...], batch: int) -> Tensor:
    """``(groups, m, n)`` tables times ``(block, n, entities * batch)``, each group with its table."""
    block = x.shape[0]
    if len(groups) == 1:
        return torch.bmm(tables.expand(block, -1, -1), x)
    if max(groups) == 1:
        columns = x.view(block, x.shape[1], -1, batch)
        return torch.einsum("emn,bneB->bmeB", tables, columns).reshape(block, tables.shape[1], -1)
    runs = x.split([size * batch for size in groups], dim=2)
    return torch.cat([torch.bmm(table.expand(block, -1, -1), run) for table, run in zip(tables, runs, strict=True)], dim=2)
