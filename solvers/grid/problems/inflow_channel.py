"""A channel past a disc whose inflow changes its speed: the wake sheds vortices at another frequency."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ...quantities import require_positive
from ..counter_random import uniform_pairs
from ..faces import Velocity
from ..potentials import potential_of
from ..problem import GridProblem
from ..sides import Outflow, Wall
from ..staggered import StaggeredFlow

#: Of the solver in double precision: a stream function needs a divergence near rounding.
_TOLERANCE = 1e-12


class InflowChannel(GridProblem):
    """Flow through a channel of height 1 past a fixed disc, with the wake of one inflow at time 0 and another inflow from then on.

    The inflow is a parabola of mean U; walls are without slip, the outflow is free. A wake develops at U = U₀; at time 0 the speed
    becomes U at once, which adds the potential flow of the difference. Both are uniform in ``speeds``. All fields are at the vertices,
    ``(batch, channel, nx + 1, ny + 1)``: the state is the stream function ``psi`` (zero on the lower wall, exact on inflow and walls,
    where the input ``free`` is 0), ``solid`` is 1 in the disc, and ``inflow`` is U everywhere. The Reynolds number is U times the
    diameter by ν.

    Good values: the defaults, Reynolds numbers of 88 to 163, 10 cells across the disc; vortices are shed at 1.3 to 1.4 times U.

    Args:
        cells: along x and y.
        length: of the channel.
        viscosity: ν.
        disc: x and y of its centre, and its radius.
        speeds: the smallest and the largest U.
        start: time from a disturbed start to time 0; the wake of a slow inflow takes longest.
        interval, frames: the stored frames are at the times 0, interval, ..., frames · interval.
        dt: the longest time step; below h / max|u|.

    Raises:
        InputError: speeds are not positive and in order, or the start is not positive.
    """

    inputs = ("psi", "free", "solid", "inflow")
    outputs = ("psi",)

    def __init__(
        self,
        cells: Sequence[int] = (96, 48),
        length: float = 2.0,
        viscosity: float = 1.6e-3,
        disc: Sequence[float] = (0.5, 0.5, 0.1),
        speeds: Sequence[float] = (0.7, 1.3),
        start: float = 8.0,
        interval: float = 0.02,
        frames: int = 100,
        dt: float = 5e-3,
    ):
        require_positive(viscosity=viscosity)
        if not 0 < speeds[0] <= speeds[1] or not start > 0:
            raise InputError(f"Expected positive speeds in order and a positive start; got {speeds} and {start}.")
        self.cells, self.length, self.viscosity, self.disc = tuple(cells), length, viscosity, tuple(disc)
        self.speeds, self.start, self.interval, self.frames, self.dt = tuple(speeds), start, interval, frames, dt
        self.times = np.arange(frames + 1) * interval
        self.grid = Grid((cells[0] + 1, cells[1] + 1), (length, 1.0))
        centres = Grid(self.cells, (length, 1.0), location="centre").coordinates(torch.float64)
        x, y, r = self.disc
        self.solid = (centres - torch.tensor([x, y])[:, None, None]).square().sum(-3) < r**2

    def flow(self, inflow: float | Tensor = 1.0) -> StaggeredFlow:
        """The discrete equations for one speed of the inflow, or for one of each sample, ``(batch,)``; also with gradients."""
        y = (torch.arange(self.cells[1], dtype=torch.float64, device=self.device) + 0.5) / self.cells[1]
        profile = 6 * y * (1 - y)
        normal = inflow.reshape(-1, 1) * profile.to(inflow) if isinstance(inflow, Tensor) else inflow * profile
        return StaggeredFlow(
            self.cells,
            (self.length, 1.0),
            viscosity=self.viscosity,
            sides={"x0": Wall(normal=normal), "x1": Outflow(), "y0": Wall(), "y1": Wall()},
            solid=self.solid,
            tolerance=_TOLERANCE if self.dtype == torch.float64 else None,
            dtype=self.dtype,
            device=self.device,
        )

    def wake(self, inflow: Tensor) -> Velocity:
        """The developed flow of each speed ``(batch,)``, ``(batch, 1, faces)``."""
        flow = self.flow(inflow)
        u, v = flow.at_rest(len(inflow))
        x, y, r = self.disc
        along = (torch.arange(self.cells[0]).to(v) + 0.5) * self.length / self.cells[0] - x - 3 * r
        across = torch.arange(self.cells[1] + 1).to(v) / self.cells[1] - y
        kick = inflow.to(v).reshape(-1, 1, 1, 1) * torch.exp(-(along[:, None] ** 2 + across**2) / r**2)
        return tuple(w[:, -1] for w in flow.solve((u, v + kick), self.start, 1, dt=self.dt))

    def stream_function(self, velocity: Velocity) -> Tensor:
        """Of solenoidal velocities ``(..., 1, faces)``, ``(..., 1, nx + 1, ny + 1)``."""
        left = 1e2 * _TOLERANCE if velocity[0].dtype == torch.float64 else None
        return potential_of(velocity, (self.length / self.cells[0], 1 / self.cells[1]), (False, False), left)[0]

    def masks(self, batch: int) -> dict[str, Tensor]:
        """The inputs that are the same for all samples, ``free`` and ``solid``."""
        free = torch.ones(batch, 1, *self.grid.shape, dtype=self.dtype, device=self.device)
        free[..., 0, :] = free[..., 0] = free[..., -1] = 0
        cells = self.solid[None, None].to(self.device, self.dtype)
        solid = torch.nn.functional.pad(cells, (0, 1, 0, 1), mode="replicate")
        return {"free": free, "solid": solid.expand_as(free).contiguous()}

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        before, after = uniform_pairs(seed, samples, [torch.zeros(1, dtype=torch.int64)])
        low, high = self.speeds
        speed = {
            name: (low + (high - low) * u).to(self.device, self.dtype)[:, 0] for name, u in (("before", before), ("after", after))
        }
        inflow = speed["after"][:, None, None, None].expand(-1, 1, *self.grid.shape).contiguous()
        return {**self.masks(len(samples)), "inflow": inflow, "speed_before": speed["before"]}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        flow = self.flow(inputs["inflow"][:, 0, 0, 0])
        return {
            "psi": self.stream_function(flow.solve(self.wake(inputs["speed_before"]), self.interval, self.frames, dt=self.dt))
        }
