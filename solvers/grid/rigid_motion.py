"""The velocity of a body that moves and turns as a whole, at the faces of a staggered grid."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError
from .faces import Velocity


def rigid_motion(
    cells: Sequence[int],
    lengths: Sequence[float],
    *,
    centre: Sequence[float] = (0.0, 0.0),
    velocity: Sequence[float | Tensor] = (0.0, 0.0),
    angular_velocity: float | Tensor = 0.0,
) -> Velocity:
    """u = V + Ω × (x − c) at the faces, in float64, for ``solid_velocity`` of a body that moves or turns in the plane.

    Numbers, or tensors ``(batch, 1, 1, 1)``, also with gradients. The motion is solenoidal, so that the prescribed flow is balanced.

    Raises:
        InputError: not two dimensions.
    """
    if len(cells) != 2:
        raise InputError(f"A rigid motion in the plane needs two axes; got {len(cells)}.")
    (nx, ny), (Lx, Ly) = cells, lengths
    y = (torch.arange(ny, dtype=torch.float64) + 0.5) * Ly / ny - centre[1]
    x = (torch.arange(nx, dtype=torch.float64) + 0.5) * Lx / nx - centre[0]
    u = (velocity[0] - angular_velocity * y).expand(*_leading(velocity[0], angular_velocity), nx + 1, ny)
    v = (velocity[1] + angular_velocity * x[:, None]).expand(*_leading(velocity[1], angular_velocity), nx, ny + 1)
    return u, v


def _leading(*values: float | Tensor) -> tuple[int, ...]:
    shapes = [value.shape[:-2] for value in values if isinstance(value, Tensor) and value.dim() > 2]
    return tuple(torch.broadcast_shapes(*shapes)) if shapes else ()
