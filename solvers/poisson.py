"""Poisson's equation with prescribed boundary values, both source and boundary values random."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..fem.firedrake import firedrake
from .dirichlet_problem import DirichletProblem
from .problem import solve_or_explain


class Poisson(DirichletProblem):
    """−Δu = f in the domain, u = g on the tagged boundary parts, natural conditions elsewhere.

    Inputs are the source ``f`` and the boundary values ``g``, a field whose dofs away from the tagged parts are zero; the output is
    ``u``. Both inputs are Matérn fields drawn on the mesh. All live in ``V``, Lagrange elements of the given degree.

    Args:
        mesh: mesh file, the name of one that comes with thalweg, or the number of cells along each side of the unit square, whose sides
            are called left, right, bottom and top.
        dirichlet: tags of the boundary parts that carry g.
        refinements: how often that mesh is refined; its levels carry the multigrid hierarchy.
        source, boundary: ``length``, ``smoothness`` and ``deviation`` of the random f and g (see :class:`MaternField`).
    """

    def __init__(
        self,
        mesh: Any,
        dirichlet: Iterable[str],
        degree: int = 2,
        refinements: int = 1,
        source: Mapping[str, float] | None = None,
        boundary: Mapping[str, float] | None = None,
    ):
        fd = firedrake()
        super().__init__(mesh, dirichlet, degree, refinements, source or {"length": 0.3}, boundary)
        V = self.spaces["V"]
        u, v = fd.TrialFunction(V), fd.TestFunction(V)
        a = fd.inner(fd.grad(u), fd.grad(v)) * fd.dx
        self.residual = fd.action(a, self._u) - self._f * v * fd.dx
        equation = fd.LinearVariationalProblem(a, self._f * v * fd.dx, self._u, bcs=self._bc, constant_jacobian=True)
        self._solver = fd.LinearVariationalSolver(equation, solver_parameters={"ksp_type": "preonly", "pc_type": "lu"})

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._set_inputs(inputs)
        self._u.assign(0)  # so that the last solution leaves no rounding errors in this one
        solve_or_explain(self._solver, "Poisson")
        return {"u": self._u.copy(deepcopy=True)}
