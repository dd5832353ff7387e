"""DeepONet (Lu et al., Nature Machine Intelligence 2021, arXiv 1910.03193): learned coefficients times learned basis functions."""

from itertools import pairwise
from math import pi

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import Space
from ...fem.uniform_grid import Grid
from .points import network_points


def perceptron(sizes: list[int]) -> nn.Sequential:
    """Linear layers of these sizes with GELU between them."""
    parts: list[nn.Module] = []
    for a, b in pairwise(sizes):
        parts += [nn.Linear(a, b), nn.GELU()]
    return nn.Sequential(*parts[:-1])


def waves_of(space: Space | Grid, harmonics: int) -> Tensor:
    """Cosines and sines of the lowest wave numbers along each axis, at all points of a periodic grid: ``(n, 2 dim harmonics)``."""
    if not isinstance(space, Grid) or not all(space.periodic):
        raise InputError("Harmonics are functions on a periodic grid. Set harmonics=0 to give the trunk network coordinates.")
    x = space.coordinates(torch.float64).flatten(1).T / torch.tensor(space.lengths, dtype=torch.float64)
    angles = (2 * pi * x[..., None] * torch.arange(1, harmonics + 1)).flatten(1)
    return torch.cat([angles.cos(), angles.sin()], 1).float()


class DeepONet(nn.Module):
    """G(f)(x) = Σ_k b_k(f) t_k(x) + b₀: the branch network sees f at all points, the trunk network one point x.

    ``(batch, in_channels, n) -> (batch, out_channels, n)`` on the n nodes of a space, ``(batch, channel, x, y)`` on a grid. With
    several output channels each has a basis of its own (Lu et al., CMAME 2022, Section 3.1.6). Good values: 128 basis functions, width
    128, depth 3.

    Args:
        space: where fields are known and predicted; its points are the branch's sensors and the trunk's arguments.
        in_channels, out_channels: of the fields.
        basis: terms of the sum, for each output channel.
        width: of the hidden layers of both networks.
        depth: linear layers of each network.
        harmonics: on periodic grids, give the trunk the cosines and sines of so many wave numbers along each axis in place of the
            coordinates, so that predictions are periodic (Lu et al., CMAME 2022); 0 for the coordinates.

    Raises:
        InputError: harmonics on a mesh or on a grid that is not periodic.
    """

    points: Tensor

    def __init__(
        self,
        space: Space | Grid,
        in_channels: int,
        out_channels: int = 1,
        basis: int = 128,
        width: int = 128,
        depth: int = 3,
        harmonics: int = 0,
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        points = waves_of(space, harmonics) if harmonics else network_points(space)
        self.register_buffer("points", points, persistent=False)
        n, dim = self.points.shape
        hidden = [width] * (depth - 1)
        self.branch = perceptron([in_channels * n, *hidden, out_channels * basis])
        self.trunk = nn.Sequential(perceptron([dim, *hidden, out_channels * basis]), nn.GELU())
        self.bias = nn.Parameter(torch.zeros(out_channels, 1))

    def forward(self, channels: Tensor) -> Tensor:
        b = self.branch(channels.flatten(1)).unflatten(1, (self.out_channels, -1))
        t = self.trunk(self.points.to(channels.dtype)).unflatten(1, (self.out_channels, -1))
        return (torch.einsum("bck,nck->bcn", b, t) + self.bias).unflatten(2, channels.shape[2:])
