"""What a cycle needs of a hierarchy of spaces: stencils, transfers, the diagonal that scales residuals, and which dofs are fixed."""

from collections.abc import Sequence
from math import pi
from typing import cast

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import SparseMatrix
from .architecture import Architecture
from .box_interpolation import box_interpolation
from .closure import CellFeatures
from .coefficient import CoefficientStencils
from .elements import AXES, Elements
from .mapping import CellJacobians
from .sample_matrices import regularized_inverse

#: Most dofs of a level that is solved by a dense inverse.
MAX_COARSEST = 3000


class Level(nn.Module):
    """The matrices of one level, with the rows of fixed dofs zero: functions of a cycle vanish there.

    Stencils are made dimensionless by the domain's sides: a mass matrix has the factor (π/L)², L the shortest, a derivative along an axis
    that of its side, (π/L)² side/π. Then all of them act on smooth functions with about the same strength, at every resolution, and are
    functionals, as residuals are.
    """

    inverse_diagonal: Tensor
    free: Tensor

    def __init__(self, elements: Elements, free: np.ndarray, architecture: Architecture, sides: np.ndarray, dtype: torch.dtype):
        super().__init__()
        Z = scipy.sparse.diags(free.astype(float))
        wavenumber = pi / float(sides.min())
        diagonals = {name: elements.assemble(name).diagonal() for name in ("mass", "stiffness")}
        self.stencils, self.smoothers = nn.ModuleDict(), nn.ModuleDict()
        for name in architecture.fixed_stencils(elements.points.shape[1]):
            factor = wavenumber ** (2 - order(name)) * float(np.prod((sides / sides.min()) ** orders(name, len(sides))))
            B = scipy.sparse.csr_matrix(factor * (Z @ elements.assemble(name)))
            self.stencils[name] = SparseMatrix(B, dtype)
        for name in architecture.smoother:
            if name not in ("jacobi", "coefficient"):
                # The diagonal of such a stencil, as far as its order tells; the product with it is dimensionless.
                share = order(name) / 2
                scale = diagonals["stiffness"] ** share * diagonals["mass"] ** (1 - share)
                self.smoothers[name] = SparseMatrix(Z @ scipy.sparse.diags(1 / scale) @ elements.assemble(name) @ Z, dtype)
        K = scipy.sparse.csr_matrix(Z @ elements.assemble("stiffness") @ Z)
        # As for the operators of samples: smoothing never diverges, on anisotropic cells either.
        inverse = free / np.maximum(diagonals["stiffness"], np.asarray(abs(K).sum(1)).ravel() / 2)
        self.register_buffer("inverse_diagonal", torch.from_numpy(inverse).to(dtype)[:, None, None], persistent=False)
        self.register_buffer("free", torch.from_numpy(free.astype(float)).to(dtype)[:, None, None], persistent=False)

    def stencil(self, name: str) -> SparseMatrix:
        return cast(SparseMatrix, self.stencils[name])

    def derivatives(self) -> list[SparseMatrix]:
        """The stencils of the first derivatives, along each axis."""
        return [self.stencil(name) for name in ("dx", "dy", "dz") if name in self.stencils]

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
        sides = box[1] - box[0]
        self.levels = nn.ModuleList(
            Level(part, unfixed, architecture, sides, dtype) for part, unfixed in zip(elements, free, strict=True)
        )
        masked = [
            scipy.sparse.csr_matrix(scipy.sparse.diags(f.astype(float)) @ P @ scipy.sparse.diags(c.astype(float)))
            for P, f, c in zip(prolongations, free, free[1:], strict=False)
        ]
        self.prolongations = nn.ModuleList(SparseMatrix(P, dtype) for P in masked)
        injections = [] if architecture.transfers == "adjoint" else map(injection, masked)
        self.injections = nn.ModuleList(SparseMatrix(R, dtype) for R in injections)
        self._coarsest(elements[-1], free[-1], architecture, dtype)
        self.bias = SparseMatrix(box_interpolation(elements[0].points, box, periodic, architecture.bias_cells), dtype)
        self.coefficient = None
        if architecture.coefficient is not None:
            means = [_cell_means(fine, coarse, p) for fine, coarse, p in zip(elements, elements[1:], parents, strict=False)]
            self.coefficient = CoefficientStencils(
                elements,
                masked,
                free,
                architecture.coefficient,
                means,
                architecture.mean,
                tensor=architecture.tensor,
                transport=bool(architecture.peclet),
                reaction=architecture.reaction,
                dtype=dtype,
            )
        self.cell_features = CellFeatures(elements[0], dtype) if architecture.closure else None
        self.jacobians = CellJacobians(elements[0], dtype) if architecture.mapped else None
        averages = [_averages(P) for P in prolongations] if architecture.transport else []
        self.averages = nn.ModuleList(SparseMatrix(W, dtype) for W in averages)

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

    def velocities(self, c: Tensor) -> list[Tensor]:
        """A velocity ``(nodes, batch, dim)`` on all levels, from fine to coarse, by averages over the nodes around each coarse one."""
        all_levels = [c]
        for W in self.averages:
            all_levels.append(cast(SparseMatrix, W).on_nodes(all_levels[-1]))
        return all_levels

    def prolong(self, l: int, u: Tensor) -> Tensor:
        """Functions of level ``l + 1`` on level ``l``."""
        return cast(SparseMatrix, self.prolongations[l]).on_nodes(u)

    def restrict(self, l: int, r: Tensor) -> Tensor:
        """Functionals of level ``l`` on level ``l + 1``."""
        if self.injections:
            return cast(SparseMatrix, self.injections[l]).on_nodes(r)
        return cast(SparseMatrix, self.prolongations[l]).adjoint_on_nodes(r)


