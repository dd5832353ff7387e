"""L2 projections: mass matrices inverted in batches on any device."""

from math import acosh, ceil
from typing import Any, cast

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

from ..errors import InputError
from .space import Space
from .sparse import SparseMatrix
from .sparse_factor import SparseFactor, envelope

#: Relative residual that the iterations reach, by the precision of the matrix.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6}

#: No conforming mass matrix on a shape-regular mesh comes near it.
MAX_ITERATIONS = 200

_DENSE = 32  # rows up to which all eigenvalues are computed
_MARGIN = 0.01  # of eigenvalues that Lanczos' method is stopped at


class MassSolver(nn.Module):
    """``M⁻¹ b`` for batches ``(..., dofs)``, differentiable in every mode, for a symmetric positive definite M.

    On the CPU by sparse factors (:class:`SparseFactor`) where these are the cheaper way: in single precision on meshes of the plane with
    up to some 20,000 nodes, of space with some 4,000, in double precision on larger ones. Elsewhere, on GPUs and in exported programs, by
    Chebyshev's semi-iteration for the matrix scaled by its diagonal [1]: products and sums alone. The extreme eigenvalues of that matrix
    depend on the element and on the shape of the cells, not on their size [2], so that the number of iterations, fixed by their bound, is
    a constant of the space: about 15 reach 1e-6. A field of vectors is solved by components where those do not interact.

    Raises:
        InputError: M is not positive definite, or its cells are degenerate, so that the iteration would not converge.

    References:
        [1] Wathen and Rees (2009), Chebyshev semi-iteration in preconditioning for problems including the mass matrix, Electronic
        Transactions on Numerical Analysis 34.

        [2] Wathen (1987), Realistic eigenvalue bounds for the Galerkin mass matrix, IMA Journal of Numerical Analysis 7.
    """

    scale: Tensor

    def __init__(self, mass: SparseMatrix):
        super().__init__()
        self.mass, dtype = mass, mass.val.dtype
        M = scipy.sparse.csr_matrix(mass.to_scipy(), dtype=np.float64, copy=True)
        M.eliminate_zeros()
        if not M.nnz or not (M.diagonal() > 0).all():
            raise InputError("A mass matrix must have a positive diagonal.")
        self.copies = _copies(M, torch.finfo(dtype).eps)
        M = _part(M, self.copies)
        diagonal = M.diagonal()
        D = scipy.sparse.diags(diagonal**-0.5)
        scaled = scipy.sparse.csr_matrix(D @ M @ D)
        self.least, self.largest = _extreme_eigenvalues(scaled)
        if not self.least > 0 or self.iterations > MAX_ITERATIONS:
            raise InputError(
                f"{MAX_ITERATIONS} iterations do not invert the mass matrix to {_tolerance(dtype):g}. Check the mesh for degenerate cells."
            )
        self.scaled = SparseMatrix(scaled, dtype).to(mass.val.device)
        self.register_buffer("scale", torch.from_numpy(diagonal**-0.5).to(mass.val), persistent=False)
        self._is_sparse = envelope(M) <= self.iterations * M.nnz  # fewer multiplications
        self._factor: SparseFactor | None = None
        self._factorise()

    @property
    def iterations(self) -> int:
        """Those that reduce every residual to the tolerance, in the norm of the inverse diagonal: 1 / T_k(σ) is at most that."""
        if self.largest - self.least < 1e-12 * self.largest:
            return 1
        sigma = (self.largest + self.least) / (self.largest - self.least)
        return ceil(acosh(1 / _tolerance(self.mass.val.dtype)) / acosh(sigma))

    def forward(self, b: Tensor) -> Tensor:
        if b.shape[-1] != self.mass.shape[0]:
            raise InputError(
                f"The mass matrix has {self.mass.shape[0]} dofs, but the right-hand side has shape {tuple(b.shape)}."
            )
        columns = b.reshape(-1, b.shape[-1]).T.to(self.mass.val.dtype).reshape(len(self.scale), -1)
        # A factor cannot be written into an exported program.
        x = self.iterate(columns) if self._factor is None or torch.compiler.is_exporting() else self._factor(columns)
        return x.reshape(b.shape[-1], -1).T.reshape(b.shape).to(b.dtype)

    def iterate(self, b: Tensor) -> Tensor:
        """The solution for columns ``(dofs, batch)`` by the fixed number of iterations, a linear and symmetric map."""
        middle, half = (self.largest + self.least) / 2, (self.largest - self.least) / 2
        r = self.scale[:, None] * b
        x = d = r / middle
        rho = half / middle
        for _ in range(self.iterations - 1):
            r = r - self.scaled.on_nodes(d)
            rho, before = 1 / (2 * middle / half - rho), rho
            d = torch.add(rho * before * d, r, alpha=2 * rho / half)
            x = x + d
        return self.scale[:, None] * x

    def _factorise(self) -> None:
        """Make the factor in the precision of the matrix, on the CPU."""
        val = self.mass.val
        if not self._is_sparse or val.device.type != "cpu" or val.dtype not in TOLERANCE:
            self._factor = None
        elif self._factor is None or self._factor.dtype != val.dtype:
            self._factor = SparseFactor(scipy.sparse.csc_matrix(_part(self.mass.to_scipy(), self.copies)))

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)
        self._factorise()
        return self

    def extra_repr(self) -> str:
        return f"{self.iterations} iterations" if self._factor is None else f"{self._factor}"


