"""The lid-driven cavity from random flows, by its stream function."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ...quantities import require_positive
from ..potentials import potential_of, velocity_of
from ..problem import GridProblem
from ..random_fields import DirichletField
from ..sides import Wall
from ..staggered import StaggeredFlow


class StaggeredCavity(GridProblem):
    """Incompressible flow in the unit square under a lid of velocity 1, from random flows at rest at the walls.

    The state ``psi`` is the stream function at the cells' vertices, ``(batch, time, 1, n + 1, n + 1)``, zero on the walls, from the
    end of a start on, in which the layer below the lid grows. Inputs are ``free``, 1 inside and 0 on the walls, and ``lid``, 1 on the lid.

    Good values: Reynolds numbers 1/ν of 100 to 1000.

    Args:
        cells: n along each axis.
        viscosity: ν.
        amplitude: root mean square velocity of the random flow.
        start: time from the random flow to the first frame.
        interval, frames: the frames are at the times start, start + interval, ..., start + frames · interval.
        dt: the longest time step of the solver.

    Raises:
        InputError: a negative amplitude, a start that takes no time.
    """

    inputs = ("psi", "free", "lid")
    outputs = ("psi",)

    def __init__(
        self,
        cells: int = 64,
        viscosity: float = 2.5e-3,
        amplitude: float = 0.2,
        start: float = 0.5,
        interval: float = 5e-3,
        frames: int = 32,
        dt: float = 5e-3,
    ):
        require_positive(viscosity=viscosity)
        if amplitude < 0 or not start > 0:
            raise InputError(f"The amplitude is 0 or more and the start takes some time; got {amplitude} and {start}.")
        self.cells, self.viscosity, self.amplitude = (cells, cells), viscosity, amplitude
        self.grid = Grid((cells + 1, cells + 1))
        self.start, self.interval, self.frames, self.dt = start, interval, frames, dt
        self.times = start + np.arange(frames + 1) * interval
        self._field = DirichletField(self.cells, alpha=3.0, tau=5.0)

    def flow(self) -> StaggeredFlow:
        """The reference solver."""
        sides = {"x0": Wall(), "x1": Wall(), "y0": Wall(), "y1": Wall(tangential=1.0)}
        return StaggeredFlow(self.cells, viscosity=self.viscosity, sides=sides, dtype=self.dtype, device=self.device)

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        x, y = self.grid.coordinates(torch.float64, self.device)
        # Twice zero at the walls, so that the velocity is zero there.
        psi = self._field.sample(seed, samples, dtype=torch.float64, device=self.device) * x * (1 - x) * y * (1 - y)
        u, v = velocity_of((psi,), self.grid.spacings, self.grid.periodic)
        speed = (u.square().mean((1, 2, 3)) + v.square().mean((1, 2, 3))).sqrt()
        psi = psi * (self.amplitude / speed)[:, None, None, None]
        free = torch.zeros_like(psi)
        free[..., 1:-1, 1:-1] = 1
        lid = torch.zeros_like(psi)
        lid[..., -1] = 1
        return {name: values.to(self.dtype) for name, values in (("psi", psi), ("free", free), ("lid", lid))}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        flow, spacings, periodic = self.flow(), self.grid.spacings, self.grid.periodic
        first = velocity_of((inputs["psi"],), spacings, periodic)
        started = tuple(w[:, -1] for w in flow.solve(first, self.start, 1, dt=self.dt))
        velocity = flow.solve(started, self.interval, self.frames, dt=self.dt)
        (psi,) = potential_of(velocity, spacings, periodic)
        return {"psi": psi * inputs["free"][:, None]}

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"free": inputs["free"], "lid": inputs["lid"]}
