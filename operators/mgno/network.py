"""Layers σ(Wu + B) with cycles as W and functions as B, on the nodes of a grid or a mesh."""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from .architecture import Architecture
from .closure import Closure
from .cycle import Cycle, SplitCycle
from .levels import Levels
from .mapping import pulled_back
from .sample_matrices import SampleMatrices
from .transport import transported


class Bias(nn.Module):
    """Learned functions, multilinear on a box of some cells along each axis: the same on every grid and mesh of the box.

    ``forward(levels) -> (nodes, 1, channels)``.
    """

    def __init__(self, channels: int, architecture: Architecture, dim: int, periodic_axes: int):
        super().__init__()
        cells = architecture.bias_cells
        functions = (cells + 1) ** (dim - periodic_axes) * cells**periodic_axes if cells else 1
        self.values = nn.Parameter(0.5 * torch.randn(1, channels).repeat(functions, 1))

    def forward(self, levels: Levels) -> Tensor:
        return levels.bias.on_nodes(self.values)[:, None]


@dataclass(frozen=True)
class Known:
    """What all layers are told of a batch: the levels; the matrices of each of the samples' own operators on all levels, if there are any;
    velocities on all levels; and the unit of every sample's iterates, ``(batch, 1)``."""

    levels: Levels
    operators: list[list[SampleMatrices]]
    velocities: list[Tensor] | None
    unit: Tensor | None = None


