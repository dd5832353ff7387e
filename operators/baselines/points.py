"""The points at which networks without a grid see their fields: nodes of a finite-element space, or the points of a uniform grid."""

import torch
from torch import Tensor

from ...fem import Space
from ...fem.uniform_grid import Grid


def network_points(space: Space | Grid) -> Tensor:
    """Coordinates ``(n, dim)``, float32, scaled by one factor so that the longest side of their box goes from 0 to 1."""
    x = space.points if isinstance(space, Space) else space.coordinates(torch.float64).flatten(1).T
    x = x.double()
    low, high = x.min(0).values, x.max(0).values
    return ((x - low) / (high - low).max()).float().contiguous()
