"""The operator −∇·(a∇) + c·∇ + b of every sample's own coefficients, on every level: one sparsity pattern, values linear in a, b, c."""

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import SparseMatrix
from .elements import AXES, Elements, tensor_stencils
from .mapping import entries
from .sample_matrices import Pattern, SampleMatrices

Mean = Literal["arithmetic", "harmonic"]
Coarsening = Literal["galerkin", "rediscretized"]


class CoefficientStencils(nn.Module):
    """−∇·(a∇) on all levels for coefficients at the nodes, ``(nodes, batch)``, one constant a cell by the mean of its nodes.

    Args:
        levels: elements from fine to coarse, with their "stiffness", or "dxdx", "dxdy", ... for tensors.
        prolongations: from each level to the finer one, with rows and columns of fixed dofs zero.
        free: for each level, which dofs are not fixed.
        coarsening: "galerkin" for PᵀAP, "rediscretized" for the stiffness with the mean coefficient of the cells of each coarse one.
        parents: for "rediscretized", matrices from the values of cells to the means over each cell of the next level.
        mean: of the nodes of a cell, and of the cells of a coarser one.
        tensor: whether the coefficient is a symmetric tensor on each cell.
        transport: whether there is a term c·∇u, on the boxes of a grid, with a tensor that gets streamline diffusion.
        reaction: whether there is a term b u, with b constant in each cell as a is.
    """

    extents: Tensor

    def __init__(
        self,
        levels: Sequence[Elements],
        prolongations: Sequence[scipy.sparse.csr_matrix],
        free: Sequence[np.ndarray],
        coarsening: Coarsening = "galerkin",
        parents: Sequence[scipy.sparse.csr_matrix] = (),
        mean: Mean = "arithmetic",
        tensor: bool = False,
        transport: bool = False,
        reaction: bool = False,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if coarsening not in ("galerkin", "rediscretized") or mean not in ("arithmetic", "harmonic"):
            raise InputError(
                f'Coarsening is "galerkin" or "rediscretized", not {coarsening!r}; the mean "arithmetic" or "harmonic", not {mean!r}.'
            )
        self.harmonic, self.galerkin = mean == "harmonic", coarsening == "galerkin"
        dim = levels[0].points.shape[1]
        names = tensor_stencils(dim) if tensor else [("stiffness",)]
        self.reaction, self.transport = reaction, transport
        names += [(f"d{axis}",) for axis in AXES[:dim]] if transport else []
        names += [("mass",), ("lumped",)] if reaction else []
        self.parts = len(names)
        cells, k = levels[0].cell_nodes.shape
        shares = (np.full(cells * k, 1 / k), (np.repeat(np.arange(cells), k), levels[0].cell_nodes.ravel()))
        self.to_cells = SparseMatrix(scipy.sparse.csr_matrix(shares, shape=(cells, levels[0].num_nodes)), dtype)
        extents = np.ptp(levels[0].points[levels[0].cell_nodes], axis=1)[:, None]
        self.register_buffer("extents", torch.from_numpy(extents).to(dtype), persistent=False)
        rows, cols, E = _assembly(levels[0], free[0], names)
        patterns, maps = [Pattern(rows, cols, levels[0].num_nodes)], [SparseMatrix(E, dtype)]
        for l, P in enumerate(prolongations, start=1):
            rows, cols, E = galerkin_map(rows, cols, P) if self.galerkin else _assembly(levels[l], free[l], names)
            patterns.append(Pattern(rows, cols, levels[l].num_nodes))
            maps.append(SparseMatrix(E, dtype))
        self.patterns, self.maps = nn.ModuleList(patterns), nn.ModuleList(maps)
        each = [scipy.sparse.block_diag([C] * len(names)) for C in parents]
        self.parents = nn.ModuleList(SparseMatrix(C, dtype) for C in each)

    def forward(
        self,
        a: Tensor,
        factors: Tensor | None = None,
        b: Tensor | None = None,
        lumping: Tensor | None = None,
        growth: Tensor | None = None,
        c: Tensor | None = None,
    ) -> list[SampleMatrices]:
        """The operator of every level, fine to coarse.

        Args:
            a: ``(nodes, batch)``.
            factors: ``(cells, batch, entries)`` of a tensor by which a is multiplied; the identity by default.
            b: of the reaction, ``(nodes, batch)``.
            lumping: for each level, the share q of the lumped mass matrix in the reaction's, (1 − q) M + q L.
            growth: ``(cells, batch)``, by which b is multiplied in cells: how volumes grow where the grid is mapped.
            c: the velocity of the transport, ``(nodes, batch or 1, dim)``.
        """
        cells = 1 / self.to_cells.on_nodes(1 / a) if self.harmonic else self.to_cells.on_nodes(a)
        if factors is None and self.transport:
            factors = a.new_tensor([i == j for i, j in entries(self.extents.shape[-1])]).expand(len(cells), 1, -1)
        if factors is not None:
            cells = cells[..., None] * factors
            if c is not None:
                c = self.to_cells.on_nodes(c).expand(*cells.shape[:2], -1)
                cells = torch.cat([cells + streamline_diffusion(c, self.extents), c], -1)
            cells = cells.permute(2, 0, 1).flatten(0, 1)
        if b is not None:
            reaction = self.to_cells.on_nodes(b) if growth is None else self.to_cells.on_nodes(b) * growth
            cells = torch.cat([cells, reaction.repeat(2, 1)])
        return self.of_cells(cells, lumping)

    def of_cells(self, cells: Tensor, lumping: Tensor | None = None) -> list[SampleMatrices]:
        """The same for coefficients that are given in the cells, ``(cells, batch)``; of tensors, one entry after the other; b twice."""
        operators, values = [], cells
        for l, (pattern, map_) in enumerate(zip(self.patterns, self.maps, strict=True)):
            if l and not self.galerkin:
                mean = cast(SparseMatrix, self.parents[l - 1])
                cells = 1 / mean.on_nodes(1 / cells) if self.harmonic else mean.on_nodes(cells)
            own = cells if lumping is None else self._lumped(cells, lumping[l])
            values = cast(SparseMatrix, map_).on_nodes(values if l and self.galerkin else own)
            operators.append(SampleMatrices(cast(Pattern, pattern), values, not self.reaction, not self.transport))
        return operators

    def _lumped(self, cells: Tensor, share: Tensor) -> Tensor:
        *a, consistent, lumped = cells.unflatten(0, (self.parts, -1)).unbind()
        return torch.cat([*a, (1 - share) * consistent, share * lumped])


def streamline_diffusion(c: Tensor, extents: Tensor) -> Tensor:
    """The tensor τ c cᵀ, 1/τ = 2 Σ_i |c_i|/h_i, whose diffusion makes central differences along c those of upwinding.

    Args:
        c: ``(cells, batch, dim)``.
        extents: h, of cells along the axes, ``(cells, 1, dim)``.

    Returns:
        Its entries ``(cells, batch, entries)``, the diagonal first (Brooks and Hughes, Comput. Methods Appl. Mech. Eng. 32, 1982, there
        with the weights of the test functions too).
    """
    rate = 2 * (c.abs() / extents).sum(-1, keepdim=True)
    products = torch.stack([c[..., i] * c[..., j] for i, j in entries(c.shape[-1])], dim=-1)
    return torch.where(rate > 0, products / torch.where(rate > 0, rate, 1), 0)


def _assembly(
    elements: Elements, free: np.ndarray, names: Sequence[tuple[str, ...]]
) -> tuple[np.ndarray, np.ndarray, scipy.sparse.csr_matrix]:
    """Rows and columns of the nonzeros between free dofs of the sum of stencils, and the matrix from values of cells, of the first stencil,
    the second and so on, to the nonzeros."""
    cells, k = elements.cell_nodes.shape
    i, j = elements.cell_nodes.repeat(k, axis=1).ravel(), np.tile(elements.cell_nodes, (1, k)).ravel()
    kept = free[i] & free[j]
    cell = np.repeat(np.arange(cells), k * k)[kept]
    source = np.concatenate([cell + n * cells for n in range(len(names))])
    weights = np.concatenate([np.sum([elements.matrices[name] for name in parts], axis=0).ravel()[kept] for parts in names])
    repeated = np.tile(i[kept], len(names)), np.tile(j[kept], len(names))
    return collected(*repeated, source, weights, elements.num_nodes, len(names) * cells)


def galerkin_map(
    rows: np.ndarray, cols: np.ndarray, P: scipy.sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray, scipy.sparse.csr_matrix]:
    """Rows and columns of the nonzeros of PᵀAP, and the matrix from the nonzeros of A to them: the triple product is linear in A."""
    P = scipy.sparse.csr_matrix(P)
    P.eliminate_zeros()
    _, coarse = cast(tuple[int, int], P.shape)
    lengths = np.diff(P.indptr)
    across = lengths[cols]
    counts = lengths[rows] * across
    source = np.repeat(np.arange(len(rows)), counts)
    local = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    left = P.indptr[rows[source]] + local // across[source]
    right = P.indptr[cols[source]] + local % across[source]
    weights = P.data[left] * P.data[right]
    return collected(P.indices[left], P.indices[right], source, weights, coarse, len(rows))


def collected(
    i: np.ndarray, j: np.ndarray, source: np.ndarray, weights: np.ndarray, num_nodes: int, sources: int
) -> tuple[np.ndarray, np.ndarray, scipy.sparse.csr_matrix]:
    keys, entry = np.unique(i.astype(np.int64) * num_nodes + j, return_inverse=True)
    E = scipy.sparse.csr_matrix((weights, (entry.ravel(), source)), shape=(len(keys), sources))
    return keys // num_nodes, keys % num_nodes, E
