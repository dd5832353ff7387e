"""Riesz maps: functionals to the functions that represent them in an inner product, by multigrid, so that residuals get their dual norm."""

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ..errors import InputError
from .hierarchy import Hierarchy
from .sparse import SparseMatrix

#: Most free dofs of the coarsest space, whose matrix is inverted as a dense one.
MAX_COARSEST = 4000

_CONDITION = 1e12  # of the coarsest matrix, from which on it counts as singular


class RieszMap(nn.Module):
    """``r ↦ B r`` for residuals ``(..., dofs)``, where B approximates the inverse of an inner product's matrix A from below.

    B is a fixed number of V-cycles with damped Jacobi smoothing, as often after as before the correction, and a direct solve on the
    coarsest space. It is symmetric, positive definite and spectrally equivalent to A⁻¹ with constants that do not depend on
    the mesh, so ``(r, B r)`` is equivalent to the dual norm squared, ``(r, A⁻¹ r) = sup_v r(v)² / a(v, v)``, and tends to it with
    the number of cycles [1]. Dofs on the Dirichlet boundary are eliminated: what r holds there is ignored, and the image vanishes there.

    Args:
        hierarchy: spaces from fine to coarse, :meth:`Discretization.hierarchy`. The coarsest may have at most 4000 free dofs.
        matrices: Gram matrices whose sum is A: ``("mass", "stiffness")`` for H¹, ``("stiffness",)`` for H¹₀. Pointwise smoothing
            does not suit H(div) and H(curl).
        dirichlet: tags of the boundary parts where values are prescribed.
        cycles: V-cycles; one is a good preconditioner, each further one reduces the distance to A⁻¹ by about three.
        sweeps: smoothing steps before, and as many after, the coarse correction.

    Raises:
        InputError: the inner product is singular on the coarsest space, or that has too many dofs.

    References:
        [1] Xu (1992), Iterative methods by space decomposition and subspace correction, SIAM Review 34(4).
    """

    coarsest: Tensor

    def __init__(
        self,
        hierarchy: Hierarchy,
        matrices: Sequence[str] = ("mass", "stiffness"),
        dirichlet: str | Iterable[str] = (),
        cycles: int = 1,
        sweeps: int = 2,
    ):
        super().__init__()
        self.cycles, self.sweeps = cycles, sweeps
        self.num_dofs = hierarchy[0].num_dofs
        dtype = hierarchy[0].matrix(matrices[0]).val.dtype
        spaces = [hierarchy[level] for level in range(len(hierarchy))]
        tags = [dirichlet] if isinstance(dirichlet, str) else list(dirichlet)
        free = [np.ones(space.num_dofs) for space in spaces]
        for space, unfixed in zip(spaces, free, strict=True):
            if tags:
                unfixed[space.boundary_dofs(tags).cpu().numpy()] = 0
        Z = [scipy.sparse.diags(unfixed) for unfixed in free]
        A = Z[0] @ sum(hierarchy[0].matrix(name).to_scipy().astype(np.float64) for name in matrices) @ Z[0]
        operators, prolongations = [], []
        for level in range(len(spaces) - 1):
            P = Z[level] @ hierarchy.prolongation(level).to_scipy().astype(np.float64) @ Z[level + 1]
            operators.append(SparseMatrix(A, dtype))
            prolongations.append(SparseMatrix(P, dtype))
            self.register_buffer(f"_smoother_{level}", torch.from_numpy(_damped_jacobi(A)).to(dtype), persistent=False)
            A = P.T @ A @ P
        self.operators, self.prolongations = nn.ModuleList(operators), nn.ModuleList(prolongations)
        inverse = _dense_inverse(A, free[-1] > 0, spaces[-1].name, "+".join(matrices))
        self.register_buffer("coarsest", torch.from_numpy(inverse).to(dtype), persistent=False)

    def forward(self, r: Tensor) -> Tensor:
        """The representatives ``(..., dofs)`` of functionals ``(..., dofs)``, in the map's precision.

        Raises:
            InputError: the last axis has another length, or the residual a higher precision than the map.
        """
        if r.ndim == 0 or r.shape[-1] != self.num_dofs:
            raise InputError(
                f"The Riesz map is of a space with {self.num_dofs} dofs, but the residual has shape {tuple(r.shape)}."
            )
        if torch.promote_types(r.dtype, self.coarsest.dtype) != self.coarsest.dtype:
            raise InputError(f"The residual is {r.dtype}, the Riesz map {self.coarsest.dtype}. Convert one of them.")
        b = r.reshape(-1, self.num_dofs).T
        z = self._cycle(0, b)
        for _ in range(self.cycles - 1):
            z = z + self._cycle(0, b - self._product(0, z)) if len(self.operators) else z
        return z.T.reshape(r.shape)

    def norm(self, r: Tensor) -> Tensor:
        """The dual norm of each functional, ``(..., dofs) -> (...)``."""
        return (r * self(r)).sum(-1).clamp_min(0).sqrt()

    def _cycle(self, level: int, b: Tensor) -> Tensor:
        """One V-cycle for columns ``(dofs, batch)``, from zero."""
        if level == len(self.operators):
            return self.coarsest @ b.to(self.coarsest.dtype)
        smoother = self.get_buffer(f"_smoother_{level}")[:, None]
        z = smoother * b
        for _ in range(self.sweeps - 1):
            z = z + smoother * (b - self._product(level, z))
        residual, P = b - self._product(level, z), cast(SparseMatrix, self.prolongations[level])
        z = z + P.on_nodes(self._cycle(level + 1, P.adjoint_on_nodes(residual)))
        for _ in range(self.sweeps):
            z = z + smoother * (b - self._product(level, z))
        return z

    def _product(self, level: int, z: Tensor) -> Tensor:
        return cast(SparseMatrix, self.operators[level]).on_nodes(z)

    def extra_repr(self) -> str:
        return f"{self.num_dofs} dofs, {len(self.operators) + 1} levels, {self.cycles} V-cycles with {self.sweeps}+{self.sweeps} sweeps"


