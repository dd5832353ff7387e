"""Incompressible flow in time: second-order backward differences with extrapolated convection, one factorisation for all steps."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import DivergedError
from ..fem.firedrake import firedrake
from .flow_scheme import Boundary, Conditions, FlowScheme, unchanged
from .interruption import finished_first
from .navier_stokes import LU, constant_pressure, convection, measure, stokes


class BDF2(FlowScheme):
    """u_t + (u·∇)u − ν Δu + ∇p = 0, ∇·u = 0, from t to t + dt by SBDF2 (Ascher, Ruuth and Wetton, SIAM J. Numer. Anal. 32, 1995):

        (3/2 uⁿ⁺¹ − 2 uⁿ + 1/2 uⁿ⁻¹) / dt − ν Δuⁿ⁺¹ + ∇pⁿ⁺¹ = −(w·∇)w,   w = 2uⁿ − uⁿ⁻¹,   ∇·uⁿ⁺¹ = 0.

    The matrix of a step does not change, so it is factorised once and a step costs one assembly and one back substitution. The
    first step is an Euler step, which leaves the order at two. Convection is explicit: stable for max|u| dt / h up to about 0.5,
    h the distance of velocity nodes; beyond, the velocity blows up, which :meth:`march` notices.
    """

    def __init__(self, Z: Any, viscosity: Any, conditions: Conditions, boundary_values: Any, closed: bool = False):
        fd = firedrake()
        V = Z.sub(0).collapse()
        self.z, self.rate = fd.Function(Z, name="z"), fd.Function(V, name="u_t")
        self._old, self._older, self._history, self._w = (fd.Function(V) for _ in range(4))
        self._shift = fd.Constant(0.0)  # the weight of the new velocity in its rate
        u, p = fd.TrialFunctions(Z)
        v, q = fd.TestFunctions(Z)
        dx = measure(Z)
        a = (self._shift * fd.inner(u, v) + stokes(u, p, v, q, viscosity)) * dx
        L = -fd.inner(self._history + convection(self._w), v) * dx
        problem = fd.LinearVariationalProblem(a, L, self.z, bcs=conditions(Z.sub(0), boundary_values), constant_jacobian=True)
        nullspace = constant_pressure(Z) if closed else None
        self._solver = fd.LinearVariationalSolver(problem, nullspace=nullspace, solver_parameters=LU)

    def march(
        self, u: Any, start: float, dt: float, steps: int, boundary: Boundary = unchanged, limit: float = np.inf
    ) -> Iterator[float]:
        fd = firedrake()
        self.z.assign(0)
        self._old.assign(u)
        self._older.assign(u)
        for n in range(steps):
            new, old, older = (1.5, -2.0, 0.5) if n else (1.0, -1.0, 0.0)
            if n < 2:
                self._shift.assign(new / dt)
                self._solver.invalidate_jacobian()
            u_old, u_older = self._old.dat.data_ro, self._older.dat.data_ro
            self._history.dat.data_wo[...] = (old * u_old + older * u_older) / dt
            self._w.dat.data_wo[...] = 2 * u_old - u_older if n else u_old
            t = start + (n + 1) * dt
            boundary(t)
            try:
                with finished_first():
                    self._solver.solve()
            except fd.ConvergenceError as error:
                raise DivergedError(f"The step to t = {t:.6g} with dt = {dt:.3g} failed ({error}).") from error
            u_new = self.z.subfunctions[0].dat.data_ro
            speed = float(np.abs(u_new).max())
            if not speed <= limit:
                raise DivergedError(f"The velocity blew up at t = {t:.6g} with dt = {dt:.3g}.")
            self.rate.dat.data_wo[...] = new / dt * u_new + self._history.dat.data_ro
            self._older.dat.data_wo[...] = u_old
            self._old.dat.data_wo[...] = u_new
            yield t
