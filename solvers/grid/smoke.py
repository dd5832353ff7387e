"""Smoke: a scalar that a flow carries, and that may push the flow in return by its buoyancy (Boussinesq)."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ...errors import DivergedError, InputError
from .faces import Velocity
from .rollouts import State, intervals_between, rollout, uniform_intervals
from .sides import Periodic
from .staggered import StaggeredFlow
from .transport import Transport


class Smoke:
    """Flow with a scalar c: the flow's equations with the force b c in addition, and ∂c/∂t + div(uc) = κΔc.

    Strang's splitting: half a step of :class:`Transport`, a step of the flow with the buoyancy of that, and the other half step. Second
    order, and for the half steps the bounds hold while dt Σ_i |u_i|/h_i + κ dt Σ_i 1/h_i² ≤ 1. Differentiable in everything the flow
    is, and in the initial scalar; the limiter has kinks.

    Good values: ``dt`` below half a cell a step; buoyancy (0, 1) for a plume that rises along y.

    Args:
        flow: see :class:`StaggeredFlow`.
        diffusivity, inflow: see :class:`Transport`.
        buoyancy: b, acceleration of fluid with c = 1 along each axis; none by default.

    Raises:
        InputError: as of :class:`Transport`; a buoyancy that is not one number an axis.
    """

    def __init__(
        self,
        flow: StaggeredFlow,
        *,
        diffusivity: float = 0.0,
        inflow: Mapping[str, float | Tensor] | None = None,
        buoyancy: Sequence[float] | None = None,
    ):
        if buoyancy is not None and len(buoyancy) != len(flow.cells):
            raise InputError(f"Buoyancy has {len(buoyancy)} components; expected {len(flow.cells)}.")
        self.flow, self.buoyancy = flow, buoyancy
        self.transport = Transport(flow, diffusivity=diffusivity, inflow=inflow)

    def force(self, c: Tensor) -> Velocity | None:
        """b c at the faces, where c is the mean of both sides; on a side of the box that of the cell inside."""
        if self.buoyancy is None:
            return None
        dim = len(self.flow.cells)
        parts = []
        for i, (b, n, pair) in enumerate(zip(self.buoyancy, self.flow.cells, self.flow.sides, strict=True)):
            first, last = c.narrow(i - dim, 0, 1), c.narrow(i - dim, n - 1, 1)
            padded = torch.cat([last, c, first] if isinstance(pair[0], Periodic) else [first, c, last], i - dim)
            parts.append(b / 2 * (padded.narrow(i - dim, 0, n + 1) + padded.narrow(i - dim, 1, n + 1)))
        return tuple(parts)

    def solve(
        self, velocity: Velocity, c: Tensor, interval: float, frames: int, *, dt: float, segment: int | None = None
    ) -> tuple[Velocity, Tensor]:
        """Velocities and scalars ``(batch, frames + 1, 1, x, y[, z])`` at the times 0, interval, ..., frames · interval.

        As :meth:`StaggeredFlow.solve`.

        Raises:
            InputError: a wrong shape or dtype, impossible times.
            DivergedError: a step too long for flow or transport, which is looked at once a frame; values that are not finite.
        """
        return self._solve(velocity, c, uniform_intervals(interval, frames), dt, segment)

    def solve_at(
        self, velocity: Velocity, c: Tensor, times: Sequence[float], *, dt: float, segment: int | None = None
    ) -> tuple[Velocity, Tensor]:
        """As :meth:`solve`, at increasing times of which the first is that of the initial state."""
        return self._solve(velocity, c, intervals_between(times), dt, segment)

    def _solve(
        self, velocity: Velocity, c: Tensor, intervals: Sequence[float], dt: float, segment: int | None
    ) -> tuple[Velocity, Tensor]:
        flow, dim = self.flow, len(self.flow.cells)
        flow.check(velocity)
        if c.shape != (len(velocity[0]), 1, *flow.cells) or c.dtype != velocity[0].dtype:
            raise InputError(
                f"The scalar is {c.dtype} {tuple(c.shape)}; expected {velocity[0].dtype} ({len(velocity[0])}, 1, "
                f"{', '.join(map(str, flow.cells))}), as many samples as the velocity."
            )
        if not dt > 0:
            raise InputError(f"Expected a positive dt; got {dt}.")
        start = flow.start(flow.project(velocity), self.force(c))

        def stepper(h: float) -> Callable[[State], State]:
            advance = flow.step(h)

            def step(state: State) -> State:
                *moving, c = state
                c = self.transport(c, tuple(moving[:dim]), h / 2)
                moving = advance(tuple(moving), self.force(c))
                return *moving, self.transport(c, moving[:dim], h / 2)

            return step

        def check(state: State, h: float) -> None:
            flow.check_step(state[:dim], h)
            self.transport.check_step(state[:dim], h / 2)

        states = rollout(stepper, (*start, c), intervals, dt=dt, segment=segment, check=check)
        *moving, c = (torch.stack(parts, 1) for parts in zip(*states, strict=True))
        if not all(bool(torch.isfinite(w[:, -1]).all()) for w in (c, *moving)):
            raise DivergedError(f"The flow left the finite numbers with dt = {dt:.3g}. Use a smaller dt.")
        return tuple(moving[:dim]), c
