"""Architectures and cycles that tests of MgNO share."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from thalweg.fem.uniform_grid import Grid
from thalweg.operators.mgno import Architecture
from thalweg.operators.mgno.cycle import Cycle
from thalweg.operators.mgno.grid_levels import grid_levels
from thalweg.operators.mgno.levels import Levels

IO = {"inputs": {"a": 1}, "outputs": {"u": 1}}
SIDES = ("x0", "x1", "y0", "y1", "z0", "z1")
POISSON = Architecture(features=1, iterates=1, operator=("stiffness",), levels=3, coarsest=2)
DARCY = Architecture(
    features=4,
    iterates=2,
    layers=2,
    operator=("coefficient", "mass"),
    source=("mass", "coefficient"),
    coefficient="galerkin",
    levels=3,
    coarsest=2,
)


def smooth_coefficient(points: int, batch: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    x = torch.linspace(0, 1, points, dtype=dtype)
    X, Y = torch.meshgrid(x, x, indexing="ij")
    return torch.stack([torch.exp(torch.sin(3 * X + i) * torch.cos(2 * Y - i)) for i in range(batch)])[:, None]


def contraction(levels: Levels, cycle: Cycle, A: Callable, coefficient=None, mean_free: bool = False) -> float:
    """The factor by which a cycle reduces the energy norm of the error, asymptotically."""
    torch.manual_seed(0)
    e, factor = torch.randn_like(levels[0].free) * levels[0].free, 0.0
    with torch.no_grad():
        for _ in range(12):
            if mean_free:
                e = e - e.mean()
            before = (e * A(e)).sum().sqrt()
            e = e - cycle(A(e), levels, coefficient)
            factor = float((e * A(e)).sum().sqrt() / before)
            e = e / before
    return factor


def poisson_cycle(grid: Grid, dirichlet: tuple[str, ...], damping: float, **options) -> float:
    """Weights set by hand: A the stiffness matrix, S damped Jacobi; and the factor of one layer's cycle."""
    architecture = replace(POISSON, **options)
    levels, cycle = grid_levels(grid, dirichlet, architecture, torch.float64), Cycle(architecture).double()
    for name, parameter in cycle.named_parameters():
        nn.init.constant_(parameter, damping if name.endswith("S") else 1.0)
    return contraction(levels, cycle, levels[0].stencil("stiffness").on_nodes, mean_free=not dirichlet)
