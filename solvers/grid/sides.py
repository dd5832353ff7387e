"""What happens at a side of a box of fluid (walls, lids, inflow, free slip, outflow, periodicity), and the ghost values it means."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Wall:
    """Prescribed velocity: a wall without slip, a moving lid (``tangential``), an inflow or a prescribed outflow (``normal``).

    Both are numbers, or tensors of one value a cell along the side; ``normal`` counts in the direction of the axis.
    """

    normal: float | Tensor = 0.0
    tangential: float | Tensor = 0.0


@dataclass(frozen=True)
class FreeSlip:
    """A wall that does not hold the fluid: no normal velocity, no shear. Also a plane of symmetry."""


@dataclass(frozen=True)
class Outflow:
    """Zero pressure and zero normal derivative of the velocity."""


@dataclass(frozen=True)
class Periodic:
    """Continues at the opposite side, which must be periodic, too."""


Side = Wall | FreeSlip | Outflow | Periodic


def with_ghosts_across(w: Tensor, axis: int, low: Side, high: Side) -> Tensor:
    """Velocity normal to the axis' sides, at faces, with one more face beyond each; outside a wall's it has no meaning."""
    n = w.shape[axis]
    first, last = (1, n - 2) if isinstance(low, Periodic) else (n - 1, 0)
    return torch.cat([w.narrow(axis, last, 1), w, w.narrow(axis, first, 1)], axis)


def with_ghosts_along(w: Tensor, axis: int, low: Side, high: Side) -> Tensor:
    """Velocity tangential to the axis' sides, half a cell from them, with one more value beyond each."""
    first, last = w.narrow(axis, 0, 1), w.narrow(axis, w.shape[axis] - 1, 1)
    if isinstance(low, Periodic):
        return torch.cat([last, w, first], axis)
    return torch.cat([_mirrored(first, low), w, _mirrored(last, high)], axis)


def _mirrored(w: Tensor, side: Side) -> Tensor:
    """The value beyond the side that makes the mean of both the wall's velocity, or their difference zero."""
    return 2 * _at_faces(side.tangential, w) - w if isinstance(side, Wall) else w


def _at_faces(value: float | Tensor, w: Tensor) -> Tensor:
    """A wall's values, one a cell, at the faces between its cells, in the shape of one line of ``w``."""
    if not isinstance(value, Tensor) or value.dim() == 0:
        return torch.as_tensor(value, dtype=w.dtype, device=w.device).expand_as(w)
    ends = torch.cat([value[:1], value, value[-1:]]).to(w)
    return ((ends[1:] + ends[:-1]) / 2).reshape(w.shape[2:])


def pressure_with_ghosts(p: Tensor, axis: int, low: Side, high: Side) -> Tensor:
    """Pressure at centres with one more value beyond each side: zero on an outflow, without slope at a wall."""
    first, last = p.narrow(axis, 0, 1), p.narrow(axis, p.shape[axis] - 1, 1)
    if isinstance(low, Periodic):
        return torch.cat([last, p, first], axis)
    ends = [-end if isinstance(side, Outflow) else end for end, side in ((first, low), (last, high))]
    return torch.cat([ends[0], p, ends[1]], axis)


def laplacian_1d(cells: int, h: float, low: Side, high: Side) -> Tensor:
    """−d²/dx² of the pressure at the centres of one axis, as a float64 matrix."""
    eye = torch.eye(cells, dtype=torch.float64)
    return -pressure_with_ghosts(eye, 0, low, high).diff(n=2, dim=0) / h**2
