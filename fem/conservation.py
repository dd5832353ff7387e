"""The nearest flux that conserves mass in every cell."""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from torch import Tensor, nn

from ..errors import InputError
from .space import Space
from .sparse import SparseMatrix

#: Columns of an inverse factor that are computed at once.
BLOCK = 256

_UNDETERMINED = (
    "Not every source has a flux, for it is prescribed on the whole boundary. Leave out a tag; there, give the pressure."
)


class FluxProjection(nn.Module):
    """The flux nearest to a given one among those with ∇·σ = f in every cell, ``(..., fluxes), (..., sources) -> (..., fluxes)``.

    σ ← σ − W⁻¹Dᵀ (D W⁻¹ Dᵀ)⁻¹ (Dσ − f) with the divergence matrix D and W the diagonal of the mass matrix: a projection in a norm
    that is equivalent to L2, so that it brings a flux nearer to every conservative one. The inverse is that of a sparse Cholesky factor
    in a fill-reducing order, itself sparse, and exact; a second pass removes the rounding of the first.

    Args:
        space: H(div) elements.
        divergence: from ``space`` onto the divergences, discontinuous elements (:meth:`Discretization.derivative`).
        tags: boundary parts whose normal flux is prescribed, and not changed.

    Raises:
        InputError: the matrix does not fit the space, or the flux is prescribed on the whole boundary.
    """

    def __init__(self, space: Space, divergence: SparseMatrix, tags: tuple[str, ...] = ()):
        super().__init__()
        D = scipy.sparse.csr_matrix(divergence.to_scipy(), dtype=np.float64)
        if divergence.shape[1] != space.num_dofs:
            raise InputError(
                f"A divergence of shape {divergence.shape} does not act on {space.name!r} with its {space.num_dofs} dofs."
            )
        inverse_weights = 1 / space.mass.to_scipy().astype(np.float64).diagonal()
        if tags:
            inverse_weights[space.boundary_dofs(tags).cpu().numpy()] = 0
        dtype = divergence.val.dtype
        G = scipy.sparse.diags(inverse_weights) @ D.T
        self.divergence = divergence
        self.gradient = SparseMatrix(G, dtype)
        self.factor = SparseMatrix(_inverse_factor(scipy.sparse.csc_matrix(D @ G)), dtype)

    def forward(self, sigma: Tensor, f: Tensor) -> Tensor:
        s, source = sigma.reshape(-1, sigma.shape[-1]).T, f.reshape(-1, f.shape[-1]).T
        for _ in range(2):
            defect = self.divergence.on_nodes(s) - source
            s = s - self.gradient.on_nodes(self.factor.adjoint_on_nodes(self.factor.on_nodes(defect)))
        return s.T.reshape(sigma.shape)

    def defect(self, sigma: Tensor, f: Tensor) -> Tensor:
        """∇·σ − f as dofs of the space of divergences, ``(..., sources)``."""
        return self.divergence(sigma) - f


def _inverse_factor(S: scipy.sparse.csc_matrix) -> scipy.sparse.csr_matrix:
    """F with FᵀF = S⁻¹, for a symmetric positive definite S."""
    n: int = S.get_shape()[0]
    try:
        lu = scipy.sparse.linalg.splu(S, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError as error:
        raise InputError(_UNDETERMINED) from error
    pivots = lu.U.diagonal()
    if pivots.min() <= 1e-12 * pivots.max():
        raise InputError(_UNDETERMINED)
    L = scipy.sparse.linalg.splu(lu.L.tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    blocks = []
    for first in range(0, n, BLOCK):
        columns = np.zeros((n, min(BLOCK, n - first)))
        columns[np.arange(first, first + columns.shape[1]), np.arange(columns.shape[1])] = 1
        blocks.append(scipy.sparse.csc_matrix(L.solve(columns)))
    inverse = scipy.sparse.diags(pivots**-0.5) @ scipy.sparse.hstack(blocks, format="csc")
    # splu factorises S[order][:, order], so the columns of the inverse belong to the cells in that order.
    order = np.argsort(lu.perm_c)
    back = scipy.sparse.csc_matrix((np.ones(n), (np.arange(n), order)), shape=(n, n))
    return scipy.sparse.csr_matrix(inverse @ back)
