"""Incompressible flow in a box with obstacles on a staggered grid (Harlow and Welch, Phys. Fluids 8, 1965)."""

from collections.abc import Mapping, Sequence
from math import ceil

import torch
from torch import Tensor

from ...errors import DivergedError, InputError
from .pressure import BoxPoisson, PressureSolver
from .sides import Outflow, Periodic, Side, Wall, pressure_with_ghosts, with_ghosts_across, with_ghosts_along

#: u normal to the faces across x, ``(batch, 1, nx + 1, ny)``, and across y, ``(batch, 1, nx, ny + 1)``.
Velocity = tuple[Tensor, Tensor]

#: The convex combinations of the third-order Runge-Kutta scheme of Shu and Osher (J. Comput. Phys. 77, 1988): the part of the new stage.
STAGES = (1.0, 1 / 4, 2 / 3)

SIDES = ("x0", "x1", "y0", "y1")


class StaggeredFlow:
    """∂u/∂t + div(u ⊗ u) = −∇p + νΔu + f, div u = 0, density 1, with normal velocities at faces and pressure at centres.

    Second-order central differences that conserve momentum, and energy up to viscosity and time stepping; three explicit stages
    a step, each projected. Along periodic axes the last face is the first. Obstacles are unions of cells, whose faces do not move: a
    staircase, of first order. Differentiable in the initial velocity, in walls' velocities and in the force; the pressure by its adjoint.

    Good values: ``dt`` below h / max|u| and 0.15 h²/ν, whichever is smaller; 20 to 40 cells across an obstacle.

    Args:
        cells: along x and y, at least 4 each.
        lengths: sides of the box.
        viscosity: ν > 0, length²/time.
        sides: what happens at ``"x0", "x1", "y0", "y1"``: :class:`Wall`, :class:`FreeSlip`, :class:`Outflow` or :class:`Periodic`; periodic
            where nothing is said.
        solid: cells of obstacles, boolean ``(x, y)``.
        force: f across x and across y, each broadcasts to its faces.
        tolerance: of the divergence left by conjugate gradients around obstacles, relative to that before each projection;
            by default 1e-9 in double and 1e-5 in single precision. Without obstacles the projection is exact to rounding.
        max_iterations: of conjugate gradients; 6 to 12 are usual, whatever the grid.

    Raises:
        InputError: an impossible grid, sides that do not fit each other, prescribed flow in that has no way out.
    """

    def __init__(
        self,
        cells: Sequence[int],
        lengths: Sequence[float] = (1.0, 1.0),
        *,
        viscosity: float,
        sides: Mapping[str, Side] | None = None,
        solid: Tensor | None = None,
        force: tuple[Tensor, Tensor] | None = None,
        tolerance: float | None = None,
        max_iterations: int = 100,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        if len(cells) != 2 or min(cells) < 4 or len(lengths) != 2 or min(lengths) <= 0 or viscosity <= 0:
            raise InputError(
                f"Expected two axes of 4 cells or more, two positive lengths and a positive viscosity; got {cells}, {lengths}, {viscosity}."
            )
        self.cells, self.viscosity, self.force = tuple(cells), viscosity, force
        nx, ny = self.cells
        self.spacings = tuple(L / n for L, n in zip(lengths, self.cells, strict=True))
        self._like = torch.zeros((), dtype=dtype, device=device)
        self.sides = _pairs(sides or {}, self.cells)
        self._shapes = ((nx + 1, ny), (nx, ny + 1))
        if force is not None:
            self._check_force(force)
        self._set_faces(solid)
        box = BoxPoisson(self.cells, self.spacings, self.sides, dtype, device)
        if box.singular:
            self._require_balance()
        tolerance = tolerance if tolerance is not None else (1e-9 if dtype == torch.float64 else 1e-5)
        fluid = None if solid is None else (~solid).to(self._like)
        self._pressure = PressureSolver(box, lambda p: -self._divergence(self._gradient(p)), fluid, tolerance, max_iterations)

    def _check_force(self, force: tuple[Tensor, Tensor]) -> None:
        for f, shape in zip(force, self._shapes, strict=True):
            if any(n not in (1, m) for n, m in zip(reversed(f.shape), reversed(shape), strict=False)):
                raise InputError(f"A force has shape {tuple(f.shape)}; expected one that broadcasts to its faces, {shape}.")

    def _set_faces(self, solid: Tensor | None) -> None:
        """Which faces move freely, and the velocity of the others."""
        if solid is not None and (tuple(solid.shape) != self.cells or solid.dtype != torch.bool or bool(solid.all())):
            raise InputError(
                f"Obstacles are a boolean tensor of shape {self.cells} with some fluid left; got {solid.dtype} {tuple(solid.shape)}."
            )
        blocked = torch.zeros(self.cells, dtype=torch.bool) if solid is None else solid.cpu()
        self._open, self._prescribed = [], []
        for axis, (shape, pair) in enumerate(zip(self._shapes, self.sides, strict=True)):
            beside = pressure_with_ghosts(blocked.long()[None, None], axis + 2, *pair)[0, 0] != 0
            n = self.cells[axis]
            moves = ~(beside.narrow(axis, 0, n + 1) | beside.narrow(axis, 1, n + 1))
            value = torch.zeros(shape, dtype=self._like.dtype)
            for side, index in zip(pair, (0, n), strict=True):
                if not isinstance(side, Outflow | Periodic):
                    held = moves.select(axis, index).clone()
                    moves.select(axis, index).zero_()
                    if isinstance(side, Wall):
                        normal = torch.as_tensor(side.normal, dtype=value.dtype, device=value.device)
                        value.select(axis, index).copy_(normal.expand(held.shape) * held)
            self._open.append(moves.to(self._like))
            self._prescribed.append(value.to(self._like))

    def _require_balance(self) -> None:
        total = self._divergence((self._prescribed[0][None, None], self._prescribed[1][None, None])).sum()
        size = sum(v.abs().sum() / h for v, h in zip(self._prescribed, self.spacings, strict=True))
        if bool(total.abs() > 1e-5 * size):
            raise InputError("The prescribed normal velocities let in more than they let out, or less. Make one side an Outflow.")

    def at_rest(self, batch: int = 1) -> Velocity:
        """Zero velocity, except at faces where it is prescribed; not solenoidal if some is not zero, which :meth:`solve` mends."""
        u, v = (value.expand(batch, 1, *value.shape).clone() for value in self._prescribed)
        return u, v

    def centred(self, velocity: Velocity) -> Tensor:
        """Both components at the centres of the cells, ``(..., 2, x, y)``."""
        u, v = velocity
        return torch.cat([(u[..., 1:, :] + u[..., :-1, :]) / 2, (v[..., 1:] + v[..., :-1]) / 2], -3)

    def divergence(self, velocity: Velocity) -> Tensor:
        """The net flow out of each cell by its volume, ``(..., 1, x, y)``."""
        return self._divergence(velocity)

    def project(self, velocity: Velocity) -> Velocity:
        """The nearest solenoidal velocity with the prescribed values at the boundary and in obstacles."""
        u, v = (o * w + value for o, w, value in zip(self._open, velocity, self._prescribed, strict=True))
        gx, gy = self._gradient(self._pressure(-self._divergence((u, v))))
        return u - gx, v - gy

    def rate(self, velocity: Velocity) -> Velocity:
        """νΔu − div(u ⊗ u) + f at the faces, before the pressure acts; zero at faces that do not move freely."""
        u, v = velocity
        parts = (self._momentum(u, v, 0), self._momentum(v, u, 1))
        if self.force is not None:
            parts = tuple(part + f.to(part) for part, f in zip(parts, self.force, strict=True))
        return parts[0] * self._open[0], parts[1] * self._open[1]

    def solve(self, velocity: Velocity, interval: float, frames: int, *, dt: float) -> Velocity:
        """Velocities at the times 0, interval, ..., frames · interval, ``(batch, frames + 1, 1, nx + 1, ny)`` and the other's shape.

        The first frame is the projection of the initial velocity. Each interval takes equal steps, the fewest no longer than ``dt``.
        Around obstacles, conjugate gradients wait for a GPU; without, nothing does before the end.

        Raises:
            InputError: a wrong shape or dtype, impossible times.
            DivergedError: values that are not finite at the end, or a pressure that was not found.
        """
        self._check(velocity)
        if interval <= 0 or dt <= 0 or frames < 1:
            raise InputError(f"Expected a positive interval and dt, and a frame or more; got {interval}, {dt} and {frames}.")
        steps = ceil(interval / dt * (1 - 1e-12))
        state = self.project(velocity)
        states = [state]
        for _ in range(frames):
            for _ in range(steps):
                state = self._step(state, interval / steps)
            states.append(state)
        u, v = (torch.stack(parts, 1) for parts in zip(*states, strict=True))
        if not bool(torch.isfinite(u[:, -1]).all()):
            raise DivergedError(f"The flow left the finite numbers with dt = {interval / steps:.3g}. Use a smaller dt.")
        return u, v

    def _step(self, start: Velocity, dt: float) -> Velocity:
        stage = start
        for new in STAGES:
            rate = self.rate(stage)
            u, v = (w0 + new * (w - w0 + dt * k) for w0, w, k in zip(start, stage, rate, strict=True))
            stage = self.project((u, v))
        return stage

    def _momentum(self, u: Tensor, v: Tensor, axis: int) -> Tensor:
        """The rate of the component ``u`` along ``axis``; ``v`` is the other component."""
        x, y = axis + 2, 3 - axis
        h, k = self.spacings[axis], self.spacings[1 - axis]
        along, across = self.sides[axis], self.sides[1 - axis]
        ux, uy = with_ghosts_across(u, x, *along), with_ghosts_along(u, y, *across)
        at_centres, at_corners = _midpoints(ux, x), _midpoints(uy, y)
        v_corners = _midpoints(with_ghosts_along(v, x, *along), x)
        convection = (at_centres**2).diff(dim=x) / h + (at_corners * v_corners).diff(dim=y) / k
        return self.viscosity * (ux.diff(n=2, dim=x) / h**2 + uy.diff(n=2, dim=y) / k**2) - convection

    def _gradient(self, p: Tensor) -> Velocity:
        """Pressure differences at the faces that move freely."""
        parts = [
            pressure_with_ghosts(p, axis + 2, *self.sides[axis]).diff(dim=axis + 2) * (self._open[axis] / self.spacings[axis])
            for axis in (0, 1)
        ]
        return parts[0], parts[1]

    def _divergence(self, velocity: Velocity) -> Tensor:
        u, v = velocity
        return u.diff(dim=-2) / self.spacings[0] + v.diff(dim=-1) / self.spacings[1]

    def _check(self, velocity: Velocity) -> None:
        shapes = [(1, *value.shape) for value in self._prescribed]
        for w, shape in zip(velocity, shapes, strict=True):
            if w.dim() != 4 or tuple(w.shape[1:]) != shape or w.dtype != self._like.dtype or len(w) != len(velocity[0]):
                raise InputError(
                    f"A component of the velocity is {w.dtype} {tuple(w.shape)}; expected {self._like.dtype} (batch, "
                    f"{', '.join(map(str, shape))})."
                )
        for axis, w in enumerate(velocity):
            ends = w.select(axis + 2, 0), w.select(axis + 2, -1)
            if isinstance(self.sides[axis][0], Periodic) and not torch.equal(*ends):
                raise InputError(
                    f"The {'xy'[axis]}-axis is periodic: the velocity at its last faces must equal that at its first."
                )


def _midpoints(w: Tensor, axis: int) -> Tensor:
    n = w.shape[axis] - 1
    return (w.narrow(axis, 0, n) + w.narrow(axis, 1, n)) / 2


def _pairs(sides: Mapping[str, Side], cells: Sequence[int]) -> tuple[tuple[Side, Side], tuple[Side, Side]]:
    if unknown := set(sides) - set(SIDES):
        raise InputError(f"A box has the sides {', '.join(SIDES)}, not {', '.join(sorted(map(str, unknown)))}.")
    x0, x1, y0, y1 = (sides.get(name, Periodic()) for name in SIDES)
    for (low, high), axis, along in (((x0, x1), "x", cells[1]), ((y0, y1), "y", cells[0])):
        if isinstance(low, Periodic) != isinstance(high, Periodic):
            raise InputError(f"Only one of {axis}0 and {axis}1 is periodic. Name both of them in sides, or neither.")
        for side in (low, high):
            values = (side.normal, side.tangential) if isinstance(side, Wall) else ()
            if any(isinstance(value, Tensor) and tuple(value.shape) not in ((), (along,)) for value in values):
                raise InputError(
                    f"Velocities of the walls across {axis} are numbers or tensors of {along} values, one a cell along the wall."
                )
    return (x0, x1), (y0, y1)