class ProductRieszMap(nn.Module):
    """The Riesz map of a product of spaces, block diagonal: one map for each subspace of a mixed one.

    For the Stokes equations: H¹ for the velocity and, with ``MassSolver(disc["Q"].mass)``, L² for the pressure.
    """

    def __init__(self, maps: Sequence[nn.Module], sizes: Sequence[int]):
        super().__init__()
        self.maps, self.sizes = nn.ModuleList(maps), tuple(sizes)

    def forward(self, r: Tensor) -> Tensor:
        if r.shape[-1] != sum(self.sizes):
            raise InputError(f"The Riesz map is of spaces with {self.sizes} dofs, but the residual has shape {tuple(r.shape)}.")
        parts = zip(self.maps, r.split(self.sizes, dim=-1), strict=True)
        return torch.cat([riesz(part) for riesz, part in parts], dim=-1)


def _damped_jacobi(A: scipy.sparse.csr_matrix) -> np.ndarray:
    """``4 / (3 λ) D⁻¹`` with λ the largest eigenvalue of D⁻¹A: the damping that smooths the upper part of the spectrum best."""
    diagonal = A.diagonal()
    inverse = np.divide(1.0, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)
    x = np.random.default_rng(0).uniform(-1, 1, len(diagonal)) * (inverse > 0)
    largest = 1.0
    for _ in range(30):
        x = inverse * (A @ x)
        largest = float(np.linalg.norm(x))
        x /= largest
    return inverse * 4 / (3 * 1.05 * largest)


def _dense_inverse(A: scipy.sparse.csr_matrix, free: np.ndarray, space: str, norm: str) -> np.ndarray:
    where = np.flatnonzero(free)
    if len(where) > MAX_COARSEST:
        raise InputError(
            f"The coarsest space of the hierarchy, {space!r}, has {len(where)} free dofs, too many for a direct solve (at most "
            f"{MAX_COARSEST}). Export coarser spaces with transfers, and add them to the hierarchy."
        )
    matrix = scipy.sparse.csr_matrix(A)[where][:, where].toarray()
    if len(where) and np.linalg.cond(matrix) > _CONDITION:
        raise InputError(
            f"The inner product {norm} is singular on {space!r}: functions with zero norm remain. Name the Dirichlet boundary, or add "
            "the mass matrix."
        )
    inverse = np.zeros((len(free), len(free)))
    inverse[np.ix_(where, where)] = np.linalg.inv(matrix)
    return inverse
