"""Darcy flow in its primal form, with the random coefficients of the operator-learning benchmarks or log-normal ones."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..fem.firedrake import firedrake
from .direct import CHOLESKY
from .domains import domain
from .prescribed import number_or_field, require_positive
from .problem import Problem, lagrange_hierarchy, markers, solve_or_explain
from .random_coefficients import random_coefficient


class Darcy(Problem):
    """−∇·(a ∇u) = f, u = g on the tagged boundary parts, no flux through the others.

    The coefficient ``a`` is the input; so are the source ``f`` and the boundary values ``g`` where they are random. The output is ``u``, in
    the Lagrange space ``V``; the energy that it minimises is exported as ``disc.form("energy")``. Published data sets have f = 1, g = 0,
    and an a of the kind

    - ``smooth``: 12 and 3 where a Gaussian field with τ = 3 is positive and negative,
    - ``rough``: 12 and 2 with τ = 5,
    - ``multiscale``: a product of trigonometric functions of six scales;

    sample i of a seed is the coefficient that the grid solver draws for it on as many cells. A ``log_normal`` coefficient is drawn on
    any mesh.

    Args:
        mesh: cells along each side of the unit square, a mesh file, or a Firedrake mesh.
        kind: of the coefficient, one of the four above.
        coefficient_degree: 0 for a coefficient constant in each cell, 1 for the linear interpolant of its values at the vertices.
        dirichlet: tags of the boundary parts that carry g, at least one.
        degree: of the Lagrange elements of u.
        refinements: how often the mesh is refined; its levels carry the multigrid hierarchy.
        source, boundary: f and g: a number, or the settings of a Matérn field.
        log_normal: ``median`` and the settings of the Matérn field of a log-normal coefficient.

    Raises:
        InputError: an unknown kind or tag, no tag, another coefficient degree.
    """

    outputs = ("u",)

    def __init__(
        self,
        mesh: Any = 32,
        kind: str = "smooth",
        coefficient_degree: int = 1,
        dirichlet: Iterable[str] = ("left", "right", "bottom", "top"),
        degree: int = 1,
        refinements: int = 1,
        source: float | Mapping[str, float] = 1.0,
        boundary: float | Mapping[str, float] = 0.0,
        log_normal: Mapping[str, float] | None = None,
    ):
        fd = firedrake()
        meshes = domain(mesh, refinements)
        self.spaces, self.transfers = lagrange_hierarchy(meshes, degree)
        self.dirichlet = tuple(dirichlet)
        if not self.dirichlet:
            raise InputError(
                "Without a Dirichlet condition the solution is determined up to a constant only. Name at least one tag."
            )
        tags = markers(meshes[-1], self.dirichlet)
        V, (name, A) = self.spaces["V"], self._coefficient_space(meshes[-1], coefficient_degree)
        self.spaces[name] = A

        self._u, self._a = fd.Function(V, name="u"), fd.Function(A, name="a")
        self._f, random_source = number_or_field(V, "f", source)
        self._g, random_boundary = number_or_field(V, "g", boundary)
        self._fields = {"f": random_source, "g": random_boundary}
        self._coefficient = random_coefficient(kind, A, log_normal)
        self.inputs = ("a", *(key for key, field in self._fields.items() if field))
        self.fields = {"a": name, **dict.fromkeys((*self.inputs[1:], "u"), "V")}

        u, v = fd.TrialFunction(V), fd.TestFunction(V)
        self.energy = diffusion_energy(self._u, self._a, self._f)
        self.forms = {"energy": self.energy}
        self.residual = fd.derivative(self.energy, self._u, v)
        bc = fd.DirichletBC(V, self._g, tags)
        a, L = diffusion(u, v, self._a), self._f * v * fd.dx
        equation = fd.LinearVariationalProblem(a, L, self._u, bcs=bc, constant_jacobian=False)
        self._solver = fd.LinearVariationalSolver(equation, solver_parameters=CHOLESKY)
        self._interior = np.setdiff1d(np.arange(V.node_count), bc.nodes)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        inputs = {"a": self._coefficient.sample(rng)}
        inputs.update({name: field.sample(rng) for name, field in self._fields.items() if field})
        if "g" in inputs:
            inputs["g"].dat.data_wo[self._interior] = 0
        return inputs

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        require_positive(inputs["a"], "a")
        for name, function in (("a", self._a), ("f", self._f), ("g", self._g)):
            if name in self.inputs:
                function.assign(inputs[name])
        self._u.assign(0)  # so that the last solution leaves no rounding errors in this one
        solve_or_explain(self._solver, "Darcy")
        return {"u": self._u.copy(deepcopy=True)}

    def _coefficient_space(self, mesh: Any, degree: int) -> tuple[str, Any]:
        """The space of a: piecewise constants, or the linear elements of the hierarchy."""
        if degree == 0:
            return "A", firedrake().FunctionSpace(mesh, "DG", 0)
        if degree == 1:
            name = "V" if self.spaces["V"].ufl_element().degree() == 1 else "V1"
            return name, self.spaces[name]
        raise InputError(
            f"The coefficient is piecewise constant (degree 0) or piecewise linear (degree 1), not of degree {degree}."
        )


def diffusion(u: Any, v: Any, a: Any) -> Any:
    """The bilinear form ∫ a ∇u·∇v."""
    fd = firedrake()
    return fd.inner(a * fd.grad(u), fd.grad(v)) * fd.dx


def diffusion_energy(u: Any, a: Any, f: Any) -> Any:
    """∫ ½ a |∇u|² − f u, which the solution makes least among the functions with its boundary values."""
    fd = firedrake()
    return (fd.inner(a * fd.grad(u), fd.grad(u)) / 2 - f * u) * fd.dx
