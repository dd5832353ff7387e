"""Derivatives on a periodic rectangle, as factors of real Fourier series."""

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor


def spectral_derivatives(u: Tensor, lengths: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """∂_x, ∂_y and −Δ for ``torch.fft.rfft2`` of fields ``(..., x, y)``, which broadcast to ``(x, y // 2 + 1)``.

    −Δ has its smallest positive value in the place of zero, so that one can divide by it.

    Args:
        u: a field whose points, dtype and device these have.
        lengths: of the rectangle.
    """
    nx, ny = u.shape[-2:]
    mx = torch.fft.fftfreq(nx, 1 / nx, dtype=u.dtype, device=u.device)[:, None]
    my = torch.arange(ny // 2 + 1, dtype=u.dtype, device=u.device)
    x, y = (2 * pi / L for L in lengths)
    # The Nyquist waves have no derivative.
    dx, dy = 1j * x * torch.where(2 * mx.abs() < nx, mx, 0.0), 1j * y * torch.where(2 * my < ny, my, 0.0)
    return dx, dy, ((x * mx) ** 2 + (y * my) ** 2).clamp_min(min(x, y) ** 2)
