"""What happens at a side of a box of fluid: walls, lids, inflow, free slip, outflow, periodicity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError


@dataclass(frozen=True)
class Wall:
    """Prescribed velocity: a wall without slip, a moving lid (``tangential``), an inflow or a prescribed outflow (``normal``).

    ``normal`` counts in the direction of the axis. Both are numbers, or tensors of one value a cell of the side, ``(y,)``, ``(y, z)``,
    or of one for each sample as well, ``(batch, y)``, ``(batch, y, z)``. In three dimensions ``tangential`` is a pair of these, along
    the side's first axis and its second.
    """

    normal: float | Tensor = 0.0
    tangential: float | Tensor | Sequence[float | Tensor] = 0.0


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


#: The types of the two sides across each axis.
Kinds = tuple[tuple[type[Side], type[Side]], ...]


def kinds_of(sides: Sequence[tuple[Side, Side]]) -> Kinds:
    """What kind of side each is, whatever its values."""
    return tuple((type(low), type(high)) for low, high in sides)


def names_of_sides(dim: int) -> list[str]:
    """``"x0", "x1", "y0", ...``: the first and the last side across each axis."""
    return [f"{axis}{end}" for axis in "xyz"[:dim] for end in (0, 1)]


def pairs_of_sides(sides: Mapping[str, Side], cells: Sequence[int]) -> list[tuple[Side, Side]]:
    """The two sides across each axis, periodic where nothing is said.

    Raises:
        InputError: an unknown side, one periodic side without the other, values that are not one a cell of their side.
    """
    names = names_of_sides(len(cells))
    if unknown := set(sides) - set(names):
        raise InputError(f"A box has the sides {', '.join(names)}, not {', '.join(sorted(map(str, unknown)))}.")
    pairs = []
    for axis in range(len(cells)):
        low, high = (sides.get(name, Periodic()) for name in names[2 * axis : 2 * axis + 2])
        if isinstance(low, Periodic) != isinstance(high, Periodic):
            raise InputError(
                f"Only one of {names[2 * axis]} and {names[2 * axis + 1]} is periodic. Name both in sides, or neither."
            )
        for side in (low, high):
            if isinstance(side, Wall):
                _check_values(side, axis, cells)
        pairs.append((low, high))
    return pairs


def tangential_velocity(wall: Wall, component: int, axis: int, dim: int) -> float | Tensor:
    """A wall's velocity along ``component``, an axis other than the one it is across."""
    values = wall.tangential
    if isinstance(values, Sequence):
        return values[component - (component > axis)]
    return values


def at_cells_of_side(value: float | Tensor, axis: int, cells: Sequence[int], like: Tensor) -> Tensor:
    """A side's values as ``(batch or 1, 1, x, y[, z])`` with one entry along the axis that the side is across."""
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    shape = [1 if i == axis else n for i, n in enumerate(cells)]
    if value.dim() < len(cells):
        return (value.reshape(shape) if value.dim() else value.expand(shape))[None, None]
    return value.reshape(-1, 1, *shape)


def at_faces_of_side(value: Tensor, component: int, periodic: bool) -> Tensor:
    """Values at a side's cells, at the faces across ``component`` between them."""
    dim = component + 2
    first, last = value.narrow(dim, 0, 1), value.narrow(dim, value.shape[dim] - 1, 1)
    ends = torch.cat([last, value, first] if periodic else [first, value, last], dim)
    n = value.shape[dim] + 1
    return (ends.narrow(dim, 0, n) + ends.narrow(dim, 1, n)) / 2


def _check_values(wall: Wall, axis: int, cells: Sequence[int]) -> None:
    across = tuple(n for i, n in enumerate(cells) if i != axis)
    tangential = wall.tangential
    if len(cells) == 3:
        if not isinstance(tangential, Sequence) and (isinstance(tangential, Tensor) or tangential != 0):
            raise InputError(f"In three dimensions a wall's tangential velocity is a pair of components; got {tangential}.")
    elif isinstance(tangential, Sequence):
        tangential = tangential if len(tangential) == 1 else ()
    tangential = tangential if isinstance(tangential, Sequence) else [tangential] * len(across)
    if len(tangential) != len(across):
        raise InputError(f"A wall's tangential velocity has {len(across)} components; got {wall.tangential}.")
    for value in (wall.normal, *tangential):
        if isinstance(value, Tensor) and tuple(value.shape[-len(across) :]) not in ((), across):
            raise InputError(
                f"Velocities of the walls across {'xyz'[axis]} are numbers or tensors {across}, one value a cell of the side, or (batch, "
                f"{', '.join(map(str, across))}); got {tuple(value.shape)}."
            )
        if isinstance(value, Tensor) and value.dim() > len(cells):
            raise InputError(
                f"Velocities of a wall have at most {len(cells)} axes, the batch included; got {tuple(value.shape)}."
            )
