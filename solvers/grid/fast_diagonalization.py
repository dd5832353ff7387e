"""Functions of a separable operator on a box grid, A = Σ_axes (second differences along the axis), in its eigenvectors.

Lynch, Rice and Thomas, Numer. Math. 6 (1964). The eigenvectors are complex exponentials along a periodic axis, applied by FFT, cosines
along a long axis between walls without slope, by FFT as well, and a dense orthogonal matrix along all others, whose product is as fast up
to some 500 points: sines between walls where the function vanishes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn

from .transforms import cosine_coefficients, cosine_series

#: Cells up to which a dense matrix is as fast as a cosine transform.
DENSE = 512


@dataclass(frozen=True)
class PeriodicAxis:
    """−d²/dx² on n points at distance h of a circle."""

    n: int
    h: float


@dataclass(frozen=True)
class NeumannAxis:
    """−d²/dx² at the centres of n cells of size h between two walls without slope."""

    n: int
    h: float


@dataclass(frozen=True)
class DirichletAxis:
    """−d²/dx² at n points at distance h between two walls, a distance h away, where the function vanishes."""

    n: int
    h: float


class FastDiagonalization(nn.Module):
    """f(A) r for fields ``(..., x, y[, z])``.

    Args:
        axes: the operator along each axis; symmetric positive semi-definite matrices where it has no name.
    """

    eigenvalues: Tensor

    def __init__(
        self,
        axes: Sequence[PeriodicAxis | NeumannAxis | DirichletAxis | Tensor],
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ):
        super().__init__()
        dim = len(axes)
        self._fourier = [i for i, axis in enumerate(axes) if isinstance(axis, PeriodicAxis)]
        self._sizes = [len(axis) if isinstance(axis, Tensor) else axis.n for axis in axes]
        self._cosine = [i for i, axis in enumerate(axes) if isinstance(axis, NeumannAxis)]
        self._dense = [i for i, axis in enumerate(axes) if isinstance(axis, DirichletAxis | Tensor)]
        eigenvalues = torch.zeros((1,) * dim, dtype=torch.float64)
        for i, axis in enumerate(axes):
            if isinstance(axis, DirichletAxis | Tensor):
                spectrum, Q = torch.linalg.eigh(axis) if isinstance(axis, Tensor) else _sines(axis)
                self.register_buffer(f"eigenvectors_{i}", Q.to(device, dtype), persistent=False)
            else:
                k = torch.arange(axis.n, dtype=torch.float64)
                spectrum = (2 - 2 * torch.cos((2 if isinstance(axis, PeriodicAxis) else 1) * pi * k / axis.n)) / axis.h**2
                if self._fourier and i == self._fourier[-1]:
                    spectrum = spectrum[: axis.n // 2 + 1]  # the other half is conjugate
            eigenvalues = eigenvalues + spectrum.reshape([-1 if j == i else 1 for j in range(dim)])
        #: Of A, made in float64, in the shape of the coefficients.
        self.register_buffer("eigenvalues", eigenvalues.to(device), persistent=False)

    def forward(self, r: Tensor, values: Tensor) -> Tensor:
        """Q diag(values) Qᵀ r; ``values`` are those of f at the eigenvalues, in the precision of r."""
        dim = len(self._sizes)
        for i in self._cosine:
            r = cosine_coefficients(r, i - dim, centred=True).narrow(i - dim, 0, self._sizes[i])
        matrices = {i: getattr(self, f"eigenvectors_{i}").to(r) for i in self._dense}
        for i, Q in matrices.items():
            r = _along(Q.T, r, i - dim)
        if self._fourier:
            axes = [i - dim for i in self._fourier]
            spectrum = torch.fft.rfftn(r, dim=axes)
            r = torch.fft.irfftn(spectrum * values, s=[self._sizes[i] for i in self._fourier], dim=axes)
        else:
            r = r * values
        for i, Q in matrices.items():
            r = _along(Q, r, i - dim)
        for i in self._cosine:
            r = cosine_series(torch.cat([r, torch.zeros_like(r.narrow(i - dim, 0, 1))], i - dim), i - dim, centred=True)
        return r

    def tabulated(self, f: Callable[[Tensor], Tensor], dtype: torch.dtype) -> Tensor:
        """f at the eigenvalues, for :meth:`__call__`."""
        return f(self.eigenvalues).to(dtype)


def _sines(axis: DirichletAxis) -> tuple[Tensor, Tensor]:
    """Eigenvalues and orthonormal eigenvectors, a symmetric matrix."""
    k, cells = torch.arange(1, axis.n + 1, dtype=torch.float64), axis.n + 1
    Q = (2 / cells) ** 0.5 * torch.sin(pi / cells * k[:, None] * k)
    return (2 - 2 * torch.cos(pi * k / cells)) / axis.h**2, Q


def _along(Q: Tensor, r: Tensor, axis: int) -> Tensor:
    """The product with a matrix along an axis counted from the end."""
    if axis == -1:
        return r @ Q.T
    if axis == -2:
        return Q @ r
    return (Q @ r.flatten(axis + 1)).view(*r.shape[:axis], len(Q), *r.shape[axis + 1 :])
