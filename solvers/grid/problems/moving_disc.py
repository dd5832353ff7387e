"""A channel with a disc that moves, for training on scenes that never end."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ...quantities import require_positive
from ..counter_random import uniform_pairs
from ..faces import Velocity
from ..potentials import at_faces, potential_of
from ..problem import GridProblem
from ..sides import Outflow, Wall
from ..staggered import StaggeredFlow


class MovingDisc(GridProblem):
    """Flow through a channel of height 1 past a disc that moves through it, and turns back before it meets the walls.

    All fields are at the vertices, ``(batch, time, channel, nx + 1, ny + 1)``; those of cells repeat the last cells there. The state is the
    stream function ``psi``, exact on the inflow and the walls, where the input ``free`` is 0. Inputs of each frame are ``solid``, 1 in the
    disc, its velocity ``wall_velocity`` of two channels, and ``disc`` with its centre, radius and velocity in five channels, the same
    at all points. The flow starts around the disc at its first place, but with its velocity at the surface, so that frames show no
    impulsive start. Then the disc moves from frame to frame, and between frames the flow is that around its new place: its cells are a
    staircase, and those that it leaves go on with its velocity. :meth:`advance` moves it for a pool of states.

    Good values: the defaults; Reynolds numbers of 24 to 48 by the disc's diameter and the mean inflow.

    Args:
        cells: along x and y.
        length: of the channel.
        viscosity: ν.
        radii: the smallest and the largest.
        speed: the disc's largest velocity along each axis.
        start: time from an impulsive start to the first frame.
        interval, frames: the frames are at the times start, start + interval, ...
        dt: the longest time step of the solver.

    Raises:
        InputError: radii, speed or times are out of their ranges.
    """

    inputs = ("psi", "free", "solid", "wall_velocity", "disc")
    outputs = ("psi",)

    def __init__(
        self,
        cells: Sequence[int] = (64, 32),
        length: float = 2.0,
        viscosity: float = 5e-3,
        radii: tuple[float, float] = (0.06, 0.12),
        speed: float = 0.5,
        start: float = 0.1,
        interval: float = 0.01,
        frames: int = 47,
        dt: float = 0.01,
    ):
        require_positive(viscosity=viscosity)
        if not 0 < radii[0] <= radii[1] < 0.2 or speed < 0 or not interval > 0 or not start > 0:
            raise InputError(
                f"Expected radii below 0.2 in a channel of height 1, a speed of 0 or more, and positive times; got {radii}, {speed}, "
                f"{interval} and {start}."
            )
        self.cells, self.length, self.viscosity, self.radii = tuple(cells), length, viscosity, tuple(radii)
        self.speed, self.start, self.interval, self.frames, self.dt = speed, start, interval, frames, dt
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
        return {**self._scene(disc), "free": free}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        flow = self._around(inputs)
        velocity = tuple(w[:, -1] for w in flow.solve(flow.at_rest(), self.start, 1, dt=self.dt))
        frames, scenes = self.follow(velocity, inputs["disc"])
        return {"psi": potential_of(frames, flow.spacings, (False, False))[0], **scenes}

    def follow(self, velocity: Velocity, disc: Tensor) -> tuple[Velocity, dict[str, Tensor]]:
        """Velocities of all frames from the first, ``(batch, 1, faces)``, and the inputs, from the first disc ``(batch, 5, x, y)``."""
        flows, scenes = [velocity], [self._scene(disc)]
        for _ in range(self.frames):
            scenes.append(self.advance(scenes[-1]))
            flows.append(tuple(w[:, -1] for w in self._around(scenes[-1]).solve(flows[-1], self.interval, 1, dt=self.dt)))
        frames = tuple(torch.stack(parts, 1) for parts in zip(*flows, strict=True))
        return frames, {name: torch.stack([scene[name] for scene in scenes], 1) for name in scenes[0]}

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"free": inputs["free"]}

    def advance(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs a frame later, or, with an axis of time, the frames after those given."""
        disc = inputs["disc"]
        if disc.dim() == 4:
            return {**inputs, **self._scene(self._moved(disc))}
        frames = [disc[:, -1]]
        for _ in range(disc.shape[1]):
            frames.append(self._moved(frames[-1]))
        return {**inputs, **self._scene(torch.stack(frames[1:], 1))}

    def _around(self, inputs: Mapping[str, Tensor]) -> StaggeredFlow:
        return self.flow(inputs["solid"][:, 0, :-1, :-1] > 0.5, inputs["wall_velocity"][..., :-1, :-1])

    def _moved(self, disc: Tensor) -> Tensor:
        """The disc ``(batch, 5, x, y)`` a frame later; its velocity turns when its centre is a diameter from the walls."""
        x, y, r, vx, vy = disc.split(1, 1)
        vx = torch.where(x < 4 * r, vx.abs(), torch.where(x > 0.7 * self.length, -vx.abs(), vx))
        vy = torch.where(y < 2 * r, vy.abs(), torch.where(y > 1 - 2 * r, -vy.abs(), vy))
        return torch.cat([x + self.interval * vx, y + self.interval * vy, r, vx, vy], 1)

    def _scene(self, disc: Tensor) -> dict[str, Tensor]:
        """What networks and losses are told of discs ``(..., 5, x, y)``."""
        cells = Grid(self.cells, (self.length, 1.0), location="centre").coordinates(disc.dtype, disc.device)
        centre, radius = disc[..., :2, :-1, :-1], disc[..., 2:3, :-1, :-1]
        inside = (cells - centre).square().sum(-3, keepdim=True) < radius.square()
        return {"disc": disc, "solid": _at_vertices(inside.to(disc.dtype)), "wall_velocity": disc[..., 3:, :, :].clone()}


def _at_vertices(u: Tensor) -> Tensor:
    """A field of cells ``(..., x, y)`` with its last values repeated, for as many points as there are vertices."""
    nx, ny = u.shape[-2:]
    rows, columns = (torch.arange(n + 1, device=u.device).clamp(max=n - 1) for n in (nx, ny))
    return u.index_select(-2, rows).index_select(-1, columns)
