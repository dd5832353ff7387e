"""The Navier-Stokes equations in Taylor-Hood elements: weak forms, and Newton's method with continuation in the viscosity."""

from math import sqrt
from typing import Any

from ..errors import DivergedError
from ..fem.firedrake import firedrake

#: Pivoting finds null pressures (icntl_24), so that closed flows need no pressure pinned at a point.
LU = {"ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps", "mat_mumps_icntl_24": 1}

NEWTON_LU = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "basic",
    "snes_rtol": 1e-10,
    "snes_atol": 1e-11,
    "snes_max_it": 20,
    **LU,
}


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
    """The null space of a flow whose velocity is prescribed on the whole boundary."""
    fd = firedrake()
    return fd.MixedVectorSpaceBasis(Z, [Z.sub(0), fd.VectorSpaceBasis(constant=True, comm=Z.mesh().comm)])


def newton(solver: Any, z: Any, viscosity: Any, what: str) -> None:
    """Solve a steady flow from rest by Newton's method; where that diverges, through flows of higher viscosity.

    From rest each time, so that a solution depends on its inputs alone. Continuation starts from 31 times the viscosity and divides it by
    √10 as long as Newton's method converges; where it does not, the divisor's root is tried from the last flow that was reached.

    Args:
        solver: a ``NonlinearVariationalSolver`` for ``z``.
        viscosity: the ``Constant`` ν of its form; it has its value again afterwards.

    Raises:
        DivergedError: the flow was not reached in 24 solves.
    """
    fd = firedrake()
    target = float(viscosity)
    factor, divisor, start = 1.0, sqrt(10), 31.0
    reached, state = None, fd.Function(z.function_space())
    reason = None
    try:
        for _ in range(24):
            z.assign(state)
            viscosity.assign(factor * target)
            try:
                solver.solve()
            except fd.ConvergenceError as error:
                reason = error
                if reached is None:
                    factor, start = start, 31 * start
                    continue
                divisor = sqrt(divisor)
            else:
                if factor == 1:
                    return
                reached = factor
                state.assign(z)
            factor = max(1.0, reached / divisor)
    finally:
        viscosity.assign(target)
    raise DivergedError(
        f"The {what} solver diverged, with continuation in the viscosity too ({reason}). The flow may have no steady state near: "
        "lower the velocity, raise the viscosity, or refine the mesh."
    ) from reason
