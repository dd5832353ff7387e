"""Diffusion whose coefficient grows with the solution: the smallest nonlinear elliptic problem with an exact transform."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..fem.firedrake import firedrake
from .continuation import advance_in_steps
from .direct import LU, NEWTON
from .dirichlet_problem import DirichletProblem
from .problem import solve_or_explain


class NonlinearDiffusion(DirichletProblem):
    """−∇·((1 + u²) ∇u) = f, u = g on the tagged boundary parts, no flux through the others.

    Inputs are the source ``f`` and the boundary values ``g``, a field whose dofs away from the tagged parts are zero; the output is
    ``u``. Both inputs are Matérn fields drawn on the mesh. All live in ``V``, Lagrange elements of the given degree. By Kirchhoff's
    transform U = u + u³/3 solves −ΔU = f, so there is exactly one solution. Where Newton's method fails, f and g are raised in steps.

    Args:
        mesh: cells along each side of the unit square, a mesh file, or a Firedrake mesh.
        dirichlet: tags of the boundary parts that carry g, at least one.
        degree: of the Lagrange elements.
        refinements: how often the mesh is refined; its levels carry the multigrid hierarchy.
        source, boundary: ``length``, ``smoothness`` and ``deviation`` of the random f and g (see :class:`MaternField`).
    """

    def __init__(
        self,
        mesh: Any = 16,
        dirichlet: Iterable[str] = ("left", "right", "bottom", "top"),
        degree: int = 2,
        refinements: int = 1,
        source: Mapping[str, float] | None = None,
        boundary: Mapping[str, float] | None = None,
    ):
        fd = firedrake()
        super().__init__(mesh, dirichlet, degree, refinements, source or {"length": 0.3, "deviation": 50.0}, boundary)
        self.residual = nonlinear_residual(self._u, self._f)
        self.nonlinear_solver = fd.NonlinearVariationalSolver(
            fd.NonlinearVariationalProblem(self.residual, self._u, self._bc), solver_parameters=NEWTON | LU
        )

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        def step(_: float, load: float) -> None:
            self._set_inputs(inputs, load)
            solve_or_explain(self.nonlinear_solver, "nonlinear diffusion")

        # From zero each time, so that a solution depends on its input alone.
        self._u.assign(0)
        advance_in_steps(step, self._u)
        return {"u": self._u.copy(deepcopy=True)}

    def solve_from(self, inputs: Mapping[str, Any], guess: Mapping[str, Any]) -> dict[str, Any]:
        self._set_inputs(inputs)
        self._u.assign(guess["u"])
        solve_or_explain(self.nonlinear_solver, "nonlinear diffusion")
        return {"u": self._u.copy(deepcopy=True)}


def nonlinear_residual(u: Any, f: Any) -> Any:
    """The weak form ∫ (1 + u²) ∇u·∇v − f v."""
    fd = firedrake()
    v = fd.TestFunction(u.function_space())
    return (fd.inner((1 + u**2) * fd.grad(u), fd.grad(v)) - f * v) * fd.dx
