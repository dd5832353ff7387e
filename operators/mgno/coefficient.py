"""The operator −∇·(a∇) of every sample's own coefficient, on every level of a hierarchy: one sparsity pattern, values linear in a."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import SparseMatrix
from ...fem.sparse_product import product
from .elements import Elements

Mean = Literal["arithmetic", "harmonic"]
Coarsening = Literal["galerkin", "rediscretized"]


class Pattern(nn.Module):
    """Where the nonzeros of a symmetric matrix are, as CSR, and how values of many samples are laid out for one product.

    Features are ``(nodes, batch, channels)``; for a product, nodes and batch are one axis, and the matrices of all samples one matrix.
    """

    crow: Tensor
    col: Tensor
    diagonal: Tensor
    diagonal_nodes: Tensor

    def __init__(self, rows: np.ndarray, cols: np.ndarray, num_nodes: int):
        super().__init__()
        self.num_nodes = num_nodes
        crow = np.searchsorted(rows, np.arange(num_nodes + 1))
        on_diagonal = np.flatnonzero(rows == cols)
        arrays = {"crow": crow, "col": cols, "diagonal": on_diagonal, "diagonal_nodes": rows[on_diagonal]}
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)), persistent=False)
        self._batched: dict[tuple[int, torch.device], tuple[Tensor, Tensor, Tensor]] = {}

    def batched(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """CSR row pointers and columns of the joint matrix of ``batch`` samples, and where its values are in ``(nonzeros, batch)``."""
        key = (batch, self.col.device)
        if key not in self._batched:
            lengths = self.crow.diff()
            start = self.crow[:-1, None] * batch + lengths[:, None] * torch.arange(batch, device=self.col.device)
            crow = torch.cat([start.flatten(), self.crow[-1:] * batch])
            row = torch.repeat_interleave(torch.arange(self.num_nodes, device=self.col.device), lengths)
            nonzero, sample = torch.arange(len(row), device=row.device)[:, None], torch.arange(batch, device=row.device)
            place = start[row] + nonzero - self.crow[row, None]
            col, source = (torch.empty(place.numel(), dtype=torch.int64, device=row.device) for _ in range(2))
            col[place.flatten()] = (self.col[:, None] * batch + sample).flatten()
            source[place.flatten()] = (nonzero * batch + sample).flatten()
            self._batched[key] = (crow.int(), col.int(), source)
        return self._batched[key]


class SampleMatrices:
    """A symmetric matrix for each sample, applied to features ``(nodes, batch, channels)``.

    Attributes:
        inverse_diagonal: ``(nodes, batch, 1)``, zero for dofs that are fixed.
    """

    def __init__(self, pattern: Pattern, values: Tensor):
        crow, col, source = pattern.batched(values.shape[1])
        self.val = values.flatten()[source]
        self._csr = (crow, col, self.val)
        self._rows: Tensor | None = None
        D = values.new_zeros(pattern.num_nodes, values.shape[1]).index_copy(0, pattern.diagonal_nodes, values[pattern.diagonal])
        self.inverse_diagonal = torch.where(D > 0, 1 / torch.where(D > 0, D, 1), 0)[..., None]

    def on_nodes(self, h: Tensor) -> Tensor:
        x = h.flatten(0, 1)
        if self.val.requires_grad:
            return self._differentiable(x).view_as(h)
        return product((*self._csr, *self._csr), x).view_as(h)

    def _differentiable(self, x: Tensor) -> Tensor:
        """The product as gathered terms, through which gradients reach the coefficient, at the price of the terms' memory."""
        crow, col, val = self._csr
        row = torch.repeat_interleave(torch.arange(len(crow) - 1, device=crow.device), crow.diff().long())
        return torch.zeros_like(x).index_add(0, row, val[:, None] * x[col.long()])


