"""Darcy flow in its mixed form: the flux in H(div), mass conserved in every cell."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse.linalg

from ..errors import InputError
from ..fem import boundary_tags
from ..fem.assembly import csr
from ..fem.firedrake import firedrake
from .direct import LU
from .domains import domain
from .prescribed import number_or_field, require_positive
from .problem import Problem, lagrange_hierarchy, markers, solve_or_explain
from .random_coefficients import random_coefficient


class MixedDarcy(Problem):
    """a⁻¹σ + ∇p = 0, ∇·σ = f, with a given flux σ·n on tagged boundary parts and p = g on the others.

    Raviart-Thomas elements ``S`` of degree k for σ, discontinuous ones ``Q`` of degree k − 1 for p, a and f (Raviart and Thomas, 1977), so
    that ∇·σ = f holds pointwise. The flux condition is essential, that of the pressure natural. Inputs are the coefficient ``a``, and the
    source ``f`` and the boundary pressure ``g`` where they are random; outputs are ``sigma`` and ``p``. The residual is one of the mixed
    function ``z = (sigma, p)``.

    ``V``, ``V1``, ... are Lagrange elements of degree k and a hierarchy below them, ``W`` vectors of those of V. g lives in V, and so
    do, in two dimensions, the stream functions whose curls are the divergence-free fluxes of S. The functional
    ``disc.form("circulation")``, −∫ a⁻¹σ·curl φ − ∫_∂Ω g curl φ·n of φ in V, is what Darcy's law lacks: for a conservative flux σ with the
    given flux through the boundary it is the load of a stream function ψ, ∫ a⁻¹∇ψ·∇φ, with which σ + curl ψ is the solution. Among these
    fluxes the solution makes the complementary energy ``disc.form("complementary_energy")``, ½ ∫ a⁻¹|σ|² + ∫_∂Ω g σ·n, least (Thomson's
    principle).

    Args:
        mesh: cells along each side of the unit square, a mesh file, or a Firedrake mesh.
        kind: of the coefficient: smooth, rough, multiscale or log_normal, as for :class:`Darcy`.
        flux: outward normal flux by tag; 0 for an impermeable part.
        degree: k.
        refinements: how often the mesh is refined; its levels carry the multigrid hierarchy.
        source, pressure: f and g: a number, or the settings of a Matérn field.
        log_normal: ``median`` and the settings of the Matérn field of a log-normal coefficient.

    Raises:
        InputError: an unknown kind or tag, a flux on the whole boundary, a degree below 1.
    """

    outputs = ("sigma", "p")
    products = (("Q", "V"),)

    def __init__(
        self,
        mesh: Any = 32,
        kind: str = "smooth",
        flux: Mapping[str, float] | None = None,
        degree: int = 1,
        refinements: int = 0,
        source: float | Mapping[str, float] = 1.0,
        pressure: float | Mapping[str, float] = 0.0,
        log_normal: Mapping[str, float] | None = None,
    ):
        fd = firedrake()
        if degree < 1:
            raise InputError(f"Raviart-Thomas elements have degree 1 or more, not {degree}.")
        meshes = domain(mesh, refinements)
        finest = meshes[-1]
        squares = finest.ufl_cell().cellname == "quadrilateral"
        S = fd.FunctionSpace(finest, "RTCF" if squares else "RT", degree)
        Q = fd.FunctionSpace(finest, "DQ" if squares else "DG", degree - 1)
        Z, W = S * Q, fd.VectorFunctionSpace(finest, "Lagrange", degree)
        lagrange, prolongations = lagrange_hierarchy(meshes, degree)
        V = lagrange["V"]
        self.spaces, self.transfers = {"S": S, "Q": Q, "Z": Z, "W": W, **lagrange}, [*prolongations, ("W", "S")]
        self.derivatives = (("S", "Q"), *([("V", "S")] if finest.geometric_dimension == 2 else []))
        self.dirichlet = tuple(flux or {})
        tags = markers(finest, self.dirichlet)
        if set(tags) == set(boundary_tags(finest).values()):
            raise InputError(
                "The flux is given on the whole boundary, which leaves the pressure undetermined. Leave out a tag; there p = g holds."
            )

        self._z, self._a, self._f = fd.Function(Z, name="z"), fd.Function(Q, name="a"), fd.Function(Q, name="f")
        source_field, self._random_source = number_or_field(V, "f", source)
        self._f.interpolate(source_field)
        self._g, self._random_pressure = number_or_field(V, "g", pressure)
        self._coefficient = random_coefficient(kind, Q, log_normal)
        self.inputs = ("a", *(["f"] if self._random_source else []), *(["g"] if self._random_pressure else []))
        self.fields = {"a": "Q", "sigma": "S", "p": "Q"} | {
            name: space for name, space in (("f", "Q"), ("g", "V")) if name in self.inputs
        }

        f = self._f if "f" in self.inputs else source_field
        self.residual = mixed_residual(fd.split(self._z), Z, self._a, f, self._g)
        sigma, n = fd.Function(S, name="sigma"), fd.FacetNormal(finest)
        self.forms = {"complementary_energy": flux_law(sigma / 2, sigma, self._a, self._g, n)}
        if finest.geometric_dimension == 2:
            phi = fd.TestFunction(V)
            curl = fd.as_vector([phi.dx(1), -phi.dx(0)])
            self.forms["circulation"] = -flux_law(sigma, curl, self._a, self._g, n)
        linear = mixed_residual(fd.TrialFunctions(Z), Z, self._a, f, self._g)
        bcs = [fd.DirichletBC(Z.sub(0), normal_flux(S, *part), part[0]) for part in zip(tags, (flux or {}).values(), strict=True)]
        equation = fd.LinearVariationalProblem(fd.lhs(linear), fd.rhs(linear), self._z, bcs, constant_jacobian=False)
        self._solver = fd.LinearVariationalSolver(equation, solver_parameters=LU)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        fd = firedrake()
        inputs = {"a": self._coefficient.sample(rng)}
        if self._random_source:
            inputs["f"] = fd.Function(self.spaces["Q"]).interpolate(self._random_source.sample(rng))
        if self._random_pressure:
            inputs["g"] = self._random_pressure.sample(rng)
        return inputs

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        require_positive(inputs["a"], "a")
        for name, function in (("a", self._a), ("f", self._f), ("g", self._g)):
            if name in self.inputs:
                function.assign(inputs[name])
        self._z.assign(0)  # so that the last solution leaves no rounding errors in this one
        solve_or_explain(self._solver, "mixed Darcy")
        sigma, p = self._z.subfunctions
        return {"sigma": sigma.copy(deepcopy=True), "p": p.copy(deepcopy=True)}


def mixed_residual(z: Any, Z: Any, a: Any, f: Any, g: Any) -> Any:
    """The weak form ∫ a⁻¹σ·τ − p ∇·τ − q (∇·σ − f) + ∫_∂Ω g τ·n with z = (σ, p), and (τ, q) in Z."""
    fd = firedrake()
    (sigma, p), (tau, q) = z, fd.TestFunctions(Z)
    law = flux_law(sigma, tau, a, g, fd.FacetNormal(Z.mesh()))
    return law - (p * fd.div(tau) + q * (fd.div(sigma) - f)) * fd.dx


def flux_law(sigma: Any, tau: Any, a: Any, g: Any, n: Any) -> Any:
    """∫ a⁻¹σ·τ + ∫_∂Ω g τ·n, which the pressure balances by ∫ p ∇·τ."""
    fd = firedrake()
    return fd.inner(sigma, tau) / a * fd.dx + g * fd.dot(tau, n) * fd.ds


def normal_flux(S: Any, tag: int, value: float) -> Any:
    """A function of an H(div) space whose normal component on one boundary part is a number, by L2 projection there."""
    fd = firedrake()
    sigma, tau, n = fd.TrialFunction(S), fd.TestFunction(S), fd.FacetNormal(S.mesh())
    nodes = S.boundary_nodes(tag)
    M = csr(fd.assemble(fd.dot(sigma, n) * fd.dot(tau, n) * fd.ds(tag), mat_type="aij"))[nodes][:, nodes]
    b = fd.assemble(fd.Constant(value) * fd.dot(tau, n) * fd.ds(tag)).dat.data_ro[nodes]
    flux = fd.Function(S)
    flux.dat.data_wo[nodes] = scipy.sparse.linalg.spsolve(M.tocsc(), b)
    return flux