def order(name: str) -> int:
    """The derivatives in a stencil."""
    if name.startswith("tensor_"):
        return sum("mdk".index(letter) for letter in name.removeprefix("tensor_"))
    return {"mass": 0, "lumped": 0, "boundary": 1, "stiffness": 2}.get(name, name.count("d"))


def orders(name: str, dim: int) -> list[int]:
    """The derivatives in a stencil along each axis; none where axes are alike, as in stiffness."""
    if name.startswith("tensor_"):
        return ["mdk".index(letter) for letter in name.removeprefix("tensor_")]
    return [0 if name in ("mass", "lumped", "boundary", "stiffness") else name.count(f"d{axis}") for axis in AXES[:dim]]


def injection(P: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """The values of functionals at the nodes that a coarse level shares with the finer one, times the column sums of P.

    For constants it is the transposed P, for nothing else: each coarse node is told of one fine node alone.
    """
    P = scipy.sparse.csr_matrix(P)
    P.eliminate_zeros()
    fine = np.flatnonzero(np.diff(P.indptr) == 1)
    fine = fine[np.abs(P.data[P.indptr[fine]] - 1) < 1e-12]
    coarse = P.indices[P.indptr[fine]]
    sums = np.asarray(P.sum(0)).ravel()
    return scipy.sparse.csr_matrix((sums[coarse], (coarse, fine)), shape=cast(tuple[int, int], P.shape)[::-1])


def _averages(P: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """The transposed P with rows that add up to one."""
    return scipy.sparse.csr_matrix(scipy.sparse.diags(1 / np.asarray(P.sum(0)).ravel()) @ P.T)


def _cell_means(fine: Elements, coarse: Elements, parents: np.ndarray) -> scipy.sparse.csr_matrix:
    """From values of fine cells to their means over each coarse cell, weighted by volume."""
    volume = fine.volumes
    shape = (len(coarse.cell_nodes), len(fine.cell_nodes))
    sums = scipy.sparse.csr_matrix((volume, (parents, np.arange(len(volume)))), shape=shape)
    return scipy.sparse.csr_matrix(scipy.sparse.diags(1 / np.asarray(sums.sum(1)).ravel()) @ sums)
