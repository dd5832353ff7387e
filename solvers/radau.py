"""Incompressible flow in time by a method of Radau: large steps, each solved by Newton's method."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import DivergedError, InputError
from ..fem.firedrake import firedrake
from .direct import NEWTON
from .flow_scheme import Boundary, Conditions, FlowScheme, unchanged
from .navier_stokes import LU, constant_pressure, convection, measure, stokes
from .problem import solve_or_explain

#: Nodes c and inverse of the matrix A of the method with two stages, [[5/12, −1/12], [3/4, 1/4]].
NODES = (1 / 3, 1.0)
INVERSE = ((3 / 2, 1 / 2), (-9 / 2, 5 / 2))


class RadauIIA(FlowScheme):
    """u_t + (u·∇)u − ν Δu + ∇p = 0, ∇·u = 0 by the two-stage method Radau IIA (Hairer and Wanner, Solving Ordinary Differential
    Equations II, 1996): the equations hold at t + dt/3 and at t + dt, with the time derivative of the parabola through the velocity
    before and those two.

    L-stable, velocities of third and pressures of second order, so that accuracy alone limits the step: at eight steps a period, a wave is
    late by 0.2 % and loses 0.5 % a step. Newton's method solves both stages at once, four fields, by LU factors.

    A guess of the velocity after a step becomes one of the stages by the parabola that begins with the velocity and its rate. Pressures
    enter linearly, so that one iteration forgets their guesses.

    Args:
        tolerance: of a step's residual, in units of that at rest with the step's boundary values; the same whatever the guess is.
    """

    def __init__(
        self, Z: Any, viscosity: Any, conditions: Conditions, boundary_values: Any, closed: bool = False, tolerance: float = 1e-6
    ):
        if not 0 < tolerance < 1:
            raise InputError(f"A step's tolerance is relative, between 0 and 1, not {tolerance!r}.")
        fd = firedrake()
        V, W = Z.sub(0).collapse(), Z * Z
        self.z, self.rate, self.tolerance = fd.Function(Z, name="z"), fd.Function(V, name="u_t"), tolerance
        self._stages, self._before = fd.Function(W), fd.Function(V)
        self._boundary_values, self._boundaries = boundary_values, [fd.Function(V) for _ in NODES]
        self._conditions = [bc for i in (0, 1) for bc in conditions(W.sub(2 * i), self._boundaries[i])]
        self._per_time = fd.Constant(0.0)  # 1/dt

        parts, tests, dx = fd.split(self._stages), fd.TestFunctions(W), measure(Z)
        velocities, pressures = parts[::2], parts[1::2]
        self._residual: Any = 0
        for row, u, p, v, q in zip(INVERSE, velocities, pressures, tests[::2], tests[1::2], strict=True):
            rate = self._per_time * sum(a * (w - self._before) for a, w in zip(row, velocities, strict=True))
            self._residual += (fd.inner(rate + convection(u), v) + stokes(u, p, v, q, viscosity)) * dx
        self.nonlinear_solver = fd.NonlinearVariationalSolver(
            fd.NonlinearVariationalProblem(self._residual, self._stages, self._conditions),
            nullspace=constant_pressure(W) if closed else None,
            solver_parameters=NEWTON | {"snes_linesearch_type": "basic"} | LU,
        )

    def march(
        self, u: Any, start: float, dt: float, steps: int, boundary: Boundary = unchanged, limit: float = np.inf
    ) -> Iterator[float]:
        before, rate = u.copy(deepcopy=True), None
        for n in range(steps):
            t = start + (n + 1) * dt
            try:
                self.step(before, t, dt, boundary, guess=before, rate=rate)
            except DivergedError as error:
                raise DivergedError(f"The step to t = {t:.6g} with dt = {dt:.3g} failed. {error}") from error
            before, rate = self.z.subfunctions[0].copy(deepcopy=True), self.rate
            if not float(np.abs(before.dat.data_ro).max()) <= limit:
                raise DivergedError(f"The velocity blew up at t = {t:.6g} with dt = {dt:.3g}.")
            yield t

    def step(self, before: Any, t: float, dt: float, boundary: Boundary = unchanged, guess: Any = None, rate: Any = None) -> None:
        fd, dt = firedrake(), float(dt)  # of numpy, products with functions would be arrays
        for c, values in zip(NODES, self._boundaries, strict=True):
            boundary(t + (c - 1) * dt)
            values.assign(self._boundary_values)
        self._per_time.assign(1 / dt)
        self._before.assign(before)
        self._stages.assign(0)
        for bc in self._conditions:
            bc.apply(self._stages)
        with fd.assemble(self._residual, bcs=self._conditions, zero_bc_nodes=True).dat.vec_ro as at_rest:
            # Not relative to the first residual, by which good guesses would be asked for more than bad ones.
            self.nonlinear_solver.snes.setTolerances(rtol=0.0, atol=max(self.tolerance * at_rest.norm(), 1e-300), stol=0.0)
        if guess is not None:
            self._guess(guess, dt, rate)
        solve_or_explain(self.nonlinear_solver, "Navier-Stokes")
        first, _, last, pressure = self._stages.subfunctions
        (a, b), u, p = INVERSE[1], *self.z.subfunctions
        self.rate.assign((a * first + b * last - (a + b) * self._before) / dt)
        u.assign(last)
        p.assign(pressure)

    def _guess(self, after: Any, dt: float, rate: Any) -> None:
        """Begin at u + s dt u_t + s² (after − u − dt u_t), with u and u_t before and s from 0 to 1; on a line where u_t is unknown."""
        first, _, last, _ = self._stages.subfunctions
        s, u = NODES[0], self._before
        last.assign(after)
        if rate is None:
            first.assign((1 - s) * u + s * last)
        else:
            first.assign((1 - s**2) * u + s * (1 - s) * dt * rate + s**2 * last)
