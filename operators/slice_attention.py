"""Attention between slices of the domain, Transolver's (Wu et al., ICML 2024, arXiv 2402.02366), with the integrals of a mesh."""

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space


class SliceAttention(nn.Module):
    """Nodes are assigned softly to slices, slices attend to each other, nodes read from their slices; ``(batch, nodes, channels)``.

    Slices are means weighted by the diagonal of the mass matrix, so that they stay what they are when a mesh is refined somewhere.
    """

    def __init__(self, channels: int, heads: int, slices: int):
        super().__init__()
        if channels % heads:
            raise InputError(f"{channels} channels cannot be shared by {heads} heads; choose a multiple.")
        self.heads = heads
        width = channels // heads
        self.values = nn.Linear(channels, channels)
        self.assign = nn.Linear(channels, heads * slices)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.join = nn.Linear(channels, channels)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        shares = self.assign(x).unflatten(-1, (self.heads, -1)).transpose(1, 2).softmax(-1)  # (batch, heads, nodes, slices)
        features = self.values(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        weighted = shares * weights
        slices = weighted.transpose(-1, -2) @ features / weighted.sum(-2).unsqueeze(-1)
        slices = nn.functional.scaled_dot_product_attention(self.query(slices), self.key(slices), self.value(slices))
        return self.join((shares @ slices).transpose(1, 2).flatten(2))


class SliceBlock(nn.Module):
    """x ← x + attention(norm x), x ← x + MLP(norm x)."""

    def __init__(self, channels: int, heads: int, slices: int):
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = SliceAttention(channels, heads, slices)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x), weights)
        return x + self.mlp(self.before_mlp(x))


class SliceAttentionProcessor(nn.Module):
    """Blocks of attention between physical slices, ``(batch, in_channels, nodes) -> (batch, out_channels, nodes)``.

    Global in every block, at a cost linear in the nodes. Nodes know where they are by their coordinates, by the size of the domain's
    bounding box. Good values: 64 to 128 channels, 4 to 8 blocks, 32 slices.

    Args:
        space: whose nodes the channels live on.
    """

    points: Tensor
    weights: Tensor

    def __init__(
        self,
        space: Space,
        in_channels: int,
        out_channels: int = 1,
        channels: int = 64,
        blocks: int = 4,
        heads: int = 4,
        slices: int = 32,
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        dtype = space.mass.val.dtype
        mass = space.mass.diagonal()[:: space.element.block_size]
        low, high = space.points.amin(0), space.points.amax(0)
        self.register_buffer("weights", (mass / mass.sum())[:, None].to(dtype), persistent=False)
        self.register_buffer("points", (2 * (space.points - low) / (high - low).max() - 1).to(dtype), persistent=False)
        self.lift = nn.Linear(in_channels + space.mesh.dim, channels)
        self.blocks = nn.ModuleList(SliceBlock(channels, heads, slices) for _ in range(blocks))
        self.project = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, out_channels))

    def forward(self, channels: Tensor) -> Tensor:
        x = channels.transpose(1, 2)
        x = self.lift(torch.cat([x, self.points.expand(x.shape[0], -1, -1)], -1))
        for block in self.blocks:
            x = block(x, self.weights)
        return self.project(x).transpose(1, 2)
