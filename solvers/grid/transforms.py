"""Cosine series, forward and back, and sine series on uniform grids, along one axis by one real FFT of twice the length.

A grid of N cells has N + 1 nodes, boundary included, or N centres. Cosines have zero slope at the boundary (Neumann), sines are zero
there (Dirichlet). All functions are differentiable and keep the dtype.
"""

from math import pi

import torch
from torch import Tensor


def cosine_series(c: Tensor, axis: int, centred: bool = False) -> Tensor:
    """u_i = Σ_{k=0}^{N} c_k cos(π k x_i), with x_i = i/N at the N + 1 nodes or (i + ½)/N at the N centres.

    ``c`` has N + 1 entries along the axis.
    """
    c = c.movedim(axis, -1)
    N = c.shape[-1] - 1
    weights = torch.full((N + 1,), float(N), dtype=c.dtype, device=c.device)
    weights[0] = weights[N] = 2 * N  # these two have no conjugate partner in the spectrum
    spectrum = (c * weights).to(_complex(c))
    if centred:
        spectrum = spectrum * _half_cell(N, c)
    return torch.fft.irfft(spectrum, n=2 * N)[..., : N if centred else N + 1].movedim(-1, axis)


def sine_series(c: Tensor, axis: int, centred: bool = False) -> Tensor:
    """u_i = Σ_{k=0}^{N} c_k sin(π k x_i) at the same points; c_0 does not count, nor does c_N at the nodes."""
    c = c.movedim(axis, -1)
    N = c.shape[-1] - 1
    weights = torch.full((N + 1,), float(N), dtype=c.dtype, device=c.device)
    weights[0], weights[N] = 0, 2 * N
    spectrum = (c * weights) * -1j
    if centred:
        spectrum = spectrum * _half_cell(N, c)
    u = torch.fft.irfft(spectrum, n=2 * N)[..., : N if centred else N + 1]
    if not centred:  # exactly zero, not to rounding
        u = torch.nn.functional.pad(u[..., 1:N], (1, 1))
    return u.movedim(-1, axis)


def cosine_coefficients(u: Tensor, axis: int, centred: bool = False) -> Tensor:
    """The N + 1 coefficients c of :func:`cosine_series` with the given values; from N centres, c_N is zero."""
    u = u.movedim(axis, -1)
    N = u.shape[-1] if centred else u.shape[-1] - 1
    mirrored = torch.cat([u, u.flip(-1) if centred else u[..., 1:N].flip(-1)], -1)
    spectrum = torch.fft.rfft(mirrored)
    if centred:
        spectrum = spectrum * _half_cell(N, u).conj()
    weights = torch.full((N + 1,), 1 / N, dtype=u.dtype, device=u.device)
    weights[0] = 1 / (2 * N)
    weights[N] = 0 if centred else 1 / (2 * N)
    return (spectrum.real * weights).movedim(-1, axis)


def _half_cell(N: int, like: Tensor) -> Tensor:
    """e^{iπk/2N}: the spectrum's phase when the points move by half a cell."""
    k = torch.arange(N + 1, dtype=like.dtype, device=like.device)
    return torch.polar(torch.ones_like(k), k * (pi / (2 * N)))


def _complex(real: Tensor) -> torch.dtype:
    return torch.complex128 if real.dtype == torch.float64 else torch.complex64
