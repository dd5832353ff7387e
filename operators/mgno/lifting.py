"""Flows that outputs are departures from: known functions with the boundary values of the solution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...errors import InputError
from ...fem.uniform_grid import Grid
from ..encoders import Fields
from .mapping import jacobian_on_grid, piola
from .transport import ChannelVelocity


class Lifting(Protocol):
    """What makes a function with the prescribed boundary values, ``(batch, out_channels, x, y[, z])``, of an operator's inputs."""

    def __call__(self, fields: Fields, grid: Grid) -> Tensor: ...


@dataclass(frozen=True)
class ChannelFlow:
    """Poiseuille's flow in the channel that a grid is mapped to, by the Piola transform J c/|det J| of :class:`ChannelVelocity`.

    It has no divergence, and as much flows through every section as through the straight channel's: what is left to learn of a flow
    through a bent channel with that inflow is a departure that vanishes at the inflow and at the walls.

    Args:
        coordinates: the input field of the points that the grid is mapped to.
        components: of the velocity in the domain, one for each output channel.
    """

    coordinates: str
    components: Sequence[int] = (0,)

    def __call__(self, fields: Fields, grid: Grid) -> Tensor:
        x = fields[self.coordinates]
        if x.shape[1] != grid.dim or not all(0 <= i < grid.dim for i in self.components):
            raise InputError(
                f"A flow through a channel in {grid.dim} dimensions needs the points {self.coordinates!r} with a channel for each, and "
                f"has components 0 to {grid.dim - 1}; got {x.shape[1]} channels and the components {tuple(self.components)}."
            )
        u = piola(jacobian_on_grid(x, grid.lengths), ChannelVelocity()(fields, grid))
        return torch.cat([u[:, i : i + 1] for i in self.components], 1)
