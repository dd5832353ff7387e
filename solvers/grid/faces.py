"""Which faces of a staggered grid move freely, and the velocity of the others: those of walls, of inflow and of obstacles."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError
from .ghosts import midpoints, pressure_with_ghosts
from .sides import Outflow, Periodic, Side, Wall, at_cells_of_side

#: One velocity component an axis, at the faces across it: ``(batch, 1, nx + 1, ny[, nz])``, ``(batch, 1, nx, ny + 1[, nz])``, ...
Velocity = tuple[Tensor, ...]


@dataclass(frozen=True)
class Faces:
    """Of each component, in the shape of its faces, one row for all samples or one for each.

    Attributes:
        open: one at faces that move freely, zero at the others.
        prescribed: velocity of the others, zero at those that move freely.
        solid: whether a face belongs to an obstacle; None without obstacles.
    """

    open: Velocity
    prescribed: Velocity
    solid: Velocity | None


def shapes_of_faces(cells: Sequence[int]) -> list[tuple[int, ...]]:
    """The shape of each component's faces: one more than cells along its own axis."""
    return [tuple(n + (i == axis) for i, n in enumerate(cells)) for axis in range(len(cells))]


def convective_rate(velocity: Velocity, spacings: Sequence[float]) -> float:
    """The largest of all cells' Σ_i |u_i| / h_i, |u_i| the mean of both faces: times dt it is the Courant number."""
    dim = len(velocity)
    parts = [midpoints(w.detach().abs(), i - dim) / h for i, (w, h) in enumerate(zip(velocity, spacings, strict=True))]
    return float(sum(parts[1:], parts[0]).max())


def faces(
    cells: Sequence[int],
    sides: Sequence[tuple[Side, Side]],
    solid: Tensor | None,
    solid_velocity: Sequence[Tensor | float] | None,
    like: Tensor,
) -> Faces:
    """The faces of a box with obstacles ``(batch or 1, 1, x, y[, z])``."""
    opens, prescribed, solids = [], [], []
    for axis, (shape, pair) in enumerate(zip(shapes_of_faces(cells), sides, strict=True)):
        beside = (
            faces_of(solid, axis, pair) if solid is not None else torch.zeros(1, 1, *shape, dtype=torch.bool, device=like.device)
        )
        moves = ~beside
        value = torch.zeros(beside.shape, dtype=like.dtype, device=like.device)
        if solid_velocity is not None:
            given = torch.as_tensor(solid_velocity[axis], dtype=like.dtype, device=like.device)
            value = torch.where(beside, given, value)
        for side, index in zip(pair, (0, cells[axis]), strict=True):
            if not isinstance(side, Outflow | Periodic):
                place = [slice(None)] * axis + [slice(index, index + 1)]
                at_side = torch.zeros(shape, dtype=torch.bool, device=like.device)
                at_side[tuple(place)] = True
                if isinstance(side, Wall):
                    normal = at_cells_of_side(side.normal, axis, cells, like)
                    value = torch.where(at_side & moves, normal, value)
                moves = moves & ~at_side
        if isinstance(pair[0], Periodic) and solid_velocity is not None:  # the first face and the last are one
            value = torch.cat([value.narrow(axis + 2, 0, cells[axis]), value.narrow(axis + 2, 0, 1)], axis + 2)
        opens.append(moves.to(like))
        prescribed.append(value)
        solids.append(beside)
    return Faces(tuple(opens), tuple(prescribed), tuple(solids) if solid is not None else None)


def faces_of(solid: Tensor, axis: int, sides: tuple[Side, Side]) -> Tensor:
    """The faces across an axis that have one of the given cells ``(..., 1, x, y[, z])`` beside them."""
    dim = axis - solid.dim() + 2
    n = solid.shape[dim]
    beside = pressure_with_ghosts(solid.to(torch.int8), dim, *sides) != 0
    return beside.narrow(dim, 0, n + 1) | beside.narrow(dim, 1, n + 1)


def checked_solid(solid: Tensor | None, cells: Sequence[int], device: torch.device | str) -> Tensor | None:
    """Obstacles ``(x, y[, z])`` or ``(batch, x, y[, z])`` as ``(batch or 1, 1, x, y[, z])``.

    Raises:
        InputError: another shape or type, or a sample without fluid.
    """
    if solid is None:
        return None
    shape = tuple(cells)
    if tuple(solid.shape[-len(cells) :]) != shape or solid.dim() not in (len(cells), len(cells) + 1) or solid.dtype != torch.bool:
        raise InputError(
            f"Obstacles are a boolean tensor of shape {shape} or (batch, {', '.join(map(str, shape))}); got {solid.dtype} "
            f"{tuple(solid.shape)}."
        )
    solid = solid.to(device).reshape(-1, 1, *shape)
    if bool(solid.flatten(1).all(1).any()):
        raise InputError("The obstacles of a sample leave no fluid.")
    return solid
