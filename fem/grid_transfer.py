"""Fields on one uniform grid at the points of another one of the same box."""

import torch
from torch import Tensor

from ..errors import InputError
from .uniform_grid import Grid


def grid_transfer(source: Grid, target: Grid, u: Tensor) -> Tensor:
    """A field's piecewise multilinear interpolant at the target's points, ``(..., channel, x, y[, z])`` to the same.

    Exact for multilinear functions, also where values are at centres. Points beyond the outermost ones of the source are extrapolated along
    its last interval, or reached around a periodic axis.

    Raises:
        InputError: the grids have different dimensions or periodic axes, or the field is not on the source.
    """
    if source.dim != target.dim or source.periodic != target.periodic:
        raise InputError(f"There is no transfer between {source} and {target}: their dimensions or periodic axes differ.")
    source.check(u)
    for axis in range(source.dim):
        place = target.axes(torch.float64)[axis] - source.axes(torch.float64)[axis][0]
        place, n = place / source.spacings[axis], source.shape[axis]
        left = place.floor().long()
        left = left if source.periodic[axis] else left.clamp(0, n - 2)
        weight = (place - left).to(u)
        a, b = (u.movedim(axis - source.dim, -1)[..., (left + side) % n] for side in (0, 1))
        u = torch.lerp(a, b, weight).movedim(-1, axis - source.dim)
    return u
