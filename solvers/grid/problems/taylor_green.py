"""The three-dimensional Taylor-Green vortex, disturbed, by its vector potential."""

from collections.abc import Mapping, Sequence
from math import pi

import numpy as np
import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ...quantities import require_positive
from ..counter_random import uniform_pairs
from ..potentials import potential_of, velocity_of
from ..problem import GridProblem
from ..random_fields import PeriodicField
from ..staggered import StaggeredFlow


class TaylorGreen(GridProblem):
    """u = (sin x cos y cos z, −cos x sin y cos z, 0), shifted and disturbed at random, on a periodic cube of side 2π.

    The state ``a`` is the vector potential at the edges of the cells, one channel a component, ``(batch, time, 3, n, n, n)``.

    Good values: Reynolds numbers 1/ν of 100 for 32³ cells; published flows have 1600 (Brachet et al., J. Fluid Mech. 130, 1983).

    Args:
        cells: n along each axis.
        viscosity: ν.
        disturbance: root mean square velocity of the disturbance.
        interval, frames: the frames are at the times 0, interval, ..., frames · interval.
        dt: the longest time step of the solver.

    Raises:
        InputError: the disturbance is negative.
    """

    inputs = ("a",)
    outputs = ("a",)

    def __init__(
        self,
        cells: int = 32,
        viscosity: float = 0.01,
        disturbance: float = 0.1,
        interval: float = 0.05,
        frames: int = 16,
        dt: float = 0.05,
    ):
        require_positive(viscosity=viscosity)
        if disturbance < 0:
            raise InputError(f"The disturbance is 0 or more, not {disturbance}.")
        self.cells, self.viscosity, self.disturbance = (cells,) * 3, viscosity, disturbance
        self.grid = Grid(self.cells, (2 * pi,) * 3, (True,) * 3)
        self.interval, self.frames, self.dt = interval, frames, dt
        self.times = np.arange(frames + 1) * interval
        self._field = PeriodicField(self.cells, self.grid.lengths, alpha=4.0, tau=2.0)

    def flow(self) -> StaggeredFlow:
        """The reference solver."""
        return StaggeredFlow(self.cells, self.grid.lengths, viscosity=self.viscosity, dtype=self.dtype, device=self.device)

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        spacings, periodic = self.grid.spacings, self.grid.periodic
        shift = 2 * pi * uniform_pairs(seed, samples, [torch.arange(3)])[0].to(self.device)
        x, y, z = (self.grid.coordinates(torch.float64, self.device) + shift[..., None, None, None]).unbind(1)
        h = spacings[0] / 2
        vortex = torch.stack(
            [
                torch.cos(x + h) * torch.sin(y) * torch.sin(z),
                torch.sin(x) * torch.cos(y + h) * torch.sin(z),
                -2 * torch.sin(x) * torch.sin(y) * torch.cos(z + h),
            ],
            1,
        )
        noise = torch.cat(
            [self._field.sample(seed, samples, stream=1 + i, dtype=torch.float64, device=self.device) for i in range(3)], 1
        )
        parts = []
        for potential, size in ((vortex, 0.5), (noise, self.disturbance)):
            u = velocity_of(potential.split(1, 1), spacings, periodic)
            speed = torch.stack([w.square().mean((1, 2, 3, 4)) for w in u]).sum(0).sqrt()
            parts.append(potential * (size / speed.clamp_min(1e-300)).reshape(-1, 1, 1, 1, 1))
        return {"a": (parts[0] + parts[1]).to(self.dtype)}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        spacings, periodic = self.grid.spacings, self.grid.periodic
        velocity = velocity_of(inputs["a"].split(1, 1), spacings, periodic)
        frames = self.flow().solve(velocity, self.interval, self.frames, dt=self.dt)
        return {"a": torch.cat(potential_of(frames, spacings, periodic), 2)}
