"""The derivative of a weak form on all levels of a hierarchy, by Galerkin products: one matrix for all samples, or one for each."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Hierarchy, Jacobian, SparseMatrix
from .mgno.coefficient import collected, galerkin_map
from .mgno.sample_matrices import Pattern, SampleMatrices

#: Most free dofs of the coarsest level, where systems are solved by dense inverses: one for all samples, or one for each.
MAX_COARSEST, MAX_COARSEST_OF_SAMPLES = 3000, 1000

_CONDITION = 1e12  # of the coarsest matrix, from which on it counts as singular


class FixedMatrix(nn.Module):
    """A matrix that all samples share, as :class:`SampleMatrices` otherwise."""

    inverse_diagonal: Tensor
    inverse: Tensor

    def __init__(self, A: scipy.sparse.csr_matrix, dtype: torch.dtype, inverse: np.ndarray | None = None):
        super().__init__()
        self.matrix = SparseMatrix(A, dtype)
        D = np.maximum(A.diagonal(), np.asarray(abs(A).sum(1)).ravel() / 2)
        inverse_diagonal = np.divide(1.0, D, out=np.zeros_like(D), where=D > 0)
        self.register_buffer("inverse_diagonal", torch.from_numpy(inverse_diagonal).to(dtype)[:, None, None], persistent=False)
        if inverse is not None:
            self.register_buffer("inverse", torch.from_numpy(inverse).to(dtype), persistent=False)

    def on_nodes(self, h: Tensor) -> Tensor:
        return self.matrix.on_nodes(h)

    def solve(self, f: Tensor) -> Tensor:
        return (self.inverse @ f.flatten(1)).view_as(f)


class FormLevels(nn.Module):
    """The Jacobian of a form at the samples' own fields, on the levels of a hierarchy, as :class:`~.mgno.levels.Levels` for cycles.

    Where it depends on no field, matrices are assembled here and shared. Dofs with prescribed values are left out on every level.

    Args:
        jacobian: of a form whose unknown and test function are of the first space.
        hierarchy: spaces from fine to coarse, of scalars or vectors.
        dirichlet: tags of the boundary where values are prescribed.

    Raises:
        InputError: the coarsest level has too many dofs, or its matrix is singular.
    """

    free: Tensor

    def __init__(self, jacobian: Jacobian, hierarchy: Hierarchy, dirichlet: Sequence[str] = ()):
        super().__init__()
        free = [_free(hierarchy, l, dirichlet) for l in range(len(hierarchy))]
        keep = [scipy.sparse.diags(part.astype(float)) for part in free]
        transfers = [
            scipy.sparse.csr_matrix(keep[l] @ hierarchy.prolongation(l).to_scipy().astype(np.float64) @ keep[l + 1])
            for l in range(len(hierarchy) - 1)
        ]
        self.jacobian, dtype = jacobian, jacobian.form.dtype
        self.prolongations = nn.ModuleList(SparseMatrix(P, dtype) for P in transfers)
        self.register_buffer("free", torch.from_numpy(free[0]), persistent=False)
        self.shared = not jacobian.depends_on
        most, coarsest = MAX_COARSEST if self.shared else MAX_COARSEST_OF_SAMPLES, int(free[-1].sum())
        if coarsest > most:
            raise InputError(
                f"The coarsest space, {hierarchy[len(hierarchy) - 1].name!r}, has {coarsest} free dofs, too many to solve there (at most "
                f"{most}). Export coarser spaces with transfers, and add them to the hierarchy."
            )
        self.matrices, self.patterns, self.maps = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        if self.shared:
            self._assemble(transfers, free)
        else:
            self._prepare(transfers, free)

    def _assemble(self, transfers: Sequence[scipy.sparse.csr_matrix], free: Sequence[np.ndarray]) -> None:
        """The matrices that all samples share."""
        form, (i, j) = self.jacobian.form, _places(self.jacobian)
        zeros = {name: torch.zeros(part.shape, dtype=form.dtype, device=form.device) for name, part in form.arguments.items()}
        with torch.no_grad():
            values = self.jacobian(**zeros)[:, 0].double().cpu().numpy()
        kept = free[0][i] & free[0][j]
        A = scipy.sparse.csr_matrix((values[kept], (i[kept], j[kept])), shape=self.jacobian.shape)
        for P in transfers:
            self.matrices.append(FixedMatrix(A, form.dtype))
            A = scipy.sparse.csr_matrix(P.T @ A @ P)
        self.matrices.append(FixedMatrix(A, form.dtype, _inverse(A, free[-1])))

    def _prepare(self, transfers: Sequence[scipy.sparse.csr_matrix], free: Sequence[np.ndarray]) -> None:
        """The maps from the entries of the Jacobian to those of every level's matrix, which is linear in them."""
        dtype, (i, j) = self.jacobian.form.dtype, _places(self.jacobian)
        kept = np.flatnonzero(free[0][i] & free[0][j])
        # Patterns are symmetric: where the transposed place has no entry, a zero.
        rows, cols = np.concatenate([i[kept], j[kept]]), np.concatenate([j[kept], i[kept]])
        weights = np.repeat([1.0, 0.0], len(kept))
        rows, cols, E = collected(rows, cols, np.tile(kept, 2), weights, len(free[0]), len(i))
        self.patterns.append(Pattern(rows, cols, len(free[0])))
        self.maps.append(SparseMatrix(E, dtype))
        for P, part in zip(transfers, free[1:], strict=True):
            rows, cols, E = galerkin_map(rows, cols, P)
            self.patterns.append(Pattern(rows, cols, len(part)))
            self.maps.append(SparseMatrix(E, dtype))

    def __len__(self) -> int:
        return len(self.prolongations) + 1

    def at(self, values: Mapping[str, Tensor | float]) -> list[FixedMatrix] | list[SampleMatrices]:
        """The matrices of all levels, fine to coarse, for arguments of the form, ``(batch, dofs)`` each."""
        if self.shared:
            return [cast(FixedMatrix, A) for A in self.matrices]
        entries, operators = self.jacobian(**values), []
        for pattern, map_ in zip(self.patterns, self.maps, strict=True):
            entries = cast(SparseMatrix, map_).on_nodes(entries)
            operators.append(SampleMatrices(cast(Pattern, pattern), entries, False, symmetric=False, bounded=True))
        return operators

    def prolong(self, l: int, u: Tensor) -> Tensor:
        """Functions of level ``l + 1`` on level ``l``."""
        return cast(SparseMatrix, self.prolongations[l]).on_nodes(u)

    def restrict(self, l: int, r: Tensor) -> Tensor:
        """Functionals of level ``l`` on level ``l + 1``."""
        return cast(SparseMatrix, self.prolongations[l]).adjoint_on_nodes(r)


def _free(hierarchy: Hierarchy, l: int, dirichlet: Sequence[str]) -> np.ndarray:
    free = np.ones(hierarchy[l].num_dofs, dtype=bool)
    if dirichlet:
        free[hierarchy[l].boundary_dofs(dirichlet).cpu().numpy()] = False
    return free


def _places(jacobian: Jacobian) -> tuple[np.ndarray, np.ndarray]:
    return jacobian.rows.cpu().numpy(), jacobian.columns.cpu().numpy()


def _inverse(A: scipy.sparse.csr_matrix, free: np.ndarray) -> np.ndarray:
    """On the free dofs, zero elsewhere."""
    K = A.toarray()[np.ix_(free, free)]
    if not np.isfinite(K).all() or np.linalg.cond(K) > _CONDITION:
        raise InputError(
            "The form's derivative is singular on the coarsest space: it does not change with some functions, such as constants where "
            "all conditions are Neumann's. Prescribe values by `dirichlet`, or give the form a term that determines them."
        )
    inverse = np.zeros((len(free), len(free)))
    inverse[np.ix_(free, free)] = np.linalg.inv(K)
    return inverse
