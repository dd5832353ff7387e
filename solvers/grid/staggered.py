"""Incompressible flow in a box with obstacles on a staggered grid (Harlow and Welch, Phys. Fluids 8, 1965)."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from ...errors import DivergedError, InputError
from .faces import Velocity, checked_solid, convective_rate, faces, faces_of, shapes_of_faces
from .ghosts import midpoints
from .momentum import MomentumFluxes
from .projection import Projection
from .rollouts import State, intervals_between, rollout, uniform_intervals
from .sides import Periodic, Side, pairs_of_sides
from .staggered_steps import ExplicitStep, Force, ImplicitViscosityStep


class StaggeredFlow:
    """∂u/∂t + div(u ⊗ u) = −∇p + νΔu + f, div u = 0, density 1, in two or three dimensions, velocities at faces, pressure at centres.

    Second-order central differences that conserve momentum, and energy up to viscosity and time stepping; three stages a step, each
    projected, explicit of third order or with implicit viscosity of second. Along periodic axes the last face is the first. Obstacles are
    unions of cells, whose faces do not move, or move as they are told: a staircase, of first order. Differentiable in the
    initial velocity, in the velocities of walls and obstacles and in the force; the pressure by its adjoint.

    Good values: ``dt`` below h / max|u| and, with explicit viscosity, 0.3 h²/ν in two dimensions, 0.2 in three; 20 to 40 cells across an
    obstacle.

    Args:
        cells: along x, y and maybe z, at least 4 each.
        lengths: sides of the box; 1 each by default.
        viscosity: ν > 0, length²/time; a number, or one for each sample, ``(batch,)``.
        sides: what happens at ``"x0", "x1", "y0", "y1"`` (``"z0", "z1"``): :class:`Wall`, :class:`FreeSlip`, :class:`Outflow` or
            :class:`Periodic`; periodic where nothing is said.
        solid: cells of obstacles, boolean ``(x, y[, z])``, or ``(batch, x, y[, z])`` if every sample has its own.
        solid_velocity: what the faces of obstacles move with, one value or tensor a component, which broadcasts to ``(batch, 1, faces)``;
            at rest by default. See :func:`rigid_motion`.
        force: f across each axis, each broadcasts to its faces.
        implicit_viscosity: Crank-Nicolson for νΔu, where the explicit limit on ``dt`` is too short.
        tolerance: of conjugate gradients around obstacles, relative to the right-hand side; for the pressure, of the divergence left
            relative to that before each projection. By default 1e-9 in double and 1e-5 in single precision. Without obstacles all
            solves are direct, exact to rounding.
        max_iterations: of conjugate gradients; 6 to 12 are usual, whatever the grid.

    Raises:
        InputError: an impossible grid, sides that do not fit each other, prescribed flow in that has no way out.
    """

    def __init__(
        self,
        cells: Sequence[int],
        lengths: Sequence[float] | None = None,
        *,
        viscosity: float | Tensor,
        sides: Mapping[str, Side] | None = None,
        solid: Tensor | None = None,
        solid_velocity: Sequence[Tensor | float] | None = None,
        force: Sequence[Tensor] | None = None,
        implicit_viscosity: bool = False,
        tolerance: float | None = None,
        max_iterations: int = 100,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        self._arguments: dict[str, Any] = {
            "cells": cells,
            "lengths": lengths,
            "viscosity": viscosity,
            "sides": sides,
            "solid": solid,
            "solid_velocity": solid_velocity,
            "force": force,
            "implicit_viscosity": implicit_viscosity,
            "tolerance": tolerance,
            "max_iterations": max_iterations,
            "dtype": dtype,
        }
        lengths = (1.0,) * len(cells) if lengths is None else lengths
        if len(cells) not in (2, 3) or min(cells) < 4 or len(lengths) != len(cells) or min(lengths) <= 0:
            raise InputError(
                f"Expected two or three axes of 4 cells or more and as many positive lengths; got {cells} and {lengths}."
            )
        self.cells = tuple(cells)
        self.spacings = tuple(L / n for L, n in zip(lengths, self.cells, strict=True))
        self._like = torch.zeros((), dtype=dtype, device=device)
        self.viscosity = self._checked_viscosity(viscosity, implicit_viscosity)
        self.sides = pairs_of_sides(sides or {}, self.cells)
        self.force = force
        for parts, what in ((force, "A force"), (solid_velocity, "The velocity of an obstacle")):
            self._check_components(parts, what)
        if solid_velocity is not None and solid is None:
            raise InputError("There is a velocity of obstacles, but no obstacle. Give their cells as solid.")
        self.tolerance = tolerance if tolerance is not None else (1e-9 if dtype == torch.float64 else 1e-5)
        self.max_iterations = max_iterations
        self.solid = checked_solid(solid, self.cells, device)
        self.faces = faces(self.cells, self.sides, self.solid, solid_velocity, self._like)
        self.fluxes = MomentumFluxes(self.cells, self.spacings, self.sides, self.viscosity, self.faces.solid, self._like)
        self.projection = Projection(
            self.cells, self.spacings, self.sides, self.faces, self.solid, self.tolerance, self.max_iterations
        )
        self._scheme = ImplicitViscosityStep if implicit_viscosity else ExplicitStep

    @property
    def device(self) -> torch.device:
        return self._like.device

    def on(self, device: torch.device | str) -> "StaggeredFlow":
        """The same flow on a device; itself if it is there."""
        return self if torch.device(device) == self.device else StaggeredFlow(**self._arguments, device=device)

    def at_rest(self, batch: int = 1) -> Velocity:
        """Zero velocity, except at faces where it is prescribed; not solenoidal if some is not zero, which :meth:`solve` mends."""
        batch = max(batch, *(len(v) for v in self.faces.prescribed))
        return tuple(v.expand(batch, *v.shape[1:]).clone() for v in self.faces.prescribed)

    def centred(self, velocity: Velocity) -> Tensor:
        """All components at the centres of the cells, ``(..., 2 or 3, x, y[, z])``."""
        dim = len(self.cells)
        return torch.cat([midpoints(w, i - dim) for i, w in enumerate(velocity)], -dim - 1)

    def divergence(self, velocity: Velocity) -> Tensor:
        """The net flow out of each cell by its volume, ``(..., 1, x, y[, z])``."""
        return self.projection.divergence(velocity)

    def project(self, velocity: Velocity) -> Velocity:
        """The nearest solenoidal velocity with the prescribed values at the boundary and in obstacles."""
        return self.projection(velocity)

    def rate(self, velocity: Velocity, force: Force = None) -> Velocity:
        """νΔu − div(u ⊗ u) + f at the faces, before the pressure acts; zero at faces that do not move freely.

        ``force`` acts in addition to the flow's own.
        """
        rates = self.fluxes(velocity)
        for f in (self.force, force):
            if f is not None:
                rates = [k + part.to(k) for k, part in zip(rates, f, strict=True)]
        if self.projection.all_open:
            return tuple(rates)
        return tuple(k * o for k, o in zip(rates, self.faces.open, strict=True))

    def pressure(self, velocity: Velocity) -> Tensor:
        """The pressure of a solenoidal velocity at the centres, with which it stays solenoidal; up to a constant without outflow."""
        return self.projection.potential(self.rate(velocity))

    def force_on(self, velocity: Velocity, body: Tensor | None = None) -> Tensor:
        """Force of the fluid on obstacles, ``(batch, 2 or 3)``: drag, lift and side force, for density 1 (per unit depth in 2D).

        It is the momentum that the fluid loses to the faces of the obstacles per unit time, by the discrete scheme's own fluxes and
        pressure; so the discrete momentum budget closes to the tolerance of the pressure.

        Args:
            velocity: solenoidal, as :meth:`solve` returns it, ``(batch, 1, faces)``.
            body: the cells that count, boolean, in the shape of ``solid``; all obstacles by default. A face between two bodies counts
                for both.

        Raises:
            InputError: there are no obstacles, or ``body`` is no part of them.
        """
        if self.solid is None:
            raise InputError("There is no obstacle to have a force on. Give its cells as solid.")
        cells = self.solid if body is None else checked_solid(body, self.cells, self._like.device)
        if cells is None or bool((cells & ~self.solid).any()):
            raise InputError("The body has cells that are no obstacle.")
        self.check(velocity)
        differences = self.projection.differences(self.pressure(velocity))
        volume = prod(self.spacings)
        parts = []
        for i, (rate, g) in enumerate(zip(self.fluxes(velocity), differences, strict=True)):
            n = self.cells[i]
            counted = faces_of(cells, i, self.sides[i])
            inside = slice(0, n) if isinstance(self.sides[i][0], Periodic) else slice(1, n)
            index = (slice(None), slice(None), *[slice(None)] * i, inside)
            parts.append(volume * torch.where(counted, rate - g / self.spacings[i], 0.0)[index].flatten(1).sum(1))
        return torch.stack(parts, 1)

    def solve(self, velocity: Velocity, interval: float, frames: int, *, dt: float, segment: int | None = None) -> Velocity:
        """Velocities at the times 0, interval, ..., frames · interval: for each component ``(batch, frames + 1, 1, faces)``.

        The first frame is the projection of the initial velocity. Each interval takes equal steps, the fewest no longer than ``dt``.
        With gradients, ``segment`` steps at a time are stored (:func:`~thalweg.solvers.grid.rollouts.rollout`). Around obstacles,
        conjugate gradients wait for a GPU; without, nothing does within an interval.

        Raises:
            InputError: a wrong shape or dtype, impossible times.
            DivergedError: a step too long for viscosity or for the velocity, which is looked at once a frame; values that are not finite
                at the end; a pressure that was not found.
        """
        return self._solve(velocity, uniform_intervals(interval, frames), dt, segment)

    def solve_at(self, velocity: Velocity, times: Sequence[float], *, dt: float, segment: int | None = None) -> Velocity:
        """As :meth:`solve`, at increasing times of which the first is that of the initial velocity."""
        return self._solve(velocity, intervals_between(times), dt, segment)

    def start(self, velocity: Velocity, force: Force = None) -> State:
        """The state of a solenoidal velocity that :meth:`step` advances: its components, and the pressure if viscosity is implicit."""
        return self._scheme.start(self, velocity, force)

    def step(self, dt: float) -> ExplicitStep | ImplicitViscosityStep:
        """The step of length ``dt`` from :meth:`start`'s states, for those who couple something else to the flow, or compile it.

        Without obstacles it is one graph: ``torch.compile(flow.step(dt), dynamic=False)`` saves a third of the time or more.

        Raises:
            DivergedError: explicit viscosity is not stable with it.
        """
        return self._scheme(self, dt)

    def check_step(self, velocity: Velocity, dt: float) -> None:
        """Raises DivergedError if convection by this velocity is not stable with steps of ``dt``, or if the velocity is not finite."""
        rate = self.convective_rate(velocity)
        if not dt * rate <= self._scheme.CONVECTION:  # true for NaN, too
            raise DivergedError(
                f"Steps of {dt:.3g} are too long for this velocity: convection is stable up to {self._scheme.CONVECTION / rate:.3g}. Use a "
                "smaller dt."
            )

    def convective_rate(self, velocity: Velocity) -> float:
        """The largest of all cells' Σ_i |u_i| / h_i, |u_i| the mean of both faces: times dt it is the Courant number."""
        return convective_rate(velocity, self.spacings)

    def _solve(self, velocity: Velocity, intervals: Sequence[float], dt: float, segment: int | None) -> Velocity:
        self.check(velocity)
        dim = len(self.cells)
        if not dt > 0:
            raise InputError(f"Expected a positive dt; got {dt}.")
        start = self.start(self.project(velocity))

        def stepper(h: float) -> Callable[[State], State]:
            return self.step(h)

        states = rollout(
            stepper, start, intervals, dt=dt, segment=segment, check=lambda state, h: self.check_step(state[:dim], h)
        )
        result = tuple(torch.stack([state[i] for state in states], 1) for i in range(dim))
        if not all(bool(torch.isfinite(w[:, -1]).all()) for w in result):
            raise DivergedError(f"The flow left the finite numbers with dt = {dt:.3g}. Use a smaller dt.")
        return result

    def _checked_viscosity(self, viscosity: float | Tensor, implicit: bool) -> float | Tensor:
        nu = torch.as_tensor(viscosity, dtype=self._like.dtype, device=self._like.device)
        if nu.dim() > 1 or not bool((nu > 0).all()):
            raise InputError(f"Viscosity must be positive, a number or one for each sample; got {viscosity}.")
        if implicit and nu.requires_grad:
            raise InputError("Gradients in the viscosity need explicit viscosity; implicit_viscosity has none.")
        if not isinstance(viscosity, Tensor):
            return viscosity
        return nu.reshape(-1, *[1] * (len(self.cells) + 1))

    def _check_components(self, parts: Sequence[Tensor | float] | None, what: str) -> None:
        if parts is None:
            return
        shapes = shapes_of_faces(self.cells)
        if len(parts) != len(shapes):
            raise InputError(f"{what} has {len(parts)} components; expected {len(shapes)}.")
        for part, shape in zip(parts, shapes, strict=True):
            given = tuple(part.shape) if isinstance(part, Tensor) else ()
            if any(n not in (1, m) for n, m in zip(reversed(given), reversed(shape), strict=False)):
                raise InputError(f"{what} has shape {given}; expected one that broadcasts to its faces, {shape}.")

    def check(self, velocity: Velocity) -> None:
        """Raises InputError if this is no velocity of the flow: shapes, dtype, number of samples, periodic ends."""
        if len(velocity) != len(self.cells):
            raise InputError(f"The velocity has {len(velocity)} components; expected {len(self.cells)}.")
        batches = {len(v) for v in self.faces.prescribed if len(v) > 1}
        if isinstance(self.viscosity, Tensor) and len(self.viscosity) > 1:
            batches.add(len(self.viscosity))
        for w, shape in zip(velocity, shapes_of_faces(self.cells), strict=True):
            if w.dim() != len(shape) + 2 or tuple(w.shape[1:]) != (1, *shape) or w.dtype != self._like.dtype:
                raise InputError(
                    f"A component of the velocity is {w.dtype} {tuple(w.shape)}; expected {self._like.dtype} (batch, 1, "
                    f"{', '.join(map(str, shape))})."
                )
            if len(w) != len(velocity[0]) or batches - {len(w)}:
                raise InputError(
                    f"The velocity has {len(w)} samples, its first component {len(velocity[0])}"
                    + (f", obstacles, sides or viscosity {', '.join(map(str, batches))}." if batches else ".")
                )
        for i, w in enumerate(velocity):
            ends = w.select(i + 2, 0), w.select(i + 2, -1)
            if isinstance(self.sides[i][0], Periodic) and not torch.equal(*ends):
                raise InputError(f"The {'xyz'[i]}-axis is periodic: the velocity at its last faces must equal that at its first.")
