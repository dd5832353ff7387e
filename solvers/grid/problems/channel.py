"""Flow through a channel around random obstacles, as trajectories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ..counter_random import LogUniform, uniform_pairs
from ..problem import GridProblem
from ..sides import Outflow, Wall
from ..staggered import StaggeredFlow


@dataclass(frozen=True)
class RandomDiscs:
    """Discs with centres uniform in a box and radii uniform in a range; they may overlap.

    Attributes:
        count: discs of each sample.
        low, high: corners of the box.
        radii: the smallest and the largest.
    """

    count: int = 2
    low: tuple[float, float] = (0.4, 0.25)
    high: tuple[float, float] = (1.0, 0.75)
    radii: tuple[float, float] = (0.06, 0.1)

    def __call__(self, grid: Grid, seed: int, samples: Sequence[int]) -> Tensor:
        """Whether each point of the grid lies in a disc, boolean ``(batch, 1, x, y)``."""
        disc = torch.arange(self.count)
        across = [uniform_pairs(seed, samples, [disc, torch.full_like(disc, part)]) for part in (0, 1)]
        (x, y), (place, _) = across
        centre = torch.stack([a + (b - a) * u for a, b, u in zip(self.low, self.high, (x, y), strict=True)], -1)
        radius = self.radii[0] + (self.radii[1] - self.radii[0]) * place
        offset = grid.coordinates(torch.float64) - centre[..., None, None]
        return (offset.square().sum(2) <= radius[..., None, None].square()).any(1, keepdim=True)


class StaggeredChannel(GridProblem):
    """Incompressible flow through a channel of height 1, past obstacles that differ from sample to sample.

    The inflow at the left is a parabola of mean 1, walls below and above are without slip, the outflow is free. Input ``solid``, 1 in
    obstacles, ``(batch, 1, x, y)``; the state ``u`` is the velocity at the cells' centres, ``(batch, time, 2, x, y)``, from the end of a
    start from rest on. The Reynolds number of a disc is its diameter by ν.

    Good values: the defaults, a Reynolds number of 60 to 100, 8 to 13 cells across a disc.

    Args:
        obstacles: a function like :class:`RandomDiscs`.
        cells: along x and y.
        length: of the channel.
        viscosity: ν; or its smallest and largest value, between which the parameter ``viscosity`` of a sample is log-uniform.
        start: time from rest to the first frame.
        interval, frames: the stored frames are at the times start, start + interval, ..., start + frames · interval.
        dt: the longest time step; below h / max|u| and 0.15 h²/ν.

    Raises:
        InputError: the start is not positive.
    """

    inputs = ("solid", "u")
    outputs = ("u",)

    def __init__(
        self,
        obstacles: RandomDiscs | None = None,
        cells: Sequence[int] = (128, 64),
        length: float = 2.0,
        viscosity: float | Sequence[float] = 2e-3,
        start: float = 2.0,
        interval: float = 0.1,
        frames: int = 20,
        dt: float = 5e-3,
    ):
        if start <= 0:
            raise InputError(f"The flow starts from rest, so it needs some time to the first frame, not {start}.")
        self.obstacles = obstacles or RandomDiscs()
        self.cells, self.viscosity, self.dt = tuple(cells), LogUniform.of(viscosity, "viscosity"), dt
        self.grid = Grid(self.cells, (length, 1.0), location="centre")
        self.start, self.interval, self.frames = start, interval, frames
        self.times = start + np.arange(frames + 1) * interval
        y = self.grid.axes(torch.float64)[1]
        self._sides = {"x0": Wall(normal=6 * y * (1 - y)), "x1": Outflow(), "y0": Wall(), "y1": Wall()}

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        inputs = {"solid": self.obstacles(self.grid, seed, samples).to(self.device, self.dtype)}
        if self.viscosity.varies:
            inputs["viscosity"] = self.viscosity.sample(seed, samples).to(self.device, self.dtype)
        return inputs

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        flow = StaggeredFlow(
            self.cells,
            self.grid.lengths,
            viscosity=inputs.get("viscosity", self.viscosity.low),
            sides=self._sides,
            solid=inputs["solid"][:, 0] > 0.5,
            dtype=self.dtype,
            device=self.device,
        )
        developed = tuple(w[:, -1] for w in flow.solve(flow.at_rest(len(inputs["solid"])), self.start, 1, dt=self.dt))
        return {"u": flow.centred(flow.solve(developed, self.interval, self.frames, dt=self.dt))}
