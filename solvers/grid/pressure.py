"""The pressure that makes a velocity on a staggered grid solenoidal: directly in a box, by conjugate gradients around obstacles."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from .conjugate_gradients import conjugate_gradients
from .fast_diagonalization import DENSE, FastDiagonalization, NeumannAxis, PeriodicAxis
from .ghosts import pressure_laplacian
from .sides import Kinds, Outflow, Periodic


class BoxPoisson:
    """(−Δ)⁺ at the centres of a box's cells, ``(batch, 1, x, y[, z])``, by fast diagonalization."""

    def __init__(
        self, cells: Sequence[int], spacings: Sequence[float], kinds: Kinds, dtype: torch.dtype, device: torch.device | str
    ):
        axes: list[PeriodicAxis | NeumannAxis | Tensor] = []
        for n, h, pair in zip(cells, spacings, kinds, strict=True):
            if pair[0] is Periodic:
                axes.append(PeriodicAxis(n, h))
            elif n > DENSE and Outflow not in pair:
                axes.append(NeumannAxis(n, h))
            else:
                axes.append(pressure_laplacian(n, h, [kind() for kind in pair]))
        self._laplacian = FastDiagonalization(axes, dtype, device)
        eigenvalues = self._laplacian.eigenvalues
        kernel = eigenvalues < 1e-10 * eigenvalues.max()
        #: Whether constants are in the kernel.
        self.singular = bool(kernel.any())
        self._inverse = torch.where(kernel, 0.0, 1 / eigenvalues.masked_fill(kernel, 1.0)).to(dtype)

    def __call__(self, r: Tensor) -> Tensor:
        return self._laplacian(r, self._inverse)


@lru_cache(maxsize=16)
def box_poisson(
    cells: tuple[int, ...], spacings: tuple[float, ...], kinds: Kinds, dtype: torch.dtype, device: torch.device
) -> BoxPoisson:
    """Kept from flow to flow, for flows that differ in the values at their sides or in their obstacles only."""
    with torch.inference_mode(False):
        return BoxPoisson(cells, spacings, kinds, dtype, device)


class SelfAdjointSolver:
    """x = A⁻¹ b for a self-adjoint A that does not depend on anything differentiable; differentiable in b by one more solve.

    Args:
        direct: A⁻¹, or where there are obstacles its approximation in the box without them, with which conjugate gradients do not take more
            iterations on a finer grid.
        A: the operator around obstacles.
        active: one at the unknowns and zero elsewhere; None without obstacles.
        singular: whether constants are in the kernel.
    """

    def __init__(
        self,
        direct: Callable[[Tensor], Tensor],
        A: Callable[[Tensor], Tensor],
        active: Tensor | None,
        *,
        singular: bool,
        tolerance: float,
        max_iterations: int,
    ):
        self.direct, self.A, self.active, self.singular = direct, A, active, singular
        self.tolerance, self.max_iterations = tolerance, max_iterations

    def __call__(self, b: Tensor) -> Tensor:
        """The solution; if it is determined up to a constant only, some one."""
        return cast(Tensor, _SelfAdjointSolve.apply(self, b))

    def solve(self, b: Tensor) -> Tensor:
        if self.active is None:
            return self.direct(b)
        active = self.active
        b = active * b
        if self.singular:  # rounding and the ends of iterations leave a small mean, which no solution could balance
            axes = tuple(range(2, b.dim()))
            b = b - active * (b.sum(axes, keepdim=True) / active.sum(axes, keepdim=True))
        x, _ = conjugate_gradients(self.A, b, lambda r: active * self.direct(r), self.tolerance, self.max_iterations)
        return x


class _SelfAdjointSolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, solver: SelfAdjointSolver, b: Tensor) -> Tensor:
        cast(Any, ctx).solver = solver
        return solver.solve(b)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        return None, cast(Tensor, _SelfAdjointSolve.apply(ctx.solver, grad_outputs[0]))
