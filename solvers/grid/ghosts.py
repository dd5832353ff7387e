"""Values beyond the sides of a staggered grid that make differences and means there those of the boundary condition."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .sides import Outflow, Periodic, Side, Wall


def with_ghosts_across(w: Tensor, axis: int, low: Side, high: Side) -> Tensor:
    """Velocity normal to the axis' sides, at faces, with one more face beyond each; outside a wall's it has no meaning."""
    n = w.shape[axis]
    first, last = (1, n - 2) if isinstance(low, Periodic) else (n - 1, 0)
    return torch.cat([w.narrow(axis, last, 1), w, w.narrow(axis, first, 1)], axis)


def with_ghosts_along(
    w: Tensor, axis: int, low: Side, high: Side, walls: tuple[Tensor | None, Tensor | None] = (None, None)
) -> Tensor:
    """Velocity tangential to the axis' sides, half a cell from them, with one more value beyond each.

    The mean of the values on both sides of a wall is its velocity in ``walls``, zero where that is None; elsewhere they are equal.
    """
    first, last = w.narrow(axis, 0, 1), w.narrow(axis, w.shape[axis] - 1, 1)
    if isinstance(low, Periodic):
        return torch.cat([last, w, first], axis)
    return torch.cat([_mirrored(first, low, walls[0]), w, _mirrored(last, high, walls[1])], axis)


def _mirrored(w: Tensor, side: Side, value: Tensor | None) -> Tensor:
    if not isinstance(side, Wall):
        return w
    return -w if value is None else 2 * value - w


def pressure_with_ghosts(p: Tensor, axis: int, low: Side, high: Side) -> Tensor:
    """Pressure at centres with one more value beyond each side: zero on an outflow, without slope at a wall."""
    first, last = p.narrow(axis, 0, 1), p.narrow(axis, p.shape[axis] - 1, 1)
    if isinstance(low, Periodic):
        return torch.cat([last, p, first], axis)
    ends = [-end if isinstance(side, Outflow) else end for end, side in ((first, low), (last, high))]
    return torch.cat([ends[0], p, ends[1]], axis)


def midpoints(w: Tensor, axis: int) -> Tensor:
    """Means of neighbours along an axis."""
    n = w.shape[axis] - 1
    return (w.narrow(axis, 0, n) + w.narrow(axis, 1, n)) / 2


def pressure_laplacian(cells: int, h: float, sides: Sequence[Side]) -> Tensor:
    """−d²/dx² of the pressure at the centres of one axis, as a float64 matrix."""
    eye = torch.eye(cells, dtype=torch.float64)
    return -pressure_with_ghosts(eye, 0, *sides).diff(n=2, dim=0) / h**2


def tangential_laplacian(cells: int, h: float, sides: Sequence[Side]) -> Tensor:
    """−d²/dx² of a velocity along the sides of an axis, at its centres, with walls at rest."""
    eye = torch.eye(cells, dtype=torch.float64)
    low, high = sides
    return -with_ghosts_along(eye, 0, low, high).diff(n=2, dim=0) / h**2


def normal_laplacian(cells: int, h: float, sides: Sequence[Side]) -> Tensor:
    """−d²/dx² of a velocity across the sides of an axis, at the faces that move freely: none on a wall, the one on an outflow."""
    eye = torch.eye(cells + 1, dtype=torch.float64)
    free = free_faces(cells, sides)
    return (-with_ghosts_across(eye, 0, *sides).diff(n=2, dim=0) / h**2)[free, free]


def free_faces(cells: int, sides: Sequence[Side]) -> slice:
    """The faces across an axis that no wall holds; of the first and the last face of a periodic axis, which are one, the first."""
    low, high = sides
    if isinstance(low, Periodic):
        return slice(0, cells)
    return slice(0 if isinstance(low, Outflow) else 1, cells + 1 if isinstance(high, Outflow) else cells)
