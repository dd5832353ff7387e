"""What a cycle needs of a hierarchy of spaces: stencils, transfers, the diagonal that scales residuals, and which dofs are fixed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import pi
from typing import cast

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import Hierarchy, SparseMatrix
from ...fem.grid_evaluation import locate
from ...fem.uniform_grid import Grid
from .architecture import Architecture
from .closure import CellFeatures
from .coefficient import CoefficientStencils, regularized_inverse
from .elements import Elements, box_elements, mesh_elements


#: Most dofs of a level that is solved by a dense inverse.
MAX_COARSEST = 1500


class Level(nn.Module):
    """The matrices of one level, with the rows of fixed dofs zero: functions of a cycle vanish there.

    Stencils are made dimensionless by the domain's length: a mass matrix has the factor (π/length)², one derivative π/length. Then
    all of them act on smooth functions with about the same strength, at every resolution, and are functionals, as residuals are.
    """

    inverse_diagonal: Tensor
    free: Tensor

    def __init__(self, elements: Elements, free: np.ndarray, architecture: Architecture, length: float, dtype: torch.dtype):
        super().__init__()
        Z = scipy.sparse.diags(free.astype(float))
        wavenumber = pi / length
        diagonals = {name: elements.assemble(name).diagonal() for name in ("mass", "stiffness")}
        self.stencils, self.smoothers = nn.ModuleDict(), nn.ModuleDict()
        for name in architecture.fixed_stencils:
            B = wavenumber ** (2 - order(name)) * (Z @ elements.assemble(name))
            self.stencils[name] = SparseMatrix(B, dtype)
        for name in architecture.smoother:
            if name not in ("jacobi", "coefficient"):
                # The diagonal of such a stencil, as far as its order tells; the product with it is dimensionless.
                share = order(name) / 2
                scale = diagonals["stiffness"] ** share * diagonals["mass"] ** (1 - share)
                self.smoothers[name] = SparseMatrix(Z @ scipy.sparse.diags(1 / scale) @ elements.assemble(name) @ Z, dtype)
        inverse = free / diagonals["stiffness"]
        self.register_buffer("inverse_diagonal", torch.from_numpy(inverse).to(dtype)[:, None, None], persistent=False)
        self.register_buffer("free", torch.from_numpy(free.astype(float)).to(dtype)[:, None, None], persistent=False)

    def stencil(self, name: str) -> SparseMatrix:
        return cast(SparseMatrix, self.stencils[name])

    def smoother(self, name: str) -> SparseMatrix:
        return cast(SparseMatrix, self.smoothers[name])


class Levels(nn.Module):
    """The levels from fine to coarse. Built once for a grid or a mesh; no weights are in it.

    Args:
        elements: of each level.
        prolongations: from each level to the next finer one.
        free: for each level, which dofs are not fixed by a Dirichlet condition.
        box: lowest and highest corner of the domain, ``(2, dim)``.
        parents: which cell of the next coarser level each cell lies in, for each level but the coarsest; for rediscretized operators.
        periodic: axes along which bias functions are.
    """

    coarsest_inverse: Tensor

    def __init__(
        self,
        elements: Sequence[Elements],
        prolongations: Sequence[scipy.sparse.csr_matrix],
        free: Sequence[np.ndarray],
        architecture: Architecture,
        box: np.ndarray,
        periodic: Sequence[bool],
        parents: Sequence[np.ndarray] = (),
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if len(elements) < 2:
            raise InputError("A cycle needs two levels or more; make the grid finer, lower `coarsest`, or add coarser spaces.")
        length = float((box[1] - box[0]).max())
        self.levels = nn.ModuleList(
            Level(part, unfixed, architecture, length, dtype) for part, unfixed in zip(elements, free, strict=True)
        )
        masked = [
            scipy.sparse.csr_matrix(scipy.sparse.diags(f.astype(float)) @ P @ scipy.sparse.diags(c.astype(float)))
            for P, f, c in zip(prolongations, free, free[1:], strict=False)
        ]
        self.prolongations = nn.ModuleList(SparseMatrix(P, dtype) for P in masked)
        self.restrictions = nn.ModuleList(cast(SparseMatrix, P).T for P in self.prolongations)
        self._coarsest(elements[-1], free[-1], architecture, dtype)
        self.bias = SparseMatrix(_box_interpolation(elements[0].points, box, periodic, architecture.bias_cells), dtype)
        self.coefficient = None
        if architecture.coefficient is not None:
            means = [_cell_means(fine, coarse, p) for fine, coarse, p in zip(elements, elements[1:], parents, strict=False)]
            self.coefficient = CoefficientStencils(
                elements, masked, free, architecture.coefficient, means, architecture.mean, architecture.closure > 0, dtype
            )
        self.cell_features = CellFeatures(elements[0], dtype) if architecture.closure else None

    def _coarsest(self, elements: Elements, free: np.ndarray, architecture: Architecture, dtype: torch.dtype) -> None:
        """The inverse of the stiffness matrix on the coarsest level, where cycles are to solve."""
        if architecture.coarse:
            return
        if len(free) > MAX_COARSEST:
            raise InputError(
                f"The coarsest level has {len(free)} dofs, too many to solve there (at most {MAX_COARSEST}). Give more levels, or smooth "
                "there by coarse=4."
            )
        Z = scipy.sparse.diags(free.astype(float))
        K = torch.from_numpy((Z @ elements.assemble("stiffness") @ Z).toarray())
        inverse = regularized_inverse(K, torch.from_numpy(free)).to(dtype)
        self.register_buffer("coarsest_inverse", inverse, persistent=False)

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, l: int) -> Level:
        return cast(Level, self.levels[l])

    @property
    def num_nodes(self) -> int:
        return self[0].free.shape[0]

    def prolong(self, l: int, u: Tensor) -> Tensor:
        """Functions of level ``l + 1`` on level ``l``."""
        return cast(SparseMatrix, self.prolongations[l]).on_nodes(u)

    def restrict(self, l: int, r: Tensor) -> Tensor:
        """Functionals of level ``l`` on level ``l + 1``."""
        return cast(SparseMatrix, self.restrictions[l]).on_nodes(r)


def order(name: str) -> int:
    """The derivatives in a stencil."""
    if name.startswith("tensor_"):
        return sum("mdk".index(letter) for letter in name.removeprefix("tensor_"))
    return {"mass": 0, "stiffness": 2}.get(name, name.count("d"))


def grid_levels(
    grid: Grid,
    dirichlet: Iterable[str],
    architecture: Architecture,
    dtype: torch.dtype = torch.float32,
    domain: Sequence[float] = (),
) -> Levels:
    """The levels of a uniform grid of vertices: every second point, and the last one of an axis with an odd number of cells.

    Args:
        dirichlet: sides of the box where values are fixed, of ``"x0", "x1", "y0", ...``; natural conditions hold on the others.
        domain: the sides' lengths where the grid ends before the boundary; an axis then gets one more point, on it.

    Raises:
        InputError: values at the centres of cells, or a side that is unknown or periodic.
    """
    if grid.location != "vertex":
        raise InputError("MgNO's spaces have their values at vertices; this grid has them at centres. Use location='vertex'.")
    sides = list(dirichlet)
    known = [f"{axis}{end}" for axis, wraps in zip("xyz", grid.periodic, strict=False) if not wraps for end in (0, 1)]
    if unknown := [side for side in sides if side not in known]:
        raise InputError(f"Values cannot be fixed on {unknown[0]!r}; the grid's sides are {', '.join(known) or 'none: it is periodic'}.")
    axes = [np.linspace(0, L, n + wraps) for L, n, wraps in zip(grid.lengths, grid.shape, grid.periodic, strict=True)]
    lengths = tuple(domain) or grid.lengths
    axes = [np.append(x, L) if extra else x for x, L, extra in zip(axes, lengths, extended(grid, domain), strict=True)]
    all_axes, maps, parents = [axes], [], []
    while len(all_axes) < (architecture.max_levels or np.inf) and max(len(x) for x in axes) - 1 > architecture.coarsest:
        coarser = [_coarser(x, architecture.coarsest) for x in axes]
        along = [_interpolation(x, c, w) for x, c, w in zip(axes, coarser, grid.periodic, strict=True)]
        P = along[0]
        for one in along[1:]:
            P = scipy.sparse.kron(P, one)
        maps.append(scipy.sparse.csr_matrix(P))
        parents.append(_box_parents(axes, coarser))
        axes = coarser
        all_axes.append(axes)
    elements = [box_elements(axes, grid.periodic, architecture.all_stencils(grid.dim)) for axes in all_axes]
    free = [_free(axes, grid.periodic, sides) for axes in all_axes]
    box = np.array([np.zeros(grid.dim), lengths])
    return Levels(elements, maps, free, architecture, box, grid.periodic, parents, dtype)


def extended(grid: Grid, domain: Sequence[float]) -> list[bool]:
    """Which axes end before the boundary of the domain.

    Raises:
        InputError: the grid does not fit the domain.
    """
    pairs = list(zip(domain or grid.lengths, grid.lengths, grid.spacings, grid.periodic, strict=True))
    if any(L < end * (1 - 1e-6) or L > end + h * (1 + 1e-6) or (wraps and L != end) for L, end, h, wraps in pairs):
        raise InputError(f"A domain of {tuple(domain)} must reach up to one spacing beyond the grid, which ends at {grid.lengths}.")
    return [L > end * (1 + 1e-6) for L, end, _, _ in pairs]


def mesh_levels(
    hierarchy: Hierarchy, dirichlet: Iterable[str], architecture: Architecture, dtype: torch.dtype = torch.float32
) -> Levels:
    """The levels of a hierarchy of Lagrange spaces, the prolongations its own.

    Args:
        dirichlet: boundary tags where values are fixed; natural conditions hold elsewhere.

    Raises:
        InputError: elements or cells that stencils are not made for, an unknown tag.
    """
    tags = list(dirichlet)
    spaces = [hierarchy[l] for l in range(len(hierarchy))]
    elements = [mesh_elements(space, architecture.all_stencils(space.mesh.dim)) for space in spaces]
    free = [np.ones(space.num_nodes, dtype=bool) for space in spaces]
    for space, unfixed in zip(spaces, free, strict=True):
        if tags:
            unfixed[space.boundary_nodes(tags).cpu().numpy()] = False
    maps = [hierarchy.prolongation(l).to_scipy().astype(np.float64) for l in range(len(spaces) - 1)]
    parents = []
    if architecture.coefficient == "rediscretized":
        for fine, coarse in zip(elements, spaces[1:], strict=False):
            parents.append(locate(coarse, fine.points[fine.cell_nodes].mean(1))[0])
    points = spaces[0].mesh.points
    box = np.stack([points.min(0), points.max(0)])
    return Levels(elements, maps, free, architecture, box, [False] * spaces[0].mesh.dim, parents, dtype)


def _coarser(x: np.ndarray, coarsest: int) -> np.ndarray:
    """Every second point and the last; an axis with few cells stays as it is."""
    if len(x) - 1 <= coarsest:
        return x
    return np.append(x[:-1:2], x[-1])


def _interpolation(fine: np.ndarray, coarse: np.ndarray, periodic: bool) -> scipy.sparse.csr_matrix:
    """Piecewise linear functions on the coarse points at the fine ones; the last point of a periodic axis is the first."""
    x = fine[:-1] if periodic else fine
    cell = np.clip(np.searchsorted(coarse, x, side="right") - 1, 0, len(coarse) - 2)
    right = (x - coarse[cell]) / (coarse[cell + 1] - coarse[cell])
    columns = len(coarse) - periodic
    entries = (np.concatenate([1 - right, right]), (np.tile(np.arange(len(x)), 2), np.concatenate([cell, (cell + 1) % columns])))
    P = scipy.sparse.csr_matrix(entries, shape=(len(x), columns))
    P.data[np.abs(P.data) < 1e-12] = 0
    P.eliminate_zeros()
    return P


def _free(axes: Sequence[np.ndarray], periodic: Sequence[bool], sides: Sequence[str]) -> np.ndarray:
    """Which nodes of a box are not on one of the sides."""
    free = np.ones([len(x) - wraps for x, wraps in zip(axes, periodic, strict=True)], dtype=bool)
    for side in sides:
        index = [slice(None)] * len(axes)
        index["xyz".index(side[0])] = slice(-1, None) if side[1] == "1" else slice(0, 1)
        free[tuple(index)] = False
    return free.ravel()


def _box_parents(fine: Sequence[np.ndarray], coarse: Sequence[np.ndarray]) -> np.ndarray:
    """The coarse cell that each fine cell of a box lies in."""
    along = [np.searchsorted(c, (x[1:] + x[:-1]) / 2) - 1 for x, c in zip(fine, coarse, strict=True)]
    return np.ravel_multi_index(np.meshgrid(*along, indexing="ij"), [len(c) - 1 for c in coarse]).ravel()


def _cell_means(fine: Elements, coarse: Elements, parents: np.ndarray) -> scipy.sparse.csr_matrix:
    """From values of fine cells to their means over each coarse cell, weighted by volume."""
    volume = fine.matrices["mass"].sum((1, 2))
    shape = (len(coarse.cell_nodes), len(fine.cell_nodes))
    sums = scipy.sparse.csr_matrix((volume, (parents, np.arange(len(volume)))), shape=shape)
    return scipy.sparse.csr_matrix(scipy.sparse.diags(1 / np.asarray(sums.sum(1)).ravel()) @ sums)


def _box_interpolation(points: np.ndarray, box: np.ndarray, periodic: Sequence[bool], cells: int) -> scipy.sparse.csr_matrix:
    """Multilinear functions on ``cells`` boxes along each axis at points ``(n, dim)``."""
    matrix = scipy.sparse.csr_matrix(np.ones((len(points), 1)))
    for axis, wraps in enumerate(periodic):
        coarse = np.linspace(box[0, axis], box[1, axis], cells + 1)
        x = points[:, axis]
        one = _interpolation(np.append(x, box[1, axis]) if wraps else x, coarse, wraps)
        # Row by row the products of the functions along each axis.
        matrix = _rowwise_kron(matrix, one)
    return matrix


def _rowwise_kron(A: scipy.sparse.csr_matrix, B: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """Row i is the Kronecker product of the rows i of A and B."""
    columns = B.shape[1]
    left = scipy.sparse.kron(A, np.ones((1, columns)), format="csr")
    right = scipy.sparse.kron(np.ones((1, A.shape[1])), B, format="csr")
    return scipy.sparse.csr_matrix(left.multiply(right))
