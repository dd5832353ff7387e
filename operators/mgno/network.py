"""Layers σ(Wu + B) with cycles as W and functions as B, on the nodes of a grid or a mesh."""

from typing import cast

import torch
from torch import Tensor, nn

from .architecture import Architecture
from .coefficient import SampleMatrices
from .cycle import Cycle
from .levels import Levels


class Bias(nn.Module):
    """Learned functions, multilinear on a box of ``cells`` cells along each axis: the same on every grid and mesh of the box.

    ``forward(levels) -> (nodes, 1, channels)``.
    """

    def __init__(self, channels: int, architecture: Architecture, dim: int, periodic_axes: int):
        super().__init__()
        cells = architecture.bias_cells
        functions = (cells + 1) ** (dim - periodic_axes) * cells**periodic_axes
        self.values = nn.Parameter(torch.zeros(functions, channels))

    def forward(self, levels: Levels) -> Tensor:
        return levels.bias.on_nodes(self.values)[:, None]


class Layer(nn.Module):
    """v ↦ σ(L v + W v + B), ``(nodes, batch, in_channels) -> (nodes, batch, channels)``.

    W v is the cycle of Σ_b K_b (v V_b) + M B', with K_b the source's stencils; B' and B are bias functions, L mixes channels. σ leaves
    a share of the channels alone, on which a layer can add up corrections as an iterative solver does.
    """

    def __init__(self, in_channels: int, architecture: Architecture, dim: int, periodic_axes: int):
        super().__init__()
        self.architecture = architecture
        C = architecture.channels
        parts = len(architecture.source) + 1
        self.mix = nn.Parameter(torch.randn(in_channels, parts * C) / in_channels**0.5)
        self.cycle = Cycle(architecture)
        self.bias = Bias(2 * C, architecture, dim, periodic_axes)
        nn.init.normal_(self.bias.values, std=0.5)
        self.linear_channels = round(architecture.linear_share * C)

    def forward(self, v: Tensor, levels: Levels, coefficient: list[SampleMatrices] | None) -> Tensor:
        C = self.architecture.channels
        skip, *sources = (v @ self.mix).split(C, dim=-1)
        inner, outer = self.bias(levels).split(C, dim=-1)
        f = None
        for name, g in zip(self.architecture.source, sources, strict=True):
            if name == "coefficient":
                assert coefficient is not None
                part = coefficient[0].on_nodes(g)
            else:
                part = levels[0].stencil(name).on_nodes(g + inner if name == "mass" else g)
            f = part if f is None else f + part
        assert f is not None
        v = self.cycle(f, levels, coefficient) + skip + outer
        linear = self.linear_channels
        return torch.cat([v[..., :linear], nn.functional.gelu(v[..., linear:])], dim=-1)


class Network(nn.Module):
    """The layers and a bias-free mixing to the output channels: ``(nodes, batch, in_channels) -> (nodes, batch, out_channels)``."""

    def __init__(self, in_channels: int, out_channels: int, architecture: Architecture, dim: int, periodic_axes: int = 0):
        super().__init__()
        widths = [in_channels] + [architecture.channels] * (architecture.layers - 1)
        self.layers = nn.ModuleList(Layer(width, architecture, dim, periodic_axes) for width in widths)
        self.head = nn.Parameter(torch.randn(architecture.channels, out_channels) / architecture.channels**0.5)

    def forward(self, v: Tensor, levels: Levels, a: Tensor | None = None) -> Tensor:
        """``a`` is the coefficient ``(nodes, batch)``, for architectures that have one."""
        coefficient = None if levels.coefficient is None else levels.coefficient(cast(Tensor, a))
        for layer in self.layers:
            v = layer(v, levels, coefficient)
        return v @ self.head
