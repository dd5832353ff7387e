"""Steady flow through bent pipes: a benchmark of operators whose input is a geometry."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from ..errors import InputError
from ..fem.communicator import communicator
from ..fem.firedrake import firedrake
from .navier_stokes import NEWTON_LU, newton, taylor_hood
from .problem import Problem
from .quantities import require_positive


class PipeFlow(Problem):
    """−ν Δu + (u·∇)u + ∇p = 0, ∇·u = 0 in x = X + d(X), X in [0, 10] × [0, 1]; parabolic inflow along x, no slip, free outflow.

    The input is the geometry, as the displacement ``d`` of a straight reference pipe, a field of the velocity's space. The equations are
    pulled back to the reference pipe by the Jacobian of the map, J = I + ∂d/∂X: ∇ₓu = ∇u J⁻¹, dx = det J dX. So all samples share one mesh
    and one discretization, and are what isoparametric elements give on the moved mesh. Outputs are the velocity ``u`` and the
    pressure ``p``, as functions of X; quadratic and linear elements on quadrilaterals.

    This is the pipe benchmark of Geo-FNO (Li, Huang, Liu and Anandkumar, J. Mach. Learn. Res. 24, 2023): ν = 0.005, pipes of length
    10 and width 1 along a random centre line made of four cubic pieces. Here a centre line c displaces vertically, d = (0, c(X₁)).

    Args:
        cells: along and across the pipe; a multiple of 4 along lets the centre line's pieces end on cells.
        viscosity: ν.
        peak: of the inflow.
        heights, slopes: ranges of the centre line's height and slope at its five knots.
    """

    inputs = ("d",)
    outputs = ("u", "p")
    dirichlet = ("inflow", "bottom", "top")
    LENGTH = 10.0
    KNOTS = 5

    def __init__(
        self,
        cells: tuple[int, int] = (80, 12),
        viscosity: float = 0.005,
        peak: float = 1.0,
        heights: tuple[float, float] = (-2.0, 2.0),
        slopes: tuple[float, float] = (-1.0, 1.0),
    ):
        require_positive(viscosity=viscosity)
        fd = firedrake()
        mesh = fd.RectangleMesh(*cells, self.LENGTH, 1.0, quadrilateral=True, comm=communicator())
        mesh.boundary_names = {"inflow": 1, "outflow": 2, "bottom": 3, "top": 4}
        V, Q, Z = taylor_hood(mesh)
        self.spaces, self.transfers = {"V": V, "Q": Q, "Z": Z}, []
        self.fields = {"d": "V", "u": "V", "p": "Q"}
        self.heights, self.slopes = heights, slopes

        self._d, self._z = fd.Function(V, name="d"), fd.Function(Z, name="z")
        self._viscosity = fd.Constant(viscosity, name="viscosity")
        self.residual = _pulled_back_residual(self._z, self._d, self._viscosity)
        X = fd.SpatialCoordinate(mesh)
        parabola = fd.Function(V).interpolate(fd.as_vector([4 * peak * X[1] * (1 - X[1]), 0]))
        bcs = [fd.DirichletBC(Z.sub(0), parabola, 1), fd.DirichletBC(Z.sub(0), fd.Constant((0, 0)), (3, 4))]
        equation = fd.NonlinearVariationalProblem(self.residual, self._z, bcs)
        self._solver = fd.NonlinearVariationalSolver(equation, solver_parameters=NEWTON_LU)
        self._along = fd.Function(V).interpolate(X).dat.data_ro[:, 0].copy()
        self._volume = fd.Function(fd.FunctionSpace(mesh, "DQ", 2))
        self._volume_form = fd.interpolate(fd.det(_jacobian(self._d)), self._volume.function_space())

    def displacement(self, centre_line: Callable[[np.ndarray], np.ndarray]) -> Any:
        """The displacement d = (0, c(X₁)) of a pipe along a centre line."""
        d = firedrake().Function(self.spaces["V"])
        d.dat.data_wo[:, 1] = centre_line(self._along)
        return d

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        knots = np.linspace(0, self.LENGTH, self.KNOTS)
        heights, slopes = rng.uniform(*self.heights, self.KNOTS), rng.uniform(*self.slopes, self.KNOTS)
        return {"d": self.displacement(CubicHermiteSpline(knots, heights, slopes))}

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The output fields for a displacement.

        Raises:
            InputError: the displaced pipe folds over itself: det J is not positive everywhere.
            DivergedError: the solver did not converge.
        """
        self._d.assign(inputs["d"])
        smallest = firedrake().assemble(self._volume_form, tensor=self._volume).dat.data_ro.min()
        if not smallest > 0:
            raise InputError(
                f"The displacement d folds the pipe: det(I + ∂d/∂X) falls to {smallest:.3g}. Make it smaller or smoother."
            )
        newton(self._solver, self._z, self._viscosity, "pipe")
        u, p = self._z.subfunctions
        return {"u": u.copy(deepcopy=True), "p": p.copy(deepcopy=True)}


def _jacobian(d: Any) -> Any:
    fd = firedrake()
    return fd.Identity(2) + fd.grad(d)


def _pulled_back_residual(z: Any, d: Any, viscosity: Any) -> Any:
    """ν ∇u : ∇v + (u·∇)u · v − p ∇·v − q ∇·u over the displaced domain, as an integral over the reference domain.

    The rule is exact for q ∇·u, so that the flow through the pipe is the same everywhere to rounding.
    """
    fd = firedrake()
    u, p = fd.split(z)
    v, q = fd.TestFunctions(z.function_space())
    J = _jacobian(d)
    grad_u, grad_v = (fd.dot(fd.grad(w), fd.inv(J)) for w in (u, v))
    momentum = viscosity * fd.inner(grad_u, grad_v) + fd.inner(fd.dot(grad_u, u), v) - p * fd.tr(grad_v)
    return (momentum - q * fd.tr(grad_u)) * fd.det(J) * fd.dx(degree=8)
