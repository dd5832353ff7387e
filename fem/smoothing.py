"""Smoothing over a length, by a constant elliptic problem on the space of the field itself."""

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ..errors import InputError
from .projection import MassSolver
from .space import Space
from .sparse import SparseMatrix


class Smoothing(nn.Module):
    """w with ∫ w v + ℓ² ∫ ∇w : ∇v = ∫ u v for all v that vanish on tagged parts, as w does: waves u shorter than ℓ are damped.

    Args:
        space: of u and w, ``(batch, dofs)``.
        length: ℓ.
        tags: boundary parts.

    Raises:
        InputError: the length is negative.
    """

    free: Tensor

    def __init__(self, space: Space, length: float, tags: tuple[str, ...] = ()):
        super().__init__()
        if length < 0:
            raise InputError(f"A smoothing length must not be negative, as {length} is.")
        A, free = smoothing_matrix(space, length, tags)
        self.mass, self.solve = space.mass, MassSolver(SparseMatrix(A, space.mass.val.dtype))
        self.register_buffer("free", torch.from_numpy(free).to(space.mass.val), persistent=False)

    def forward(self, u: Tensor) -> Tensor:
        return self.solve(self.mass(u) * self.free)


def smoothing_matrix(space: Space, length: float, tags: tuple[str, ...]) -> tuple[scipy.sparse.csc_matrix, np.ndarray]:
    """∫ φ_i φ_j + ℓ² ∫ ∇φ_i : ∇φ_j without the rows and columns of tagged dofs, and an array ``(dofs,)`` with zeros at those."""
    free = np.ones(space.num_dofs)
    free[space.boundary_dofs(tags).cpu().numpy()] = 0
    F = scipy.sparse.diags(free)
    M, K = (matrix.to_scipy().astype(np.float64) for matrix in (space.mass, space.stiffness))
    A = M + length**2 * K
    # On fixed dofs the matrix' own diagonal, so that the system stays well conditioned.
    return scipy.sparse.csc_matrix(F @ A @ F + scipy.sparse.diags((1 - free) * A.diagonal())), free
