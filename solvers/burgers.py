"""Burgers' equation with viscosity in one and two dimensions, as trajectories."""

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np

from ..errors import InputError
from ..fem.firedrake import firedrake
from .continuation import advance_in_steps
from .direct import BANDED_LU, LU, NEWTON
from .domains import box, interval, periodic_square
from .grid import DirichletField, PeriodicField
from .problem import Problem, lagrange_hierarchy, solve_or_explain
from .spectral_field import SpectralField


class Burgers(Problem):
    """∂u/∂t + (u·∇)u = ν Δu on an interval or, for a vector u, on a square; periodic, or with the initial values kept at the boundary.

    The input is the initial state ``u0``; the output ``u`` is the list of its frames at ``times``, the initial one first. Time steps are
    those of the implicit midpoint rule, which is of second order and A-stable and dissipates the energy ∫u²/2 by exactly ν∫|∇ū|² Δt, with
    ū the mean of two states, in one dimension and without flow through the ends; the first ones are pairs of implicit Euler's half steps,
    which damp what a rough initial state has at the scale of the mesh and the midpoint rule would carry on (Rannacher, Numer. Math. 43,
    1984). A step that Newton's method cannot make is halved.
    The residual is that of one time step ``dt`` from ``u_previous`` to ``u``.

    Random initial states are Gaussian fields with covariance σ²(−Δ + τ²)^(−α), periodic or zero at the boundary. Good values, those
    of Li et al. (ICLR 2021): the unit interval, periodic, ν = 0.1, α = 2, τ = 5, σ = 25, up to time 1.

    Args:
        mesh: cells of the coarsest mesh, along each side in two dimensions.
        dim: 1 or 2.
        ends: of the interval; in two dimensions the side of the square is its length, and one corner is the origin.
        periodic: whether the ends are one.
        degree: of the Lagrange elements.
        refinements: how often the mesh is refined; its levels carry the multigrid hierarchy.
        viscosity: ν.
        final_time: of the last frame.
        frames: how many frames there are after the initial one, equally spaced.
        time_step: the largest Δt.
        damped_steps: how many of the first steps are made by implicit Euler; 2 to 4 keep the second order.
        alpha, tau, sigma: of the random initial states.

    Raises:
        InputError: a number that must be positive is not, or another dimension.
    """

    inputs = ("u0",)
    outputs = ("u",)

    def __init__(
        self,
        mesh: int = 128,
        dim: int = 1,
        ends: tuple[float, float] = (0.0, 1.0),
        periodic: bool = True,
        degree: int = 2,
        refinements: int = 2,
        viscosity: float = 0.1,
        final_time: float = 1.0,
        frames: int = 10,
        time_step: float = 0.01,
        damped_steps: int = 2,
        alpha: float = 2.0,
        tau: float = 5.0,
        sigma: float | None = 25.0,
    ):
        fd = firedrake()
        _check(dim, viscosity=viscosity, final_time=final_time, frames=frames, time_step=time_step)
        length = float(ends[1] - ends[0])
        if dim == 1:
            meshes = interval(mesh, (float(ends[0]), float(ends[1])), refinements, periodic)
        else:
            meshes = periodic_square(mesh, length, refinements) if periodic else box((mesh, mesh), (length, length), refinements)
        self.spaces, self.transfers = lagrange_hierarchy(meshes, degree, components=dim)
        self.fields = {"u0": "V", "u": "V"}
        self.dirichlet = () if periodic else ("on_boundary",)
        self.times = np.linspace(0.0, final_time, frames + 1)
        self._substeps = ceil(final_time / frames / time_step * (1 - 1e-12))
        V = self.spaces["V"]

        self._u, self._u_previous = fd.Function(V, name="u"), fd.Function(V, name="u_previous")
        self._dt = fd.Constant(final_time / frames / self._substeps, name="dt")
        nu = fd.Constant(viscosity, name="viscosity")
        self._damped_steps = damped_steps
        self.residual = step_residual(self._u, self._u_previous, self._dt, nu)
        bcs = [] if periodic else [fd.DirichletBC(V, self._u_previous, "on_boundary")]
        parameters = NEWTON | (BANDED_LU if dim == 1 else LU)
        damped = step_residual(self._u, self._u_previous, self._dt, nu, implicit=1.0)
        self._midpoint, self._euler = (
            fd.NonlinearVariationalSolver(fd.NonlinearVariationalProblem(F, self._u, bcs), solver_parameters=parameters)
            for F in (self.residual, damped)
        )
        resolved = (mesh * 2**refinements,) * dim
        kind = PeriodicField if periodic else DirichletField
        origin = (float(ends[0]),) if dim == 1 else (0.0, 0.0)
        self._initial = SpectralField(V, kind(resolved, (length,) * dim, alpha=alpha, tau=tau, sigma=sigma), origin)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"u0": self._initial.sample(rng)}

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._u.assign(inputs["u0"])
        frames = [self._u.copy(deepcopy=True)]
        steps = 0
        for _ in self.times[1:]:
            for _ in range(self._substeps):
                if steps < self._damped_steps:
                    self._step(self._euler, 0.5)
                    self._step(self._euler, 0.5)
                else:
                    self._step(self._midpoint)
                steps += 1
            frames.append(self._u.copy(deepcopy=True))
        return {"u": frames}

    def _step(self, solver: Any, share: float = 1.0) -> None:
        """One step, or a share of one."""
        dt = float(self._dt)

        def part(start: float, stop: float) -> None:
            self._u_previous.assign(self._u)
            self._dt.assign((stop - start) * share * dt)
            solve_or_explain(solver, "Burgers")

        try:
            advance_in_steps(part, self._u)
        finally:
            self._dt.assign(dt)


def step_residual(u: Any, previous: Any, dt: Any, viscosity: Any, implicit: float = 0.5) -> Any:
    """The weak form of one step, ∫ (u − u⁻)/Δt · v + (ū·∇)ū · v + ν ∇ū : ∇v with ū = θu + (1 − θ)u⁻ and θ = ``implicit``: ½ is the
    midpoint rule, 1 implicit Euler."""
    fd = firedrake()
    v = fd.TestFunction(u.function_space())
    mean = implicit * u + (1 - implicit) * previous
    convection = fd.dot(fd.grad(mean), mean) if u.ufl_shape else mean * mean.dx(0)
    return (fd.inner(u - previous, v) / dt + fd.inner(convection, v) + viscosity * fd.inner(fd.grad(mean), fd.grad(v))) * fd.dx


def _check(dim: int, **positive: float) -> None:
    if dim not in (1, 2):
        raise InputError(f"Burgers' equation is solved in 1 or 2 dimensions, not {dim}.")
    if wrong := {name: value for name, value in positive.items() if not value > 0}:
        raise InputError(f"These must be positive: {', '.join(f'{name} = {value:g}' for name, value in wrong.items())}.")
