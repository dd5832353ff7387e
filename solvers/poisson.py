"""Poisson's equation with prescribed boundary values, both source and boundary values random."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..fem.firedrake import firedrake
from .domains import domain
from .problem import Problem, lagrange_hierarchy, markers, solve_or_explain
from .random_field import MaternField


class Poisson(Problem):
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

    inputs = ("f", "g")
    outputs = ("u",)

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
        meshes = domain(mesh, refinements)
        self.spaces, self.transfers = lagrange_hierarchy(meshes, degree)
        self.fields = dict.fromkeys(("f", "g", "u"), "V")
        self.dirichlet = tuple(dirichlet)
        V = self.spaces["V"]
        tags = markers(meshes[-1], self.dirichlet)

        self._f, self._g, self._u = (fd.Function(V, name=name) for name in ("f", "g", "u"))
        u, v = fd.TrialFunction(V), fd.TestFunction(V)
        a = fd.inner(fd.grad(u), fd.grad(v)) * fd.dx
        self.residual = fd.action(a, self._u) - self._f * v * fd.dx
        bc = fd.DirichletBC(V, self._g, tags)
        equation = fd.LinearVariationalProblem(a, self._f * v * fd.dx, self._u, bcs=bc, constant_jacobian=True)
        self._solver = fd.LinearVariationalSolver(equation, solver_parameters={"ksp_type": "preonly", "pc_type": "lu"})

        self._source = MaternField(V, **(source or {"length": 0.3}))
        self._boundary = MaternField(V, **(boundary or {"length": 0.6}))
        self._interior = np.setdiff1d(np.arange(V.node_count), bc.nodes)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        f = self._source.sample(rng)
        g = self._boundary.sample(rng)
        g.dat.data_wo[self._interior] = 0
        return {"f": f, "g": g}

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._f.assign(inputs["f"])
        self._g.assign(inputs["g"])
        self._u.assign(0)  # so that the last solution leaves no rounding errors in this one
        solve_or_explain(self._solver, "Poisson")
        return {"u": self._u.copy(deepcopy=True)}
