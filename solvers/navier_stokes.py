"""The Navier-Stokes equations in Taylor-Hood elements: weak forms, and Newton's method with continuation in the viscosity."""

from typing import Any

from ..errors import DivergedError
from ..fem.firedrake import firedrake
from . import direct
from .continuation import advance_in_steps
from .problem import solve_or_explain

#: Pivoting finds null pressures (ICNTL(24)), so that closed flows need no pressure pinned at a point.
LU = direct.LU | {"mat_mumps_icntl_24": 1}
NEWTON_LU = direct.NEWTON | {"snes_linesearch_type": "basic"} | LU


def taylor_hood(mesh: Any, degree: int = 2) -> tuple[Any, Any, Any]:
    """Velocities V of the given degree, pressures Q of one less, and V × Q."""
    fd = firedrake()
    V, Q = fd.VectorFunctionSpace(mesh, "CG", degree), fd.FunctionSpace(mesh, "CG", degree - 1)
    return V, Q, V * Q


def measure(Z: Any) -> Any:
    """The cell measure of a Taylor-Hood space with a rule that is exact for convection on affine cells, degree 3k − 1."""
    return firedrake().dx(degree=3 * Z.sub(0).ufl_element().degree())


def convection(u: Any) -> Any:
    """(u·∇)u."""
    fd = firedrake()
    return fd.dot(fd.grad(u), u)


def stokes(u: Any, p: Any, v: Any, q: Any, viscosity: Any) -> Any:
    """ν ∇u : ∇v − p ∇·v − q ∇·u."""
    fd = firedrake()
    return viscosity * fd.inner(fd.grad(u), fd.grad(v)) - p * fd.div(v) - q * fd.div(u)


def steady_residual(z: Any, viscosity: Any) -> Any:
    """The weak form ν ∇u : ∇v + (u·∇)u · v − p ∇·v − q ∇·u for a Taylor-Hood function z = (u, p)."""
    fd = firedrake()
    Z = z.function_space()
    u, p = fd.split(z)
    v, q = fd.TestFunctions(Z)
    return (stokes(u, p, v, q, viscosity) + fd.inner(convection(u), v)) * measure(Z)


def unsteady_residual(z: Any, rate: Any, viscosity: Any) -> Any:
    """The weak form of the momentum and mass balances for a state z = (u, p) and the time derivative of u that belongs to it."""
    fd = firedrake()
    Z = z.function_space()
    return steady_residual(z, viscosity) + fd.inner(rate, fd.TestFunctions(Z)[0]) * measure(Z)


def constant_pressure(Z: Any) -> Any:
    """The null space of a flow whose velocity is prescribed on the whole boundary; Z may hold several pairs (u, p)."""
    fd = firedrake()
    constant = fd.VectorSpaceBasis(constant=True, comm=Z.mesh().comm)
    return fd.MixedVectorSpaceBasis(Z, [constant if i % 2 else Z.sub(i) for i in range(len(Z))])


def newton(solver: Any, z: Any, viscosity: Any, what: str) -> None:
    """Solve a steady flow from rest by Newton's method; where that diverges, through flows of up to 100 times the viscosity.

    From rest each time, so that a solution depends on its inputs alone.

    Args:
        solver: a ``NonlinearVariationalSolver`` for ``z``.
        viscosity: the ``Constant`` ν of its form; it has its value again afterwards.

    Raises:
        DivergedError: continuation diverged too.
    """
    target = float(viscosity)

    def solve(_: float, load: float) -> None:
        viscosity.assign(100 ** (1 - load) * target)
        solve_or_explain(solver, what)

    try:
        z.assign(0)
        solve(0, 1)
    except DivergedError:
        z.assign(0)
        advance_in_steps(solve, z, first=1 / 4)
    finally:
        viscosity.assign(target)
