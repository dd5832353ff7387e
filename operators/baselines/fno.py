"""The Fourier neural operator (Li et al., ICLR 2021, arXiv 2010.08895), on grids of one, two or three dimensions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .fourier import SpectralConvolution


class Pointwise(nn.Conv1d):
    """The same affine map of the channels at every point, ``(batch, in_channels, *points) -> (batch, out_channels, *points)``."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(2)).unflatten(2, input.shape[2:])


def with_coordinates(u: Tensor) -> Tensor:
    """The field with the coordinates of its points, from 0 to 1 along each axis, as further channels."""
    axes = [torch.linspace(0, 1, n, dtype=u.dtype, device=u.device) for n in u.shape[2:]]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.cat([u, points.expand(u.shape[0], *points.shape)], dim=1)


class FNO(nn.Module):
    """h ← σ(K h + W h) with K a Fourier multiplier on few modes and W pointwise, ``(batch, channel, x[, y[, z]])`` to the same.

    Good values: 12 modes along each axis, width 32, 4 layers, as published for Darcy's equation; ``padding`` 9 where the solution is not
    periodic.

    Args:
        in_channels, out_channels: of the fields.
        modes: wave numbers kept along each axis; there are as many axes as modes.
        width: channels of the hidden fields.
        layers: Fourier layers; all but the last end with σ = GELU.
        projection: width of the pointwise network at the end.
        coordinates: give the network the points' coordinates, as in the paper.
        padding: zeros appended along each axis before the layers and cut off after them, so that opposite sides do not touch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: Sequence[int] = (12, 12),
        width: int = 32,
        layers: int = 4,
        projection: int = 128,
        coordinates: bool = True,
        padding: int = 0,
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.coordinates, self.padding = coordinates, padding
        self.lift = Pointwise(in_channels + (len(modes) if coordinates else 0), width)
        self.convolutions = nn.ModuleList(SpectralConvolution(width, width, modes) for _ in range(layers))
        self.pointwise = nn.ModuleList(Pointwise(width, width) for _ in range(layers))
        self.project = nn.Sequential(Pointwise(width, projection), nn.GELU(), Pointwise(projection, out_channels))

    def forward(self, u: Tensor) -> Tensor:
        h = self.lift(with_coordinates(u) if self.coordinates else u)
        if self.padding:
            h = nn.functional.pad(h, (0, self.padding) * (h.ndim - 2))
        first, last = self.convolutions[0], len(self.convolutions) - 1
        assert isinstance(first, SpectralConvolution)
        axes = first.axes(h)
        for i, (K, W) in enumerate(zip(self.convolutions, self.pointwise, strict=True)):
            h = K(h, axes) + W(h)
            if i < last:
                h = nn.functional.gelu(h)
        for axis, n in enumerate(u.shape[2:], start=2):
            h = h.narrow(axis, 0, n)
        return self.project(h)
