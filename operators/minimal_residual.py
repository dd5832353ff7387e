"""Corrections of a linear system's solution that are combined so that the residual is least, sample by sample."""

from collections.abc import Callable

import torch
from torch import Tensor

#: Below which the square of a direction's image counts as nothing: there is nothing left to correct.
TINY = 1e-30


class MinimalResidual:
    """x of Ax = f from a few directions, the combination of all of them with the least residual: generalized conjugate residuals [1].

    Whatever the directions are, the residual never grows, and one eigenvalue of A far from the others costs one direction. Vectors are
    ``(dofs, batch, 1)``, and residuals are measured by ``(r, D r)``.

    Args:
        A: the product with every sample's matrix.
        D: positive weights ``(dofs, batch or 1, 1)`` of the norm, zero for dofs that are fixed.
        f: the right-hand sides.

    References:
        [1] Eisenstat, Elman and Schultz (1983), Variational iterative methods for nonsymmetric systems of linear equations, SIAM J.
            Numer. Anal. 20(2).
    """

    def __init__(self, A: Callable[[Tensor], Tensor], D: Tensor, f: Tensor):
        self.A, self.D, self.residual, self.x = A, D, f, torch.zeros_like(f)
        self._directions: list[tuple[Tensor, Tensor]] = []

    def add(self, z: Tensor) -> None:
        """Take one more direction into account."""
        w = self.A(z)
        for p, q in self._directions:
            share = self._product(q, w)
            z, w = z - share * p, w - share * q
        scale = self._product(w, w).clamp_min(TINY).rsqrt()
        z, w = z * scale, w * scale
        share = self._product(w, self.residual)
        self.x, self.residual = self.x + share * z, self.residual - share * w
        self._directions.append((z, w))

    def _product(self, v: Tensor, w: Tensor) -> Tensor:
        """``(batch, 1)``."""
        return (self.D * v * w).sum(0)
