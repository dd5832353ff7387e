"""Convolutions by Fourier multipliers on their lowest modes, in real arithmetic: they compile, export and run in any precision.

Only the modes that are kept are computed, by products with small matrices of cosines and sines, which is what a truncated discrete
Fourier transform is. For the few modes of neural operators this costs no more than a fast transform.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import InputError

#: Cosines and sines of one axis, each ``(points, modes)``.
Waves = tuple[Tensor, Tensor]


def frequencies(modes: int, half: bool, device: torch.device) -> Tensor:
    """Wave numbers 0 … modes-1, and -modes … -1 after them unless the other half follows from symmetry."""
    positive = torch.arange(modes, device=device)
    return positive if half else torch.cat([positive, positive - modes])


def waves(points: int, modes: int, half: bool, like: Tensor) -> Waves:
    """cos and sin of 2π j k / points for all points j and kept wave numbers k."""
    jk = torch.arange(points, device=like.device)[:, None] * frequencies(modes, half, like.device)
    angle = (jk % points).to(like.dtype) * (2 * math.pi / points)
    return angle.cos(), angle.sin()


def transform(u: Tensor, axes: Sequence[Waves]) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of the kept Fourier coefficients, ``(batch, channel, x, y, …) -> (batch, channel, k_x, k_y, …)``."""
    (cos, sin), *others = axes
    # A contracted axis comes back as the last one, so that after all axes their order is restored.
    re, im = _contract(u, cos), -_contract(u, sin)
    for cos, sin in others:
        re, im = _contract(re, cos) + _contract(im, sin), _contract(im, cos) - _contract(re, sin)
    return re, im


def inverse(re: Tensor, im: Tensor, axes: Sequence[Waves]) -> Tensor:
    """The real field of these coefficients, whose last axis holds the nonnegative half of its wave numbers."""
    *others, (cos, sin) = axes
    for c, s in others:
        n = c.shape[0]
        re, im = (_contract(re, c.T) - _contract(im, s.T)) / n, (_contract(im, c.T) + _contract(re, s.T)) / n
    points, modes = cos.shape
    doubled = torch.full((modes, 1), 2.0, dtype=cos.dtype, device=cos.device)
    doubled[0] = 1
    if 2 * (modes - 1) == points:
        doubled[-1] = 1
    return (_contract(re, doubled * cos.T) - _contract(im, doubled * sin.T)) / points


def _contract(u: Tensor, matrix: Tensor) -> Tensor:
    return u.movedim(2, -1) @ matrix


class SpectralConvolution(nn.Module):
    """F⁻¹(R · F u), ``(batch, in_channels, x, y, …) -> (batch, out_channels, x, y, …)`` (Li et al., ICLR 2021, Section 4).

    R is a complex matrix ``(in_channels, out_channels)`` for each of the lowest wave numbers, ``modes[a]`` of either sign along axis a;
    along the last axis the nonnegative ones suffice. On a grid too coarse for them the highest are left out, so that the weights belong
    to no resolution.
    """

    def __init__(self, in_channels: int, out_channels: int, modes: Sequence[int]):
        super().__init__()
        if not modes or min(modes) < 1:
            raise InputError(f"A spectral convolution needs at least one mode along each axis, not {tuple(modes)}.")
        self.modes = tuple(modes)
        kept = [2 * m for m in self.modes[:-1]] + [self.modes[-1]]
        self.weight = nn.Parameter(torch.rand(2, in_channels, out_channels, *kept) / (in_channels * out_channels))

    def axes(self, u: Tensor) -> list[Waves]:
        """The cosines and sines for a field's resolution, which layers of the same modes share."""
        last = len(self.modes) - 1
        return [
            waves(n, _resolved(n, m, axis == last), axis == last, u)
            for axis, (n, m) in enumerate(zip(u.shape[2:], self.modes, strict=True))
        ]

    def forward(self, u: Tensor, axes: Sequence[Waves] | None = None) -> Tensor:
        axes = axes or self.axes(u)
        re, im = transform(u, axes)
        R, I = self._weights(re.shape[2:]).unbind()
        multiply = "bi...,io...->bo..."
        real = torch.einsum(multiply, re, R) - torch.einsum(multiply, im, I)
        imaginary = torch.einsum(multiply, re, I) + torch.einsum(multiply, im, R)
        return inverse(real, imaginary, axes)

    def _weights(self, kept: Sequence[int]) -> Tensor:
        """The weights of the wave numbers that a grid resolves."""
        weight = self.weight
        for axis, (n, m) in enumerate(zip(kept, self.modes, strict=True), start=3):
            if axis == weight.ndim - 1:
                weight = weight.narrow(axis, 0, n)
            elif n < 2 * m:
                weight = torch.cat([weight.narrow(axis, 0, n // 2), weight.narrow(axis, 2 * m - n // 2, n // 2)], dim=axis)
        return weight


def _resolved(points: int, modes: int, half: bool) -> int:
    """How many of the modes a grid of so many points can tell apart."""
    return min(modes, points // 2 + 1 if half else points // 2)
