"""Velocities without weak divergence, and the pressures that keep them so: one constant saddle-point problem, solved in batches."""

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

from ..errors import InputError
from .projection import MassSolver
from .smoothing import smoothing_matrix
from .space import Space
from .sparse import SparseMatrix

#: Pressures whose Schur complement is inverted as a dense matrix.
MAX_PRESSURES = 20_000


class SaddleSolver(nn.Module):
    """a and p with ∫ a·v + ℓ² ∫ ∇a : ∇v − ∫ p ∇·v = F(v) and ∫ q ∇·a = 0 for all q and all v that vanish on tagged parts, as a does.

    With ℓ = 0, ``a`` is the L2 projection of what F represents onto the fields without weak divergence, and p its pressure; ℓ > 0 damps
    what is shorter than ℓ. Velocities are found by conjugate gradients (:class:`MassSolver`), pressures by the dense inverse of the Schur
    complement, so that a batch is a few products on any device.

    Args:
        velocity, pressure: an inf-sup stable pair, such as Taylor and Hood's.
        divergence: the weak divergence, ``disc.product(velocity, pressure)``.
        tags: boundary parts where the velocity is prescribed.
        length: ℓ.

    Raises:
        InputError: the matrix does not fit the spaces; the velocity is prescribed on the whole boundary, so that pressures have no
            level; or there are too many pressures for a dense matrix.
    """

    schur_inverse: Tensor
    free: Tensor

    def __init__(
        self, velocity: Space, pressure: Space, divergence: SparseMatrix, tags: tuple[str, ...] = (), length: float = 0.0
    ):
        super().__init__()
        if divergence.shape != (pressure.num_dofs, velocity.num_dofs):
            raise InputError(
                f"A divergence of shape {divergence.shape} does not lead from {velocity.name!r} to {pressure.name!r}."
            )
        if pressure.num_dofs > MAX_PRESSURES:
            raise InputError(
                f"{pressure.name!r} has {pressure.num_dofs} dofs; a dense Schur complement has at most {MAX_PRESSURES}."
            )
        dtype = divergence.val.dtype
        A, free = smoothing_matrix(velocity, length, tuple(tags))
        B = scipy.sparse.csr_matrix(scipy.sparse.csr_matrix(divergence.to_scipy(), dtype=np.float64) @ scipy.sparse.diags(free))
        S = B @ scipy.sparse.linalg.splu(A).solve(B.toarray().T)
        try:
            factor = scipy.linalg.cholesky(S, lower=True)
        except np.linalg.LinAlgError as error:
            raise InputError(_NO_LEVEL) from error
        if factor.diagonal().min() <= 1e-6 * factor.diagonal().max():
            raise InputError(_NO_LEVEL)
        inverse = scipy.linalg.cho_solve((factor, True), np.eye(len(S)))
        self.divergence, self.gradient = divergence, SparseMatrix(scipy.sparse.csr_matrix(B.T), dtype)
        self.solve = MassSolver(SparseMatrix(A, dtype))
        self.register_buffer("schur_inverse", torch.from_numpy(inverse).to(dtype), persistent=False)
        self.register_buffer("free", torch.from_numpy(free).to(dtype), persistent=False)

    def forward(self, F: Tensor) -> tuple[Tensor, Tensor]:
        """``(batch, velocity dofs)`` of a functional to a and p."""
        y = self.solve(F * self.free)
        p = -self.divergence(y) @ self.schur_inverse
        return y + self.solve(self.gradient(p)), p

    def pressure(self, F: Tensor) -> Tensor:
        """p alone, at half the cost of both."""
        return -self.divergence(self.solve(F * self.free)) @ self.schur_inverse

    def project(self, u: Tensor) -> Tensor:
        """The nearest velocity without weak divergence and with the same boundary values; the second pass removes rounding."""
        for _ in range(2):
            u = u - self.solve(self.gradient(self.divergence(u) @ self.schur_inverse))
        return u


_NO_LEVEL = "The velocity is prescribed on the whole boundary, so that pressures have no level. Leave out a tag: an outflow."
