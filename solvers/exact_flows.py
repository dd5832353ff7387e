"""Flows known in closed form, and how far the discrete ones are from them."""

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

from ..fem.firedrake import firedrake
from .bdf2 import BDF2
from .flow_scheme import FlowScheme
from .navier_stokes import NEWTON_LU, constant_pressure, newton, steady_residual, taylor_hood


def kovasznay(mesh: Any, reynolds: float = 40.0) -> tuple[Any, Any]:
    """Steady flow behind a row of obstacles (Kovasznay, Proc. Camb. Phil. Soc. 44, 1948), u and p in UFL:

    u = (1 − e^{λx} cos 2πy, λ/2π e^{λx} sin 2πy), p = (1 − e^{2λx})/2, λ = Re/2 − √(Re²/4 + 4π²), with ν = 1/Re.
    """
    fd = firedrake()
    x, y = fd.SpatialCoordinate(mesh)
    rate = reynolds / 2 - sqrt(reynolds**2 / 4 + 4 * pi**2)
    decay = fd.exp(rate * x)
    u = fd.as_vector([1 - decay * fd.cos(2 * pi * y), rate / (2 * pi) * decay * fd.sin(2 * pi * y)])
    return u, (1 - decay**2) / 2


def taylor_green(mesh: Any, t: Any, viscosity: float) -> tuple[Any, Any]:
    """Decaying vortices (Taylor and Green, Proc. R. Soc. Lond. A 158, 1937), u and p in UFL at time t:

    u = (cos x sin y, −sin x cos y) e^{−2νt}, p = −(cos 2x + cos 2y) e^{−4νt} / 4.
    """
    fd = firedrake()
    x, y = fd.SpatialCoordinate(mesh)
    decay = fd.exp(-2 * viscosity * t)
    u = decay * fd.as_vector([fd.cos(x) * fd.sin(y), -fd.sin(x) * fd.cos(y)])
    return u, -(decay**2) * (fd.cos(2 * x) + fd.cos(2 * y)) / 4


def kovasznay_errors(cells: int, reynolds: float = 40.0, degree: int = 2) -> tuple[float, float]:
    """L² errors of velocity and pressure on [−1/2, 1] × [−1/2, 1], with this many cells a side and exact values on the boundary."""
    fd = firedrake()
    mesh = fd.SquareMesh(cells, cells, 1.5)
    mesh.coordinates.dat.data_wo[...] -= 0.5
    V, _, Z = taylor_hood(mesh, degree)
    u, p = kovasznay(mesh, reynolds)
    z, viscosity = fd.Function(Z), fd.Constant(1 / reynolds)
    bc = fd.DirichletBC(Z.sub(0), fd.Function(V).interpolate(u), "on_boundary")
    problem = fd.NonlinearVariationalProblem(steady_residual(z, viscosity), z, bc)
    solver = fd.NonlinearVariationalSolver(problem, nullspace=constant_pressure(Z), solver_parameters=NEWTON_LU)
    newton(solver, z, viscosity, "Kovasznay")
    return _errors(z, u, p)


def taylor_green_errors(
    cells: int, dt: float, steps: int, viscosity: float = 0.1, degree: int = 2, scheme: Callable[..., FlowScheme] = BDF2
) -> tuple[float, float]:
    """L² errors of velocity and pressure on [0, π]² after steps of a scheme with exact values on the boundary.

    The square is moved off the vortices' symmetry axes, so that velocities on its boundary have all components.
    """
    fd = firedrake()
    mesh = fd.SquareMesh(cells, cells, pi)
    mesh.coordinates.dat.data_wo[...] += 0.3
    V, _, Z = taylor_hood(mesh, degree)
    t = fd.Constant(0.0)
    u, p = taylor_green(mesh, t, viscosity)
    exact = fd.Function(V).interpolate(u)

    def conditions(velocities: Any, g: Any) -> list[Any]:
        return [fd.DirichletBC(velocities, g, "on_boundary")]

    stepper = scheme(Z, fd.Constant(viscosity), conditions, exact, closed=True)

    def boundary(time: float) -> None:
        t.assign(time)
        exact.interpolate(u)

    for _ in stepper.march(exact.copy(deepcopy=True), 0.0, dt, steps, boundary, limit=10.0):
        pass
    return _errors(stepper.z, u, p)


def _errors(z: Any, u: Any, p: Any) -> tuple[float, float]:
    """L² distances from z, for pressures up to their means."""
    fd = firedrake()
    velocity, pressure = z.subfunctions
    difference = pressure - p
    mean = fd.assemble(difference * fd.dx) / fd.assemble(fd.Constant(1.0) * fd.dx(domain=z.function_space().mesh()))
    off = sqrt(fd.assemble((difference - fd.Constant(mean)) ** 2 * fd.dx(degree=8)))
    return float(fd.errornorm(u, velocity)), float(off)
