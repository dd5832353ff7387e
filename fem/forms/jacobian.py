"""The derivative of a compiled one-form with respect to one of its fields, as the entries of a batch of sparse matrices."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError
from .differentiation import differentiate
from .kernel import Kernel, Tabulation
from .residual import Residual


class _Jet(NamedTuple):
    """One value at the points: its number in the program, its component of the block, and where its rows are in the table."""

    number: int
    component: int
    rows: slice


class _Pair(NamedTuple):
    """A jet of the test function and one of the field, which of the derived program's outputs multiplies them, and at how many points."""

    test: _Jet
    trial: _Jet
    output: int
    points: int


class _Block(NamedTuple):
    """The element matrices of one component of the test function and one of the field: pairs of jets, and the name of their products."""

    kernel: int
    pairs: tuple[_Pair, ...]
    table: str


class Jacobian(nn.Module):
    """``∂F(u; φ_i)/∂u_j`` of a compiled form F as entries of a sparse matrix for each sample; their pattern is that of the mesh.

    ``J(u=u, f=f)`` takes what F takes and returns ``(entries, batch)``; the entry k belongs to row ``rows[k]`` and column ``columns[k]``,
    and those of one place are to be added. Derivatives are taken of the pointwise program, at the quadrature points, and integrated
    against precomputed products of basis functions: one matrix product for each pair of components.

    Args:
        form: a compiled form with a test function.
        field: the name of the field.

    Raises:
        InputError: the form is a functional, or has no such field.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, form: Residual, field: str):
        super().__init__()
        if form.test is None:
            raise InputError("A functional has a gradient, not a Jacobian: pass a form with a test function.")
        if field not in form.arguments or not form.arguments[field].is_field:
            fields = [name for name, argument in form.arguments.items() if argument.is_field]
            raise InputError(f"The form has no field {field!r} to be differentiated in; it has {', '.join(map(repr, fields))}.")
        self.form, self.field = form, field
        self.shape = (form.test.shape[0], form.arguments[field].shape[0])
        self._kernels: list[Kernel] = []
        self._blocks: list[_Block] = []
        places = [torch.empty(2, 0, dtype=torch.int64, device=form.device)]
        for kernel in form.kernels:
            places += self._differentiate(kernel)
        rows, columns = torch.cat(places, dim=1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    @property
    def depends_on(self) -> frozenset[str]:
        """The arguments of the form that the entries depend on; none if they are the same whatever those are."""
        names: set[str] = set()
        for kernel in self._kernels:
            owners = {i: t.owner for t in kernel.fields for i in t.values if i >= 0}
            owners |= dict(enumerate((name for name, _ in kernel.constants), start=len(owners)))
            names |= {owners[i] for i in kernel.program.dependencies()}
        return frozenset(names)

    def forward(self, **values: Tensor | float) -> Tensor:
        """The entries ``(entries, batch)`` for arguments of the form, ``(batch, dofs)`` each; errors as for :class:`Residual`."""
        fields, constants, batch_shape = self.form.columns(values)
        array, like, batch = self.form.array, self.form.get_buffer("_dtype"), math.prod(batch_shape)
        derivatives = [kernel.outputs(kernel.inputs(fields, constants, array), array, like) for kernel in self._kernels]
        entries = [self._integrated(block, derivatives[block.kernel], batch) for block in self._blocks]
        return torch.cat([like.new_empty(0, batch), *entries])

    def _integrated(self, block: _Block, derivatives: list[Tensor], batch: int) -> Tensor:
        """The entries of one block, ``(test nodes · field nodes · entities, batch)``."""
        table, entities = self.get_buffer(block.table), self._kernels[block.kernel].entities
        values = torch.cat([derivatives[pair.output].expand(pair.points, entities, batch) for pair in block.pairs])
        if len(table) == 1:
            return (table[0].mT @ values.flatten(1)).view(-1, batch)
        return torch.einsum("eqn,qeb->neb", table, values).reshape(-1, batch)

    def _differentiate(self, kernel: Kernel) -> list[Tensor]:
        """Add a kernel's derivative; returns rows and columns of its entries, a tensor ``(2, entries)`` for each block."""
        trials = [t for t in kernel.fields if t.owner == self.field]
        program, outputs = differentiate(kernel.program, [i for t in trials for i in t.values if i >= 0])
        places = []
        for test in kernel.tests:
            for trial in trials:
                for tested in _by_component(test):
                    for tried in _by_component(trial):
                        pairs = tuple(
                            _Pair(k, i, outputs[k.number, i.number], max(_length(k), _length(i)))
                            for k in tested
                            for i in tried
                            if (k.number, i.number) in outputs
                        )
                        if pairs:
                            block = _Block(len(self._kernels), pairs, f"_table_{len(self._blocks)}")
                            self._blocks.append(block)
                            self.register_buffer(block.table, self._products(test, trial, pairs), persistent=False)
                            i, j = self._dofs(test, tested[0].component), self._dofs(trial, tried[0].component)
                            shape = (len(i), len(j), i.shape[1])
                            places.append(torch.stack([i[:, None].expand(shape).flatten(), j[None].expand(shape).flatten()]))
        self._kernels.append(replace(kernel, program=program))
        return places

    def _products(self, test: Tabulation, trial: Tabulation, pairs: tuple[_Pair, ...]) -> Tensor:
        """Products of the basis functions at the points, ``(1 or entities, points of all pairs, test nodes · field nodes)``."""
        tests, trials = self._tables(test), self._tables(trial)
        entities = max(len(tests), len(trials))
        products = []
        for pair in pairs:
            T, U = tests[:, pair.test.rows, :, None], trials[:, pair.trial.rows, None]
            products.append((T * U).flatten(2).expand(entities, pair.points, -1))
        return torch.cat(products, dim=1)

    def _tables(self, t: Tabulation) -> Tensor:
        """The table ``(1, rows, nodes)``, or one for each entity in the order of the integral."""
        table = self.form.array(t.table)
        if len(t.groups) == 1:
            return table
        each = table.repeat_interleave(torch.tensor(t.groups, device=table.device), dim=0)
        return each[self._to_integral(t)] if t.order else each

    def _dofs(self, t: Tabulation, component: int) -> Tensor:
        """``(nodes, entities)``, in the order of the integral."""
        dofs = self.form.array(t.dofs)[component]
        return dofs[:, self._to_integral(t)] if t.order else dofs

    def _to_integral(self, t: Tabulation) -> Tensor:
        """Where each entity of the integral is in the order of the groups; a test function's order leads the other way."""
        order = self.form.array(t.order)
        return order if t.owner else torch.argsort(order)

    def extra_repr(self) -> str:
        return f"{self.shape[0]} x {self.shape[1]}, derivative in {self.field}, {len(self.rows)} entries"


def _by_component(t: Tabulation) -> list[tuple[_Jet, ...]]:
    """The jets of each component of the block that has any."""
    rows_of_one = sum(t.jets) // t.block
    components: dict[int, list[_Jet]] = {}
    for rows, stop, number in zip(t.jets, np.cumsum(t.jets).tolist(), t.values, strict=True):
        component, first = divmod(stop - rows, rows_of_one)
        if number >= 0:
            components.setdefault(component, []).append(_Jet(number, component, slice(first, first + rows)))
    return [tuple(jets) for jets in components.values()]


def _length(jet: _Jet) -> int:
    return jet.rows.stop - jet.rows.start
