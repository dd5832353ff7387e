"""The pressure that makes a velocity on a staggered grid solenoidal: directly in a box, by conjugate gradients around obstacles."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from .conjugate_gradients import conjugate_gradients


class BoxPoisson:
    """(−Δ)⁺ in a box by fast diagonalization (Lynch, Rice and Thomas, Numer. Math. 6, 1964), ``(batch, 1, x, y)``.

    The eigenvectors of each axis are cosines or complex exponentials for walls and periodic sides. They are applied as matrices, which
    takes any pair of sides, and four matrix products are faster than transforms up to about 1000 cells a side.
    """

    def __init__(self, matrices: list[Tensor], dtype: torch.dtype, device: torch.device | str):
        (lx, Qx), (ly, Qy) = (torch.linalg.eigh(matrix) for matrix in matrices)
        eigenvalues = lx[:, None] + ly
        singular = eigenvalues < 1e-10 * eigenvalues.max()
        #: Whether constants are in the kernel.
        self.singular = bool(singular.any())
        self._inverse = torch.where(singular, 0.0, 1 / eigenvalues.masked_fill(singular, 1.0)).to(device, dtype)
        self._Qx, self._Qy = Qx.to(device, dtype), Qy.to(device, dtype)

    def __call__(self, r: Tensor) -> Tensor:
        return self._Qx @ ((self._Qx.T @ r @ self._Qy) * self._inverse) @ self._Qy.T


class PressureSolver:
    """A p = b with A = −div grad through the open faces; self-adjoint, and differentiable as such.

    Around obstacles the solver of the box without them is the preconditioner: the iterations do not grow with the grid.
    """

    def __init__(
        self, box: BoxPoisson, A: Callable[[Tensor], Tensor], fluid: Tensor | None, tolerance: float, max_iterations: int
    ):
        self.box, self.A, self.fluid = box, A, fluid
        self.tolerance, self.max_iterations = tolerance, max_iterations

    def __call__(self, b: Tensor) -> Tensor:
        """The pressure; if it is determined up to a constant only, some one."""
        return cast(Tensor, _SelfAdjointSolve.apply(self, b))

    def solve(self, b: Tensor) -> Tensor:
        if self.fluid is None:
            return self.box(b)
        fluid = self.fluid
        b = fluid * b
        if self.box.singular:  # rounding and the ends of iterations leave a small mean, which no pressure could balance
            b = b - fluid * (b.sum((-1, -2), keepdim=True) / fluid.sum())
        p, _ = conjugate_gradients(self.A, b, lambda r: fluid * self.box(r), self.tolerance, self.max_iterations)
        return p


class _SelfAdjointSolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, solver: PressureSolver, b: Tensor) -> Tensor:
        cast(Any, ctx).solver = solver
        return solver.solve(b)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        return None, cast(Tensor, _SelfAdjointSolve.apply(ctx.solver, grad_outputs[0]))