class L2Projection(nn.Module):
    """``M⁻¹ B u``: the function of a space with the same moments as u, ``(..., source dofs) -> (..., dofs)``.

    Args:
        space: the space to project to.
        product: ``B_ij = ∫ φ_i ψ_j``, see :meth:`Discretization.product`.

    Raises:
        InputError: the products do not lead into the space.
    """

    def __init__(self, space: Space, product: SparseMatrix):
        super().__init__()
        if product.shape[0] != space.num_dofs:
            raise InputError(f"The products have {product.shape[0]} rows, but space {space.name!r} has {space.num_dofs} dofs.")
        self.product, self.solver = product, MassSolver(space.mass)

    def forward(self, u: Tensor) -> Tensor:
        return self.solver(self.product(u))


def _tolerance(dtype: torch.dtype) -> float:
    return TOLERANCE.get(dtype, 1e-6)


def _copies(M: scipy.sparse.csr_matrix, rounding: float) -> int:
    """How many interleaved copies of one matrix M is: those of a vector's components, if they do not interact."""
    entries = M.tocoo()
    for number in (3, 2):
        if M.get_shape()[0] % number or (entries.row % number != entries.col % number).any():
            continue
        first, *others = (_part(M, number, i) for i in range(number))
        if all(abs(first - other).max() <= 8 * rounding * abs(first).max() for other in others):
            return number
    return 1


def _part(M: scipy.sparse.csr_matrix, copies: int, number: int = 0) -> scipy.sparse.csr_matrix:
    """One of interleaved copies."""
    return scipy.sparse.csr_matrix(M[number::copies][:, number::copies])


def _extreme_eigenvalues(A: scipy.sparse.csr_matrix) -> tuple[float, float]:
    """Bounds of the spectrum of a symmetric matrix."""
    n: int = A.get_shape()[0]
    if n <= _DENSE:
        eigenvalues = np.linalg.eigvalsh(A.toarray())
        return float(eigenvalues[0]), float(eigenvalues[-1])
    start = np.random.default_rng(0).standard_normal(n)
    found: Any = scipy.sparse.linalg.eigsh(A, k=2, which="BE", tol=cast(Any, _MARGIN), v0=start, return_eigenvectors=False)
    return float(min(found)) * (1 - _MARGIN), float(max(found)) * (1 + _MARGIN)
