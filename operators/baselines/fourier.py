"""Convolutions by Fourier multipliers on their lowest modes, in real arithmetic: they compile, export and run in any precision.

Only the modes that are kept are computed, by products with small matrices of cosines and sines, which is what a truncated discrete
Fourier transform is. For the few modes of neural operators this costs about as much as a fast transform, or less.
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
    # Half precision is for the products, not for angles.
    angle = (jk % points).to(torch.promote_types(like.dtype, torch.float32)) * (2 * math.pi / points)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def contract(u: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """A matrix ``(n, k)`` applied along one axis of length n, without transposing the field."""
    if axis == u.ndim - 1:
        return u @ matrix
    shape = (*u.shape[:axis], matrix.shape[1], *u.shape[axis + 1 :])
    return (matrix.T @ u.flatten(axis + 1).flatten(0, axis - 1)).reshape(shape)


def transform(u: Tensor, axes: Sequence[Waves]) -> Tensor:
    """The kept Fourier coefficients of ``(batch, channel, x, y, …)``, real parts and then imaginary ones along the last axis."""
    cos, sin = axes[-1]
    h = u @ torch.cat([cos, -sin], dim=1)
    for axis, (cos, sin) in enumerate(axes[:-1], start=2):
        re, im = contract(h, sin, axis).chunk(2, dim=-1)
        h = contract(h, cos, axis) + torch.cat([im, -re], dim=-1)
    return h


def inverse(h: Tensor, axes: Sequence[Waves]) -> Tensor:
    """The real field of these coefficients, whose last axis holds the nonnegative half of its wave numbers."""
    for axis, (cos, sin) in enumerate(axes[:-1], start=2):
        re, im = contract(h, sin.T, axis).chunk(2, dim=-1)
        h = (contract(h, cos.T, axis) + torch.cat([-im, re], dim=-1)) / len(cos)
    return h @ synthesis(axes[-1])


def synthesis(wave: Waves) -> Tensor:
    """Matrix ``(2 modes, points)`` from the real and imaginary parts of the nonnegative half of the wave numbers to values."""
    cos, sin = wave
    points, modes = cos.shape
    doubled = torch.full((modes, 1), 2 / points, dtype=cos.dtype, device=cos.device)
    doubled[0] /= 2
    if 2 * (modes - 1) == points:
        doubled[-1] /= 2
    return torch.cat([doubled * cos.T, -doubled * sin.T])


def multiply(h: Tensor, weight: Tensor, equation: str) -> Tensor:
    """Complex numbers times complex weights ``(2, …)``, the real and imaginary parts of h side by side along the last axis."""
    re, im = h.chunk(2, dim=-1)
    R, I = weight.unbind()
    real = torch.einsum(equation, re, R) - torch.einsum(equation, im, I)
    imaginary = torch.einsum(equation, re, I) + torch.einsum(equation, im, R)
    return torch.cat([real, imaginary], dim=-1)


class SpectralConvolution(nn.Module):
    """F⁻¹(R · F u), ``(batch, in_channels, x, y, …) -> (batch, out_channels, x, y, …)`` (Li et al., ICLR 2021, Section 4).

    R is a complex matrix ``(in_channels, out_channels)`` for each of the lowest wave numbers, ``modes[a]`` of either sign along axis a;
    along the last axis the nonnegative ones suffice. On a grid too coarse for them the highest are left out, so that the weights belong
    to no resolution.

    Raises:
        InputError: an axis without modes.
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
        h = transform(u, axes)
        weight = self._weights((*h.shape[2:-1], h.shape[-1] // 2))
        return inverse(multiply(h, weight, "bi...,io...->bo..."), axes)

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
