"""Transolver (Wu et al., ICML 2024, arXiv 2402.02366): attention between slices of the domain, which are learned from the fields."""

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import Space
from ...fem.uniform_grid import Grid
from .points import network_points


class PhysicsAttention(nn.Module):
    """Points are softly assigned to slices, slices attend to one another, and points take their slices' values back (Section 3.2).

    The cost grows linearly with the points, ``(batch, n, width) -> (batch, n, width)``.
    """

    def __init__(self, width: int, heads: int, slices: int):
        super().__init__()
        size = width // heads
        self.heads = heads
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), 0.5))
        self.states, self.values = nn.Linear(width, width), nn.Linear(width, width)
        self.assign = nn.Linear(size, slices)
        self.query, self.key, self.value = (nn.Linear(size, size, bias=False) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        states, values = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.states, self.values))
        weights = (self.assign(states) / self.temperature).softmax(-1)  # (batch, heads, n, slices)
        tokens = weights.transpose(2, 3) @ values / (weights.sum(2).unsqueeze(-1) + 1e-5)
        tokens = nn.functional.scaled_dot_product_attention(self.query(tokens), self.key(tokens), self.value(tokens))
        return self.out((weights @ tokens).transpose(1, 2).flatten(2))


class TransolverBlock(nn.Module):
    """x ← x + Attention(LN x), x ← x + MLP(LN x)."""

    def __init__(self, width: int, heads: int, slices: int, ratio: int):
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = PhysicsAttention(width, heads, slices)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))


class Transolver(nn.Module):
    """A transformer on the points of a mesh or a grid, in the form the authors use on irregular meshes.

    ``(batch, in_channels, n) -> (batch, out_channels, n)`` on the n nodes of a space, ``(batch, channel, x, y)`` on a grid. Good
    values, those of the paper: width 128 or 256, 8 layers, 8 heads, 32 or 64 slices.

    Args:
        space: where fields are known and predicted.
        in_channels, out_channels: of the fields; the points' coordinates are added to the inputs.
        width: features of a point.
        layers, heads, slices: of the attention.
        ratio: hidden width of each block's pointwise network, over ``width``.

    Raises:
        InputError: the width is no multiple of the number of heads.
    """

    points: Tensor

    def __init__(
        self,
        space: Space | Grid,
        in_channels: int,
        out_channels: int = 1,
        width: int = 128,
        layers: int = 8,
        heads: int = 8,
        slices: int = 64,
        ratio: int = 1,
    ):
        super().__init__()
        if width % heads:
            raise InputError(f"A width of {width} cannot be shared by {heads} heads; choose a multiple.")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.register_buffer("points", network_points(space), persistent=False)
        self.lift = nn.Sequential(
            nn.Linear(in_channels + self.points.shape[1], 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.blocks = nn.ModuleList(TransolverBlock(width, heads, slices, ratio) for _ in range(layers))
        self.project = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out_channels))
        self.apply(_initialise)
        for block in self.blocks:
            assert isinstance(block, TransolverBlock)
            nn.init.orthogonal_(block.attention.assign.weight)
        self.placeholder = nn.Parameter(torch.rand(width) / width)

    def forward(self, channels: Tensor) -> Tensor:
        h = channels.flatten(2).transpose(1, 2)
        x = self.points.to(h.dtype).expand(h.shape[0], -1, -1)
        h = self.lift(torch.cat([x, h], dim=-1)) + self.placeholder
        for block in self.blocks:
            h = block(h)
        return self.project(h).transpose(1, 2).unflatten(2, channels.shape[2:])


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
