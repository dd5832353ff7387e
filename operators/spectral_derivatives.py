"""Derivatives on a periodic box, as factors of real Fourier series."""

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor


def spectral_derivatives(u: Tensor, lengths: Sequence[float]) -> tuple[Tensor, ...]:
    """∂_x, ∂_y[, ∂_z] and −Δ for ``torch.fft.rfftn`` of fields ``(..., x, y[, z])`` along their last axes, with which they broadcast.

    −Δ has its smallest positive value in the place of zero, so that one can divide by it.

    Args:
        u: a field whose points, dtype and device these have.
        lengths: of the box along each axis.
    """
    dim = len(lengths)
    derivatives, squares = [], []
    for axis, (points, length) in enumerate(zip(u.shape[-dim:], lengths, strict=True)):
        numbers = torch.fft.rfftfreq if axis == dim - 1 else torch.fft.fftfreq
        m = numbers(points, 1 / points, dtype=u.dtype, device=u.device).reshape(-1, *[1] * (dim - 1 - axis))
        k = 2 * pi / length
        # The Nyquist waves have no derivative.
        derivatives.append(1j * k * torch.where(2 * m.abs() < points, m, 0.0))
        squares.append((k * m) ** 2)
    return *derivatives, sum(squares[1:], squares[0]).clamp_min((2 * pi / max(lengths)) ** 2)
