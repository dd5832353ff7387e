"""Losses of flows on grids that need no data: residuals of consecutive frames under a one-step scheme."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import InputError
from ..solvers.grid.potentials import at_faces, velocity_of
from ..solvers.grid.residuals import StaggeredResidual, VorticityResidual
from .metrics import Metric
from .objectives.trajectory import PREVIOUS

Fields = Mapping[str, Tensor]


class FrameResidual(Metric):
    """Base of losses on the residuals of all steps from the last given frame to the last predicted one.

    The prediction has one frame, ``(batch, channel, x, y[, z])``, or a block of several, ``(batch, time, channel, x, y[, z])``, and the
    frame or block before is ``previous_<name>``, as :class:`Pool` and :class:`Rollout` give it, or the batch's own.

    Args:
        logarithm: the logarithm of the mean square, which weighs all flows alike, be they fast or slow (Wandel, Weinmann and Klein, ICLR
            2021, arXiv 2006.08762), instead of the mean square itself.
    """

    def __init__(self, dim: int, logarithm: bool):
        super().__init__()
        self.dim, self.logarithm = dim, logarithm

    def consecutive(self, prediction: Fields, fields: Fields, name: str) -> tuple[Tensor, Tensor]:
        """Frames before and after each step, ``(batch · steps, channel, x, y[, z])``.

        Raises:
            InputError: a field is missing.
        """
        before = fields.get(PREVIOUS + name, fields.get(name))
        if before is None or name not in prediction:
            raise InputError(
                f"The residual needs the field {name!r} as predicted and before; the prediction has {', '.join(map(repr, prediction))}, "
                f"the data {', '.join(map(repr, fields))}."
            )
        after = prediction[name]
        if after.dim() == self.dim + 2:
            return before, after
        before = torch.cat([before[:, -1:], after[:, :-1]], 1)
        return before.flatten(0, 1), after.flatten(0, 1)

    def at_steps(self, fields: Fields, name: str | None, steps: int) -> Tensor | None:
        """An input at the later frame of each step; one that does not change is repeated."""
        if name is None:
            return None
        if name not in fields:
            raise InputError(f"The residual needs the input {name!r}; the data have {', '.join(map(repr, fields))}.")
        u = fields[name]
        return u.flatten(0, 1) if u.dim() == self.dim + 3 else u.repeat_interleave(steps, 0)

    def reduced(self, squares: Tensor, samples: int) -> Tensor:
        """Mean squares of all steps, ``(batch · steps)``, to a loss of each sample."""
        mean = squares.reshape(samples, -1).mean(1)
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).log() if self.logarithm else mean


class VorticityLoss(FrameResidual):
    """The mean square of R / Δt of a :class:`VorticityResidual`, or its logarithm; zero for the solution of the scheme.

    Args:
        residual: of a step between two frames.
        field: name of the vorticity.
        forcing: name of the input with each sample's forcing, in addition to the equation's own.
        logarithm: see :class:`FrameResidual`.
    """

    def __init__(self, residual: VorticityResidual, field: str = "w", forcing: str | None = None, logarithm: bool = False):
        super().__init__(2, logarithm)
        self.residual, self.field, self.forcing = residual, field, forcing

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        before, after = self.consecutive(prediction, truth, self.field)
        samples = len(prediction[self.field])
        forcing = self.at_steps(truth, self.forcing, len(after) // samples)
        R = self.residual(before, after, forcing) / self.residual.dt
        return self.reduced(R.square().flatten(1).mean(1), samples)


class StaggeredLoss(FrameResidual):
    """The mean square of R / Δt of a :class:`StaggeredResidual`, and that of the velocity's error at walls and obstacles; or the logarithm.

    The velocity is that of the predicted potential, hence solenoidal. Obstacles may differ from sample to sample and move with the frames.

    Args:
        residual: of a step between two frames.
        potential: name of the stream function, or of the components of the vector potential, or of one field with all three in a
            periodic box.
        pressure: name of the pressure, where the residual's is a ``"field"``.
        solid: name of the input that is 1 in obstacles, ``(batch, [time,] 1, x, y[, z])``; those of the flow by default.
        wall_velocity: name of the input with the velocity of obstacles, ``(batch, [time,] dim, x, y[, z])``, or with axes of length 1; at
            rest by default.
        boundary_weight: of the velocity's error at walls and obstacles; published: 20.
        logarithm: see :class:`FrameResidual`.

    Raises:
        InputError: a weight below zero, a potential that does not fit the dimension, a pressure that is not used or missing.
    """

    def __init__(
        self,
        residual: StaggeredResidual,
        potential: Sequence[str] = ("psi",),
        pressure: str | None = None,
        solid: str | None = None,
        wall_velocity: str | None = None,
        boundary_weight: float = 20.0,
        logarithm: bool = False,
    ):
        super().__init__(len(residual.flow.cells), logarithm)
        fits = len(potential) == (1 if self.dim == 2 else 3) or (len(potential) == 1 and all(residual.periodic))
        if isinstance(potential, str) or not fits:
            raise InputError(
                f"A flow in {self.dim} dimensions has a list of {1 if self.dim == 2 else 3} potentials, not {potential!r}."
            )
        if boundary_weight < 0 or (pressure is None) == (residual.pressure == "field"):
            raise InputError(
                f"Expected a boundary weight of 0 or more, and a pressure exactly where the residual's is a field; got {boundary_weight}, "
                f"{pressure!r} and {residual.pressure!r}."
            )
        self.residual, self.potential, self.pressure = residual, tuple(potential), pressure
        self.solid, self.wall_velocity, self.boundary_weight = solid, wall_velocity, boundary_weight

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        pairs = [self.consecutive(prediction, truth, name) for name in self.potential]
        before, after = (self._velocity(parts) for parts in zip(*pairs, strict=True))
        residual = self.residual.on(after[0].device)
        samples = len(prediction[self.potential[0]])
        steps = len(after[0]) // samples
        solid, moving = self._obstacles(truth, steps)
        p = None if self.pressure is None else self._cells(self.consecutive(prediction, truth, self.pressure)[1])
        squares = _mean_square(tuple(r / residual.dt for r in residual(before, after, p, solid, moving)))
        if self.boundary_weight:
            around = residual.faces(after, solid, moving)
            error = [(1 - m) * (u - w) for m, u, w in zip(around.open, after, around.prescribed, strict=True)]
            squares = squares + self.boundary_weight * _mean_square(error)
        return self.reduced(squares, samples)

    def _velocity(self, potential: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        parts = potential[0].split(1, 1) if self.dim == 3 and len(potential) == 1 else potential
        return velocity_of(tuple(parts), self.residual.flow.spacings, self.residual.periodic)

    def _obstacles(self, fields: Fields, steps: int) -> tuple[Tensor | None, tuple[Tensor, ...] | None]:
        """Cells of obstacles and the velocities of their faces."""
        solid = self.at_steps(fields, self.solid, steps)
        velocity = self.at_steps(fields, self.wall_velocity, steps)
        if solid is None or velocity is None:
            return None if solid is None else self._cells(solid), None
        cells = (
            velocity.expand(*velocity.shape[:2], *self.residual.flow.cells) if velocity.shape[-1] == 1 else self._cells(velocity)
        )
        return self._cells(solid), at_faces(tuple(cells.split(1, 1)), self.residual.periodic)

    def _cells(self, u: Tensor) -> Tensor:
        """A field of cells without what a grid of vertices has beyond the last cells."""
        for axis, n in enumerate(self.residual.flow.cells):
            u = u.narrow(axis - self.dim, 0, n)
        return u


def _mean_square(parts: Sequence[Tensor]) -> Tensor:
    """Of all components together, ``(batch,)``."""
    return torch.cat([part.flatten(1) for part in parts], 1).square().mean(1)