class Layer(nn.Module):
    """(v, u) ↦ (σ(L v + V u' + B), u') with iterates u' = W(f, u), a cycle for f = Σ_b K_b (v F_b) + M B' that starts from u.

    v are features ``(nodes, batch, in_features)``, u iterates ``(nodes, batch, iterates)`` or None for zero; K_b are the source's stencils,
    M is the mass matrix (and that of the boundary, where it is a source), B and B' are bias functions, and L, V, F_b mix channels. The map
    before σ is linear and bounded in (v, u); with convection one term is not, the source (c + v C)·∇(v F) for the sample's velocity c.
    """

    def __init__(self, in_features: int, architecture: Architecture, dim: int, feeds: bool = True):
        super().__init__()
        self.architecture = architecture
        u, v = architecture.iterates, architecture.features
        width = (in_features + u) ** 0.5
        self.source = nn.Parameter(torch.randn(in_features, len(architecture.source) * u) / in_features**0.5)
        self.C = nn.Parameter(torch.zeros(in_features, dim)) if architecture.convection else None
        self.cycle = SplitCycle(architecture) if len(architecture.peclet) > 1 else Cycle(architecture)
        # The last layer's features are not asked for.
        self.L = nn.Parameter(torch.randn(in_features, v) / width) if feeds else None
        self.V = nn.Parameter(torch.randn(u, v) / width) if feeds else None

    def forward(self, v: Tensor, u: Tensor | None, known: Known, biases: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inner, outer = biases
        operators = known.operators if isinstance(self.cycle, SplitCycle) else next(iter(known.operators), None)
        new = self.cycle(self.functional(v, inner, known), known.levels, operators, u, known.velocities)
        if self.L is None or self.V is None:
            return v, new
        # A pocket of small coefficient makes iterates far larger than any of training; features grow as their logarithm.
        seen = new.asinh() if self.architecture.in_units else new
        v = torch.addmm((v @ self.L).flatten(0, 1), seen.flatten(0, 1), self.V).view(*v.shape[:2], -1)
        return nn.functional.gelu(v + outer), new

    def functional(self, v: Tensor, inner: Tensor, known: Known) -> Tensor:
        """The right-hand side of the cycle."""
        f, finest = None, known.levels[0]
        for name, g in zip(self.architecture.source, (v @ self.source).chunk(len(self.architecture.source), -1), strict=True):
            if name == "coefficient":
                part = known.operators[0][0].on_nodes(g)
            elif name == "transport":
                c = cast(list[Tensor], known.velocities)[0]
                part = transported(finest.derivatives(), c if self.C is None else c + v @ self.C, g)
            else:
                part = finest.stencil(name).on_nodes(g + inner if name in ("mass", "boundary") else g)
            f = part if f is None else f + part
        return cast(Tensor, f) if known.unit is None else cast(Tensor, f) / known.unit


class Network(nn.Module):
    """The layers, and a bias-free mixing of the last iterates to the output channels.

    ``(nodes, batch, in_channels) -> (nodes, batch, out_channels)``. There is no lifting: the inputs are the first features.
    """

    def __init__(self, in_channels: int, out_channels: int, architecture: Architecture, dim: int, periodic_axes: int = 0):
        super().__init__()
        widths = [in_channels] + [architecture.features] * (architecture.layers - 1)
        self.layers = nn.ModuleList(Layer(c, architecture, dim, feeds=i + 1 < len(widths)) for i, c in enumerate(widths))
        self.sizes = [architecture.iterates, architecture.features] * len(widths)
        self.bias = Bias(sum(self.sizes[:-1]), architecture, dim, periodic_axes)
        one = replace(architecture, iterates=1, mixing="diagonal", peclet=architecture.peclet[:1])
        self.unit = Cycle(one) if architecture.in_units else None
        self.normalized, self.peclet = architecture.normalized, architecture.peclet
        self.closure = Closure(in_channels, architecture.closure, dim) if architecture.closure else None
        # With these the phase errors of bilinear elements on a level and on the finest are equal, (kh)²/12.
        shares = torch.tensor([(1 - 4.0**-l) / 2 for l in range(architecture.levels)])
        self.lumping = nn.Parameter(shares) if architecture.reaction else None
        self.head = nn.Parameter(torch.randn(architecture.iterates, out_channels) / architecture.iterates**0.5)

    def forward(
        self,
        v: Tensor,
        levels: Levels,
        a: Tensor | None = None,
        b: Tensor | None = None,
        x: Tensor | None = None,
        velocity: Tensor | None = None,
        speed: Tensor | None = None,
    ) -> Tensor:
        """For architectures that have them, ``a`` and ``b`` are the coefficients of −∇·(a∇) + b, ``(nodes, batch)``, ``x`` the points
        that the nodes are mapped to, and ``velocity`` is of their transport, ``(nodes, batch, dim)``, in units of ``speed``."""
        factors = None if self.closure is None else self.closure(v, levels.cell_features)
        operators, size, growth = [], None, None
        if levels.jacobians is not None:
            factors, growth = pulled_back(levels.jacobians(x), factors)
        if levels.coefficient is not None:
            a = cast(Tensor, a)
            if self.normalized:
                size = a.log().mean(0).exp()
                a, b = a / size, None if b is None else b / size
            if self.peclet:
                c = cast(Tensor, velocity) * cast(Tensor, speed)
                c = c if size is None else c / size[:, None]
                operators = [levels.coefficient(a, factors, c=number * c) for number in self.peclet]
            else:
                operators = [levels.coefficient(a, factors, b, self._lumping(len(levels)), growth)]
        biases = [*self.bias(levels).split(self.sizes[:-1], dim=-1), v]
        velocities = None if velocity is None else levels.velocities(velocity)
        unit = None if self.unit is None else self._unit(self.unit, levels, operators[0], velocities)
        known = Known(levels, operators, velocities, unit)
        u = None
        for i, layer in enumerate(self.layers):
            v, u = layer(v, u, known, (biases[2 * i], biases[2 * i + 1]))
        u = cast(Tensor, u) @ self.head
        if size is not None:
            u = u / size[:, None]
        return u if unit is None else u * unit

    def _unit(self, cycle: Cycle, levels: Levels, operators: list[SampleMatrices], velocities: list[Tensor] | None) -> Tensor:
        """The root mean square of a cycle's solution for a constant load, ``(batch, 1)``."""
        batch = operators[0].inverse_diagonal.shape[1]
        load = levels[0].stencil("mass").on_nodes(torch.ones_like(levels[0].free).expand(-1, batch, -1).contiguous())
        return cycle(load, levels, operators, None, velocities).square().mean(0).sqrt()

    def _lumping(self, num_levels: int) -> Tensor | None:
        """The share of lumping for each level; levels beyond those of the weights are as the finest of them."""
        if self.lumping is None:
            return None
        known = len(self.lumping)
        return torch.stack([self.lumping[max(0, l + known - num_levels)] for l in range(num_levels)])
