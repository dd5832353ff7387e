"""Layers σ(Wu + B) with cycles as W and functions as B, on the nodes of a grid or a mesh."""

from typing import cast

import torch
from torch import Tensor, nn

from .architecture import Architecture
from .closure import Closure
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
        self.values = nn.Parameter(0.5 * torch.randn(1, channels).repeat(functions, 1))

    def forward(self, levels: Levels) -> Tensor:
        return levels.bias.on_nodes(self.values)[:, None]


class Layer(nn.Module):
    """v ↦ σ(L v + V W v + B), ``(nodes, batch, in_channels) -> (nodes, batch, channels)``.

    W v is the cycle of Σ_b K_b (v V_b) + M B', with K_b the source's stencils, V and V_b mixings of channels, and B' and B bias functions.
    σ leaves a share of the channels alone, on which layers can add up corrections as an iterative solver does.
    """

    def __init__(self, in_channels: int, architecture: Architecture, dim: int, periodic_axes: int):
        super().__init__()
        self.architecture = architecture
        inner, outer = architecture.cycle_channels, architecture.channels
        sources = len(architecture.source)
        self.source = nn.Parameter(torch.randn(in_channels, sources * inner) / in_channels**0.5)
        self.mix = nn.Parameter(torch.randn(in_channels + inner, outer) / (in_channels + inner) ** 0.5)
        self.cycle = Cycle(architecture)
        self.inner_bias = Bias(inner, architecture, dim, periodic_axes)
        self.outer_bias = Bias(outer, architecture, dim, periodic_axes)
        self.linear_channels = round(architecture.linear_share * outer)

    def forward(self, v: Tensor, levels: Levels, coefficient: list[SampleMatrices] | None) -> Tensor:
        z = self.cycle(self.functional(v, levels, coefficient), levels, coefficient)
        v = torch.cat([v, z], dim=-1) @ self.mix + self.outer_bias(levels)
        linear = self.linear_channels
        return torch.cat([v[..., :linear], nn.functional.gelu(v[..., linear:])], dim=-1)

    def functional(self, v: Tensor, levels: Levels, coefficient: list[SampleMatrices] | None) -> Tensor:
        """The right-hand side of the cycle."""
        f = None
        for name, g in zip(self.architecture.source, (v @ self.source).chunk(len(self.architecture.source), -1), strict=True):
            if name == "coefficient":
                assert coefficient is not None
                part = coefficient[0].on_nodes(g)
            else:
                part = levels[0].stencil(name).on_nodes(g + self.inner_bias(levels) if name == "mass" else g)
            f = part if f is None else f + part
        assert f is not None
        return f


class Network(nn.Module):
    """The layers and a bias-free mixing to the output channels: ``(nodes, batch, in_channels) -> (nodes, batch, out_channels)``."""

    def __init__(self, in_channels: int, out_channels: int, architecture: Architecture, dim: int, periodic_axes: int = 0):
        super().__init__()
        widths = [in_channels] + [architecture.channels] * (architecture.layers - 1)
        self.layers = nn.ModuleList(Layer(width, architecture, dim, periodic_axes) for width in widths)
        self.closure = Closure(in_channels, architecture.closure, dim) if architecture.closure else None
        self.head = nn.Parameter(torch.randn(architecture.channels, out_channels) / architecture.channels**0.5)

    def forward(self, v: Tensor, levels: Levels, a: Tensor | None = None) -> Tensor:
        """``a`` is the coefficient ``(nodes, batch)``, for architectures that have one."""
        factors = None if self.closure is None else self.closure(v, levels.cell_features)
        coefficient = None if levels.coefficient is None else levels.coefficient(cast(Tensor, a), factors)
        for layer in self.layers:
            v = layer(v, levels, coefficient)
        return v @ self.head
