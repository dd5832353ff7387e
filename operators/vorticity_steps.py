"""Flow in a closed box by learned steps of its vorticity: transport is local, so that a small stencil network knows all of it."""

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem.uniform_grid import Grid
from ..solvers.grid.fast_diagonalization import DirichletAxis, FastDiagonalization
from .encoders import Fields
from .operator import Operator

_AT_ONCE = 64  # trajectories whose scales are computed


class VorticitySteps(Operator):
    """From the potential ψ of a steady force f = curl ψ to the stream functions s of the flow from rest, in a rectangle with slip.

    Along walls with slip, the vorticity ω = −Δs vanishes, as s does. A step is

        ω ← ω + dt (K z + N(z)),   z = (s, u, v, ω, u·∇ω, Δω, −Δψ),

    with a 3-wide convolution K, enough for the vorticity's equation by Euler's method, and a network N for what that misses in a step as
    long. Derivatives are central differences, s comes from ω by sine transforms. The weights see the flow around a point and nothing else:
    they are learned from few trajectories and hold for forces that are unlike those. Gradients flow through all steps.

    ``{psi: (batch, 1, x, y)} -> {stream: (batch, frames, 1, x, y)}``, at the vertices, at the times T/frames, 2T/frames, ..., T.

    Good values: steps that carry the flow by a cell or two, and a :class:`DilatedResNet` of width 16 with one block.

    Args:
        grid: vertices of the cells, those on the walls included.
        network: N, ``(batch, 7, x, y) -> (batch, 1, x, y)``.
        frames: their number.
        steps: from frame to frame.
        duration: T.
        potential, stream: names of the fields.

    Raises:
        InputError: a grid that is none of a rectangle's vertices, no frames or steps; in use, a field that is missing or of another shape.
    """

    scales: Tensor
    inverse: Tensor

    def __init__(
        self,
        grid: Grid,
        network: nn.Module,
        frames: int,
        steps: int = 2,
        duration: float = 1.0,
        potential: str = "psi",
        stream: str = "stream",
    ):
        super().__init__()
        if grid.dim != 2 or any(grid.periodic) or grid.location != "vertex" or min(grid.shape) < 3:
            raise InputError(f"The flow is computed at the vertices of a rectangle with walls, not on {grid}.")
        if min(frames, steps) < 1 or not duration > 0:
            raise InputError(f"Expected frames, steps and a positive duration; got {frames}, {steps} and {duration}.")
        self.grid, self.network, self.frames, self.steps, self.duration = grid, network, frames, steps, duration
        self.potential, self.stream = potential, stream
        self.linear = nn.Conv2d(7, 1, 3, padding=1)
        axes = [DirichletAxis(n - 2, h) for n, h in zip(grid.shape, grid.spacings, strict=True)]
        self.laplacian = FastDiagonalization(axes, torch.float32)
        self.register_buffer("inverse", self.laplacian.tabulated(torch.reciprocal, torch.float32), persistent=False)
        #: Root mean squares of what a step sees; the last is also the scale of the vorticity's rate.
        self.register_buffer("scales", torch.ones(7, 1, 1))

    @torch.no_grad()
    def set_scales(self, fields: Fields) -> None:
        """Take the scales of s, u, ω and their derivatives from all frames of sample trajectories, and that of the force."""
        s, psi = self._inside(fields, self.stream, self.frames, 1), self._inside(fields, self.potential, 1)
        total = torch.zeros(7, dtype=torch.float64, device=s.device)
        for some, forces in zip(s.split(_AT_ONCE), psi.split(_AT_ONCE), strict=True):
            force = self._vorticity(forces.double())[:, None].expand(*some.shape)
            total += self._seen(self._vorticity(some.double()), force).square().mean((1, 3, 4)).sum(0)
        size = (total / len(s)).sqrt()
        size[1:3] = size[1:3].square().mean().sqrt()  # one scale for both velocities
        self.scales.copy_(torch.where(size > 0, size, 1.0)[:, None, None])

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        force = self._vorticity(self._inside(fields, self.potential, 1))
        w, dt, frames = torch.zeros_like(force), self.duration / (self.frames * self.steps), []
        for number in range(1, self.frames * self.steps + 1):
            z = self._seen(w, force) / self.scales
            w = torch.add(w, self.scales[-1] * (self.linear(z) + self.network(z)), alpha=dt)
            if number % self.steps == 0:
                frames.append(_with_walls(self._stream(w)))
        return {self.stream: torch.stack(frames, 1)}

    def _seen(self, w: Tensor, force: Tensor) -> Tensor:
        """z ``(..., 7, x, y)`` inside, of vorticities and curls of the force ``(..., 1, x, y)``."""
        s = self._stream(w)
        u, v = self._slope(s, -1), -self._slope(s, -2)
        transport = u * self._slope(w, -2) + v * self._slope(w, -1)
        return torch.cat([s, u, v, w, transport, -self._vorticity(w), force], -3)

    def _vorticity(self, s: Tensor) -> Tensor:
        """−Δs inside, of values inside; zero on the walls."""
        hx, hy = self.grid.spacings
        padded = _with_walls(s)
        across = padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1] - 2 * s
        up = padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2] - 2 * s
        return -across / hx**2 - up / hy**2

    def _stream(self, w: Tensor) -> Tensor:
        """(−Δ)⁻¹ω inside."""
        return self.laplacian(w, self.inverse.to(w))

    def _slope(self, w: Tensor, axis: int) -> Tensor:
        n, h = w.shape[axis], self.grid.spacings[axis]
        padded = nn.functional.pad(w, (0, 0, 1, 1) if axis == -2 else (1, 1))
        return (padded.narrow(axis, 2, n) - padded.narrow(axis, 0, n)) / (2 * h)

    def _inside(self, fields: Fields, name: str, *leading: int) -> Tensor:
        if name not in fields:
            raise InputError(f"The operator needs the field {name!r}, but was given {', '.join(map(repr, fields)) or 'none'}.")
        shape = *leading, *self.grid.shape
        if tuple(fields[name].shape[1:]) != shape:
            raise InputError(
                f"Field {name!r} has shape {tuple(fields[name].shape)}; expected (batch, {', '.join(map(str, shape))})."
            )
        return fields[name][..., 1:-1, 1:-1]


def _with_walls(w: Tensor) -> Tensor:
    """Values inside with zeros on the walls."""
    return nn.functional.pad(w, (1, 1, 1, 1))
