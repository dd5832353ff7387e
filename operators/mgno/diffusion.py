"""A processor for equations that are linear in their load, −∇·(k∇u) = r: learned multigrid cycles for the coefficient of every sample."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import Hierarchy
from ..encoders import Fields
from .architecture import Architecture
from .coefficient import CoefficientStencils
from .cycle import Cycle
from .mesh_levels import mesh_levels


class DiffusionProcessor(nn.Module):
    """u of −∇·(k∇u) = r in few cycles, ``(batch, 1, nodes) -> (batch, 1, nodes)``: linear in r, whatever the weights are.

    k is the power of a positive field that is constant in every cell. The cycles are those of MgNO (He, Liu, Xu, ICLR 2024, arXiv
    2310.19809) for the operator of each sample's own k, which Galerkin products take to the coarser levels. Untrained they are a
    multigrid method with damped Jacobi smoothing; what is learned is how few of them suffice: how strongly each of several iterates is
    smoothed and corrected on each level, and how they mix. Natural conditions hold where none are named. Good values: 4 cycles, 4
    channels.

    Args:
        hierarchy: spaces from fine to coarse, scalar Lagrange elements.
        coefficient: name of the input field, piecewise constants on the mesh of the finest space.
        power: of that field in each cell; −1 where k is the resistance that belongs to a conductivity.
        dirichlet: tags of the boundary where u vanishes.
        cycles: how many, each with weights of its own.
        channels: iterates that advance together.
        pre, post: smoothing steps before and after the coarse correction.

    Raises:
        InputError: spaces or cells that stencils are not made for, an unknown tag; in use, a coefficient of another shape.
    """

    in_channels, out_channels = 1, 1
    in_physical_units, sees_fields = True, True

    def __init__(
        self,
        hierarchy: Hierarchy,
        coefficient: str,
        power: float = 1.0,
        dirichlet: Iterable[str] = (),
        cycles: int = 4,
        channels: int = 4,
        pre: int = 1,
        post: int = 1,
    ):
        super().__init__()
        architecture = Architecture(
            iterates=channels,
            layers=cycles,
            operator=("coefficient",),
            coefficient="galerkin",
            levels=len(hierarchy),
            pre=pre,
            post=post,
        )
        self.coefficient, self.power, self.mass = coefficient, power, hierarchy[0].mass
        self.cells = hierarchy[0].mesh.num_cells
        self.levels = mesh_levels(hierarchy, dirichlet, architecture, self.mass.val.dtype)
        self.cycles = nn.ModuleList(Cycle(architecture) for _ in range(cycles))
        # The channels begin as one solution in different scales, which the head joins to it again.
        self.lift = nn.Parameter(torch.randn(1, channels))
        self.head = nn.Parameter((self.lift / self.lift.square().sum()).detach().T.clone())

    def forward(self, channels: Tensor, fields: Fields) -> Tensor:
        stencils = cast(CoefficientStencils, self.levels.coefficient).of_cells(self._coefficient(fields))
        f = self.mass.on_nodes(channels.permute(2, 0, 1).contiguous()) * self.lift
        u: Tensor | None = None
        for cycle in self.cycles:
            u = cycle(f, self.levels, stencils, u)
        return (cast(Tensor, u) @ self.head).permute(1, 2, 0)

    def _coefficient(self, fields: Fields) -> Tensor:
        """k in the cells, ``(cells, batch)``."""
        a = fields.get(self.coefficient)
        if a is None or a.ndim != 2 or a.shape[1] != self.cells:
            came = "nothing" if a is None else f"shape {tuple(a.shape)}"
            raise InputError(
                f"The coefficient {self.coefficient!r} has one value a cell, shape (batch, {self.cells}); got {came}."
            )
        return (a**self.power).T.contiguous()
