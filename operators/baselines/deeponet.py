"""DeepONet (Lu et al., Nature Machine Intelligence 2021, arXiv 1910.03193): learned coefficients times learned basis functions."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from ...fem import Space
from ...fem.uniform_grid import Grid
from .points import network_points


def perceptron(sizes: list[int]) -> nn.Sequential:
    """Linear layers of these sizes with GELU between them."""
    parts: list[nn.Module] = []
    for a, b in pairwise(sizes):
        parts += [nn.Linear(a, b), nn.GELU()]
    return nn.Sequential(*parts[:-1])


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
    """

    points: Tensor

    def __init__(
        self, space: Space | Grid, in_channels: int, out_channels: int = 1, basis: int = 128, width: int = 128, depth: int = 3
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.register_buffer("points", network_points(space), persistent=False)
        n, dim = self.points.shape
        hidden = [width] * (depth - 1)
        self.branch = perceptron([in_channels * n, *hidden, out_channels * basis])
        self.trunk = nn.Sequential(perceptron([dim, *hidden, out_channels * basis]), nn.GELU())
        self.bias = nn.Parameter(torch.zeros(out_channels, 1))

    def forward(self, channels: Tensor) -> Tensor:
        b = self.branch(channels.flatten(1)).unflatten(1, (self.out_channels, -1))
        t = self.trunk(self.points.to(channels.dtype)).unflatten(1, (self.out_channels, -1))
        return (torch.einsum("bck,nck->bcn", b, t) + self.bias).unflatten(2, channels.shape[2:])
