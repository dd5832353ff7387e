"""How right the velocity of a predicted vorticity is, which weighs large eddies more than the vorticity itself does."""

from math import pi

import torch
from torch import Tensor

from ...errors import InputError
from ...fem.uniform_grid import Grid
from .metric import FieldMetric, Fields


class VelocityError(FieldMetric):
    """‖u − v‖ / ‖v‖ in L2 of the velocities (∂_y ψ, −∂_x ψ), −Δψ = ω, of vorticities ``(batch, time, 1, x, y)``, for each frame.

    Args:
        space: the grid, a periodic rectangle.
        field: name of the vorticity.

    Raises:
        InputError: another grid; in use, a field without frames.
    """

    inverse: Tensor

    def __init__(self, space: Grid, field: str):
        super().__init__(field)
        if not isinstance(space, Grid) or space.dim != 2 or not all(space.periodic):
            raise InputError(f"The velocity of a vorticity is known on a periodic rectangle, not on {space}.")
        (nx, ny), lengths = space.shape, space.lengths
        kx, ky = torch.fft.fftfreq(nx, 1 / nx).double()[:, None] / lengths[0], torch.arange(ny // 2 + 1).double() / lengths[1]
        k = 2 * pi * (kx**2 + ky**2).sqrt()
        self.register_buffer("inverse", torch.where(k > 0, 1 / k.clamp_min(1e-300), 0.0), persistent=False)

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u, v = self.pair(prediction, truth)
        if u.ndim != 5:
            raise InputError(
                f"The field {self.field!r} of shape {tuple(u.shape)} has no frames; expected (batch, time, 1, x, y)."
            )
        return self._speed(u - v) / self._speed(v)

    def _speed(self, w: Tensor) -> Tensor:
        """‖u‖ up to a factor, ``(batch, time)``: |û| = |ω̂| / |k|."""
        part = torch.fft.irfft2(torch.fft.rfft2(w) * self.inverse.to(w), s=w.shape[-2:])
        return part.square().sum((-3, -2, -1)).sqrt()
