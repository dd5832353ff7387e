"""The pressure that makes a velocity on a staggered grid solenoidal: directly in a box, by conjugate gradients around obstacles."""

from collections.abc import Callable, Sequence
from math import pi
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from .conjugate_gradients import conjugate_gradients
from .sides import Outflow, Periodic, Side, laplacian_1d
from .transforms import cosine_coefficients, cosine_series


class BoxPoisson:
    """(−Δ)⁺ at the centres of a box's cells, ``(batch, 1, x, y)``, in the eigenvectors of each axis.

    They are complex exponentials along a periodic axis and cosines between walls, applied by FFT. Towards an outflow they are applied
    as a matrix (Lynch, Rice and Thomas, Numer. Math. 6, 1964), which is as fast up to about 500 cells a side.
    """

    def __init__(
        self,
        cells: Sequence[int],
        spacings: Sequence[float],
        sides: Sequence[tuple[Side, Side]],
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        self._cells = tuple(cells)
        self._periodic = [axis for axis in (0, 1) if isinstance(sides[axis][0], Periodic)]
        self._matrices: dict[int, Tensor] = {}
        spectra = []
        for axis, (n, h, pair) in enumerate(zip(cells, spacings, sides, strict=True)):
            k = torch.arange(n, dtype=torch.float64)
            if axis in self._periodic:
                spectra.append((2 - 2 * torch.cos(2 * pi * k / n)) / h**2)
                if axis == self._periodic[-1]:
                    spectra[-1] = spectra[-1][: n // 2 + 1]  # the other half is conjugate
            elif any(isinstance(side, Outflow) for side in pair):
                eigenvalues, Q = torch.linalg.eigh(laplacian_1d(n, h, *pair))
                spectra.append(eigenvalues)
                self._matrices[axis] = Q.to(device, dtype)
            else:
                spectra.append((2 - 2 * torch.cos(pi * k / n)) / h**2)
        eigenvalues = spectra[0][:, None] + spectra[1]
        singular = eigenvalues < 1e-10 * eigenvalues.max()
        #: Whether constants are in the kernel.
        self.singular = bool(singular.any())
        self._inverse = torch.where(singular, 0.0, 1 / eigenvalues.masked_fill(singular, 1.0)).to(device, dtype)

    def __call__(self, r: Tensor) -> Tensor:
        walled = [axis for axis in (0, 1) if axis not in self._periodic]
        for axis in walled:
            r = self._coefficients(r, axis)
        if self._periodic:
            axes = [axis + 2 for axis in self._periodic]
            r = torch.fft.rfftn(r, dim=axes) * self._inverse
            r = torch.fft.irfftn(r, s=[self._cells[axis] for axis in self._periodic], dim=axes)
        else:
            r = r * self._inverse
        for axis in walled:
            r = self._values(r, axis)
        return r

    def _coefficients(self, r: Tensor, axis: int) -> Tensor:
        if axis in self._matrices:
            return (r.movedim(axis + 2, -1) @ self._matrices[axis]).movedim(-1, axis + 2)
        return cosine_coefficients(r, axis + 2, centred=True).narrow(axis + 2, 0, self._cells[axis])

    def _values(self, c: Tensor, axis: int) -> Tensor:
        if axis in self._matrices:
            return (c.movedim(axis + 2, -1) @ self._matrices[axis].T).movedim(-1, axis + 2)
        return cosine_series(torch.cat([c, torch.zeros_like(c.narrow(axis + 2, 0, 1))], axis + 2), axis + 2, centred=True)


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
