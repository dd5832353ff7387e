"""Stream functions of creeping flows: a mixed method for the biharmonic equation, solved in batches."""

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

from ..errors import InputError
from .hierarchy import Hierarchy
from .riesz import MAX_COARSEST, RieszMap
from .space import WHOLE_BOUNDARY

#: Nodes of the boundary, whose Gram matrix of harmonic functions is inverted as a dense one.
MAX_BOUNDARY = 4000


class StreamFunctionSolver(nn.Module):
    """ψ and ω with ψ = 0 on the boundary, ∫ ω φ − ∇ψ·∇φ = b(φ) for all φ, and ∫ ∇ω·∇χ = F(χ) for all χ that vanish on the boundary.

    This is the mixed method of Ciarlet and Raviart (1974) for the stream function ψ and the vorticity ω of a flow that a force drives,
    F(χ) = ∫ f·curl χ / ν, along walls of a given tangential velocity, b(φ) = ∫ g·t φ over the boundary; the walls' velocity is met in
    the sense of the first equation. The walls enter by discrete harmonic functions, whose integrals with the vorticity they determine
    (Quartapelle and Valz-Gris, 1981): a small dense matrix. Poisson's equation is solved twice.

    Args:
        hierarchy: spaces from fine to coarse, scalar Lagrange elements.
        cycles: of multigrid; each reduces the error of a solution of Poisson's equation by about three.
        direct: dofs up to which Poisson's equation is solved by a dense inverse, on the finest space that has as few.

    Raises:
        InputError: the spaces are no scalar Lagrange elements, or the boundary has too many nodes.
    """

    harmonic: Tensor
    gram_inverse: Tensor
    free: Tensor

    def __init__(self, hierarchy: Hierarchy, cycles: int = 6, direct: int = MAX_COARSEST):
        super().__init__()
        space = hierarchy[0]
        boundary = space.boundary_dofs(WHOLE_BOUNDARY).cpu().numpy()
        if not space.element.is_nodal or space.element.value_shape:
            raise InputError(f"A stream function lives in scalar Lagrange elements, not in {space.name!r} ({space.element}).")
        if len(boundary) > MAX_BOUNDARY:
            raise InputError(f"The boundary of {space.name!r} has {len(boundary)} nodes; at most {MAX_BOUNDARY} are possible.")
        M, K = (scipy.sparse.csr_matrix(matrix.to_scipy(), dtype=np.float64) for matrix in (space.mass, space.stiffness))
        inside = np.setdiff1d(np.arange(space.num_dofs), boundary)
        H = np.zeros((space.num_dofs, len(boundary)))
        H[boundary, np.arange(len(boundary))] = 1
        H[inside] = -scipy.sparse.linalg.splu(K[inside][:, inside].tocsc()).solve(K[inside][:, boundary].toarray())
        inverse = scipy.linalg.cho_solve(scipy.linalg.cho_factor(H.T @ (M @ H)), np.eye(len(boundary)))
        free = np.zeros(space.num_dofs)
        free[inside] = 1
        dtype = space.mass.val.dtype
        self.space, self.mass = space, space.mass
        self.poisson = RieszMap(_down_to(direct, hierarchy), ["stiffness"], WHOLE_BOUNDARY, cycles)
        for name, array in (("harmonic", H), ("gram_inverse", inverse), ("free", free)):
            self.register_buffer(name, torch.from_numpy(array).to(dtype), persistent=False)

    def forward(self, F: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Functionals ``(batch, dofs)`` to ψ and ω, ``(batch, dofs)``."""
        omega = self.poisson(F)
        wall = ((b - self.mass(omega)) @ self.harmonic) @ self.gram_inverse
        omega = omega + wall @ self.harmonic.T
        return self.poisson(self.mass(omega) - b), omega


def _down_to(num_dofs: int, hierarchy: Hierarchy) -> Hierarchy:
    """The levels from the finest to the first that has at most so many dofs."""
    sizes = [hierarchy[level].num_dofs for level in range(len(hierarchy))]
    last = next((level for level, size in enumerate(sizes) if size <= num_dofs), len(sizes) - 1)
    return Hierarchy([hierarchy[level] for level in range(last + 1)], [hierarchy.prolongation(level) for level in range(last)])