class CoefficientStencils(nn.Module):
    """−∇·(a∇) on all levels for coefficients at the nodes, ``(nodes, batch)``, one constant a cell by the mean of its nodes.

    Args:
        levels: elements from fine to coarse, with their "stiffness".
        prolongations: from each level to the finer one, with rows and columns of fixed dofs zero.
        free: for each level, which dofs are not fixed.
        coarsening: "galerkin" for PᵀAP, "rediscretized" for the stiffness with the mean coefficient of the cells of each coarse one.
        parents: for "rediscretized", matrices that sum fine cells' values, weighted by their volumes, to the coarse cells' means.
        mean: of the nodes of a cell, and of the cells of a coarser one.
    """

    def __init__(
        self,
        levels: Sequence[Elements],
        prolongations: Sequence[scipy.sparse.csr_matrix],
        free: Sequence[np.ndarray],
        coarsening: Coarsening = "galerkin",
        parents: Sequence[scipy.sparse.csr_matrix] = (),
        mean: Mean = "arithmetic",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if coarsening not in ("galerkin", "rediscretized") or mean not in ("arithmetic", "harmonic"):
            raise InputError(
                f'Coarsening is "galerkin" or "rediscretized", not {coarsening!r}; the mean "arithmetic" or "harmonic", not {mean!r}.'
            )
        self.harmonic, self.galerkin = mean == "harmonic", coarsening == "galerkin"
        cells, k = levels[0].cell_nodes.shape
        ones = (np.full(cells * k, 1 / k), (np.repeat(np.arange(cells), k), levels[0].cell_nodes.ravel()))
        self.to_cells = SparseMatrix(scipy.sparse.csr_matrix(ones, shape=(cells, levels[0].num_nodes)), dtype)
        rows, cols, E = _assembly(levels[0], free[0])
        patterns, maps = [Pattern(rows, cols, levels[0].num_nodes)], [SparseMatrix(E, dtype)]
        for l, P in enumerate(prolongations, start=1):
            if self.galerkin:
                rows, cols, E = galerkin_map(rows, cols, P)
            else:
                rows, cols, E = _assembly(levels[l], free[l])
            patterns.append(Pattern(rows, cols, levels[l].num_nodes))
            maps.append(SparseMatrix(E, dtype))
        self.patterns, self.maps = nn.ModuleList(patterns), nn.ModuleList(maps)
        self.parents = nn.ModuleList(SparseMatrix(C, dtype) for C in parents)

    def forward(self, a: Tensor) -> list[SampleMatrices]:
        """The operator of every level, fine to coarse."""
        cells = 1 / self.to_cells.on_nodes(1 / a) if self.harmonic else self.to_cells.on_nodes(a)
        operators, values = [], cells
        for l, (pattern, map_) in enumerate(zip(self.patterns, self.maps, strict=True)):
            assert isinstance(pattern, Pattern)
            assert isinstance(map_, SparseMatrix)
            if l and not self.galerkin:
                mean = self.parents[l - 1]
                assert isinstance(mean, SparseMatrix)
                cells = 1 / mean.on_nodes(1 / cells) if self.harmonic else mean.on_nodes(cells)
            values = map_.on_nodes(values if l and self.galerkin else cells)
            operators.append(SampleMatrices(pattern, values))
        return operators


def _assembly(elements: Elements, free: np.ndarray) -> tuple[np.ndarray, np.ndarray, scipy.sparse.csr_matrix]:
    """Rows and columns of the nonzeros of the stiffness matrix between free dofs, and the matrix from cell values to nonzeros."""
    cells, k = elements.cell_nodes.shape
    i, j = elements.cell_nodes.repeat(k, axis=1).ravel(), np.tile(elements.cell_nodes, (1, k)).ravel()
    kept = free[i] & free[j]
    cell = np.repeat(np.arange(cells), k * k)[kept]
    return _collected(i[kept], j[kept], cell, elements.matrices["stiffness"].ravel()[kept], elements.num_nodes, cells)


def galerkin_map(
    rows: np.ndarray, cols: np.ndarray, P: scipy.sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray, scipy.sparse.csr_matrix]:
    """Rows and columns of the nonzeros of PᵀAP, and the matrix from the nonzeros of A to them: the triple product is linear in A."""
    P = scipy.sparse.csr_matrix(P)
    P.eliminate_zeros()
    lengths = np.diff(P.indptr)
    across = lengths[cols]
    counts = lengths[rows] * across
    source = np.repeat(np.arange(len(rows)), counts)
    local = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    left = P.indptr[rows[source]] + local // across[source]
    right = P.indptr[cols[source]] + local % across[source]
    weights = P.data[left] * P.data[right]
    return _collected(P.indices[left], P.indices[right], source, weights, P.shape[1], len(rows))


def _collected(
    i: np.ndarray, j: np.ndarray, source: np.ndarray, weights: np.ndarray, num_nodes: int, sources: int
) -> tuple[np.ndarray, np.ndarray, scipy.sparse.csr_matrix]:
    keys, entry = np.unique(i.astype(np.int64) * num_nodes + j, return_inverse=True)
    E = scipy.sparse.csr_matrix((weights, (entry.ravel(), source)), shape=(len(keys), sources))
    return keys // num_nodes, keys % num_nodes, E
