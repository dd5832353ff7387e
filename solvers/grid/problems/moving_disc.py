"""A channel with a disc that moves, for training on scenes that never end."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ..counter_random import uniform_pairs
from ..potentials import at_faces, potential_of
from ..problem import GridProblem
from ..sides import Outflow, Wall
from ..staggered import StaggeredFlow


class MovingDisc(GridProblem):
    """Flow through a channel of height 1 past a disc that moves the fluid at its surface, and leaves its place when the frames end.

    All fields are at the vertices, ``(batch, channel, nx + 1, ny + 1)``; those of cells repeat the last cells there. The state is the
    stream function ``psi``, exact on the inflow and the walls where the input ``free`` is 0, and the pressure ``p``.
    Inputs are ``solid``, 1 in the disc, its velocity ``wall_velocity`` of two channels, and ``disc`` with its centre, radius and
    velocity in five channels, all constant over the grid. Frames are those of the solver around the disc at its first place, but with its
    velocity at the surface, so that neither the flow nor the scales of a network are those of a disc at rest. :meth:`advance` moves the
    disc, once a step of an operator, and turns it back when its centre is a diameter from the walls.

    Good values: the defaults; Reynolds numbers of 25 to 50 by the disc's diameter.

    Args:
        cells: along x and y.
        length: of the channel.
        viscosity: ν.
        radii: the smallest and the largest.
        speed: the disc's largest velocity along each axis.
        step: time between two positions of the disc, that of one step of the operator.
        start: time from an impulsive start to the first frame.
        interval, frames: the frames are at the times start, start + interval, ...
        dt: the longest time step of the solver.
    """

    inputs = ("psi", "p", "free", "solid", "wall_velocity", "disc")
    outputs = ("psi", "p")

    def __init__(
        self,
        cells: Sequence[int] = (64, 32),
        length: float = 2.0,
        viscosity: float = 5e-3,
        radii: tuple[float, float] = (0.06, 0.12),
        speed: float = 0.5,
        step: float = 0.02,
        start: float = 0.1,
        interval: float = 0.01,
        frames: int = 3,
        dt: float = 0.01,
    ):
        if not 0 < radii[0] <= radii[1] < 0.2 or speed < 0 or not step > 0 or not start > 0:
            raise InputError(
                f"Expected radii below 0.2 in a channel of height 1, a speed of 0 or more, and positive times; got {radii}, {speed}, "
                f"{step} and {start}."
            )
        self.cells, self.length, self.viscosity, self.radii = tuple(cells), length, viscosity, tuple(radii)
        self.speed, self.step, self.start = speed, step, start
        self.interval, self.frames, self.dt = interval, frames, dt
        self.times = start + np.arange(frames + 1) * interval
        self.grid = Grid((cells[0] + 1, cells[1] + 1), (length, 1.0))

    def flow(self, solid: Tensor | None = None, wall_velocity: Tensor | None = None) -> StaggeredFlow:
        """The discrete equations, with or without obstacles, boolean ``(batch, x, y)``, that may have a velocity ``(batch, 2, x, y)``."""
        y = (torch.arange(self.cells[1], dtype=torch.float64) + 0.5) / self.cells[1]
        sides = {"x0": Wall(normal=6 * y * (1 - y)), "x1": Outflow(), "y0": Wall(), "y1": Wall()}
        return StaggeredFlow(
            self.cells,
            (self.length, 1.0),
            viscosity=self.viscosity,
            sides=sides,
            solid=solid,
            solid_velocity=None if wall_velocity is None else at_faces(tuple(wall_velocity.split(1, 1)), (False, False)),
            # Only what is solenoidal to rounding has a stream function.
            tolerance=1e-13 if self.dtype == torch.float64 else None,
            dtype=self.dtype,
            device=self.device,
        )

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        word = torch.arange(3)
        a, b = (u.to(self.device) for u in uniform_pairs(seed, samples, [word]))
        low = torch.tensor([0.25 * self.length, 0.35, self.radii[0], -self.speed, -self.speed], dtype=a.dtype, device=self.device)
        high = torch.tensor([0.6 * self.length, 0.65, self.radii[1], self.speed, self.speed], dtype=a.dtype, device=self.device)
        numbers = torch.stack([a[:, 0], b[:, 0], a[:, 1], a[:, 2], b[:, 2]], 1)
        disc = (low + (high - low) * numbers).to(self.dtype)[..., None, None].expand(-1, -1, *self.grid.shape).contiguous()
        free = torch.ones(len(samples), 1, *self.grid.shape, dtype=self.dtype, device=self.device)
        free[..., 0, :] = free[..., 0] = free[..., -1] = 0
        return {"disc": disc, "solid": self._solid(disc), "wall_velocity": disc[:, 3:].clone(), "free": free}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        flow = self.flow(inputs["solid"][:, 0, :-1, :-1] > 0.5, inputs["wall_velocity"][..., :-1, :-1])
        started = tuple(w[:, -1] for w in flow.solve(flow.at_rest(), self.start, 1, dt=self.dt))
        velocity = flow.solve(started, self.interval, self.frames, dt=self.dt)
        p = torch.stack([flow.pressure(tuple(w[:, frame] for w in velocity)) for frame in range(self.frames + 1)], 1)
        return {"psi": potential_of(velocity, flow.spacings, (False, False))[0], "p": _at_vertices(p)}

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: inputs[name] for name in ("free", "solid", "wall_velocity", "disc")}

    def advance(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs a step later."""
        x, y, r, vx, vy = inputs["disc"].split(1, 1)
        vx = torch.where(x < 4 * r, vx.abs(), torch.where(x > 0.7 * self.length, -vx.abs(), vx))
        vy = torch.where(y < 2 * r, vy.abs(), torch.where(y > 1 - 2 * r, -vy.abs(), vy))
        disc = torch.cat([x + self.step * vx, y + self.step * vy, r, vx, vy], 1)
        return {**inputs, "disc": disc, "solid": self._solid(disc), "wall_velocity": torch.cat([vx, vy], 1)}

    def _solid(self, disc: Tensor) -> Tensor:
        """1 in the cells whose centres the disc covers."""
        cells = Grid(self.cells, (self.length, 1.0), location="centre").coordinates(disc.dtype, disc.device)
        inside = (cells - disc[:, :2, :-1, :-1]).square().sum(1, keepdim=True) < disc[:, 2:3, :-1, :-1].square()
        return _at_vertices(inside.to(disc.dtype))


def _at_vertices(u: Tensor) -> Tensor:
    """A field of cells ``(..., x, y)`` with its last values repeated, for as many points as there are vertices."""
    nx, ny = u.shape[-2:]
    rows, columns = (torch.arange(n + 1, device=u.device).clamp(max=n - 1) for n in (nx, ny))
    return u.index_select(-2, rows).index_select(-1, columns)
