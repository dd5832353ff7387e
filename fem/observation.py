"""Fields observed at points: sensors, probes, the nodes of a picture."""

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

from ..errors import InputError
from .space import Space
from .sparse import SparseMatrix

#: Observations whose part of the whole is smaller repeat the others.
INDEPENDENT = 1e-12


class Observation(nn.Module):
    """Evaluation of a space's fields at points: ``(..., dofs) -> (..., num_points * components)``, components innermost.

    Attributes:
        matrix: the values of the basis functions at the points.
        points: ``(num_points, dim)``.
        space: name of the space.

    Raises:
        InputError: matrix and points do not fit each other.
    """

    points: Tensor

    def __init__(self, space: str, points: Tensor, matrix: SparseMatrix):
        super().__init__()
        if matrix.shape[0] % len(points):
            raise InputError(f"A matrix of {matrix.shape[0]} rows cannot evaluate fields at {len(points)} points.")
        self.space, self.matrix = space, matrix
        self.register_buffer("points", points.to(torch.float64), persistent=False)

    @property
    def components(self) -> int:
        return self.matrix.shape[0] // len(self.points)

    def forward(self, u: Tensor) -> Tensor:
        return self.matrix(u)

    def reconstruction(self, space: Space, length: float, noise: float = 1e-8) -> Tensor:
        """Dense matrix ``(dofs, num_points * components)`` from observed values to the smoothest field that has them.

        The field minimises ``‖u‖² + length² ‖∇u‖² + ‖A u - y‖² / λ``, with λ the part ``noise²`` of the mean diagonal of ``A W⁻¹ Aᵀ``:
        ``u = W⁻¹ Aᵀ (A W⁻¹ Aᵀ + λ)⁻¹ y`` with ``W = M + length² K`` (regularised least squares; Stuart, Acta Numerica 2010). With a
        small ``noise`` values are met where they can be, and points may be more than dofs or repeated.

        Raises:
            InputError: the space is not the observed one.
        """
        if space.num_dofs != self.matrix.shape[1]:
            raise InputError(f"The observed space has {self.matrix.shape[1]} dofs, but {space.name!r} has {space.num_dofs}.")
        A = self.matrix.to_scipy().astype(np.float64)
        W = (space.mass.to_scipy() + length**2 * space.stiffness.to_scipy()).astype(np.float64)
        lifted = scipy.sparse.linalg.splu(W.tocsc()).solve(A.T.toarray())
        S = A @ lifted
        size, modes = np.linalg.eigh((S + S.T) / 2)
        # Repeated points observe nothing new; what rounding leaves of such modes must not be inverted.
        seen = size > INDEPENDENT * size.max()
        inverse = (modes[:, seen] / (size[seen] + noise**2 * size.mean())) @ modes[:, seen].T
        return torch.from_numpy(lifted @ inverse).to(self.matrix.val)

    def __repr__(self) -> str:
        return f"Observation of {self.space} at {len(self.points)} points, {self.components} component(s) each"
