"""How right the velocity of a predicted vorticity, stream function or vector potential is."""

from math import pi

import torch
from torch import Tensor

from ...errors import InputError
from ...fem.uniform_grid import Grid
from ...solvers.grid.potentials import velocity_of
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


class _OfPotential(FieldMetric):
    """Base of metrics of the velocities at the faces of cells, of potentials ``(batch, time, channel, x, y[, z])``.

    Args:
        space: the grid: vertices of the cells for a stream function, a periodic box for the three channels of a vector potential.
        field: name of the potential.

    Raises:
        InputError: another grid; in use, a field without frames or of another number of channels.
    """

    def __init__(self, space: Grid, field: str):
        super().__init__(field)
        if not isinstance(space, Grid) or space.dim not in (2, 3) or (space.dim == 3 and not all(space.periodic)):
            raise InputError(f"Velocities are known of a potential in two dimensions or in a periodic box, not on {space}.")
        self.space = space

    def velocity(self, potential: Tensor) -> tuple[Tensor, ...]:
        """At the faces, both ends of a periodic axis included."""
        dim = self.space.dim
        if potential.ndim != dim + 3 or potential.shape[2] != (1 if dim == 2 else 3):
            raise InputError(
                f"The field {self.field!r} has shape {tuple(potential.shape)}; expected (batch, time, {1 if dim == 2 else 3}, "
                f"{', '.join('xyz'[:dim])})."
            )
        return velocity_of(potential.split(1, 2), self.space.spacings, self.space.periodic)


class PotentialVelocityError(_OfPotential):
    """‖u − v‖ / ‖v‖ in L2 of the velocities of potentials, for each frame.

    Unlike the error of the potential it knows no gauge, and does not hide small eddies behind large ones. Arguments and errors are those of
    its base: the ``space`` of vertices, or a periodic box, and the ``field``.
    """

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u, v = self.pair(prediction, truth)
        return self._speed(u - v) / self._speed(v)

    def _speed(self, potential: Tensor) -> Tensor:
        """‖u‖ up to a factor, ``(batch, time)``."""
        dim = self.space.dim
        squares = []
        for axis, w in enumerate(self.velocity(potential)):
            different = w.narrow(axis - dim, 0, w.shape[axis - dim] - 1) if self.space.periodic[axis] else w
            squares.append(different.square().flatten(2).sum(2))
        return torch.stack(squares).sum(0).sqrt()


class PotentialDivergence(_OfPotential):
    """h max |∇·u| / max |u| of the predicted potential's velocities, for each frame, h the smallest spacing: rounding, and only that.

    Arguments and errors are those of :class:`PotentialVelocityError`.
    """

    reduction = "max"

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        velocity = self.velocity(self.pair(prediction, truth)[0])
        dim, spacings = self.space.dim, self.space.spacings
        divergence = sum(w.diff(dim=axis - dim) / h for axis, (w, h) in enumerate(zip(velocity, spacings, strict=True)))
        assert isinstance(divergence, Tensor)
        fastest = torch.stack([w.abs().flatten(2).amax(2) for w in velocity]).amax(0)
        return min(spacings) * divergence.abs().flatten(2).amax(2) / fastest
