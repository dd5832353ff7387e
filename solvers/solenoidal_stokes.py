"""Creeping flow whose velocity is known exactly divergence-free, too."""

from collections.abc import Mapping
from typing import Any

from ..fem.firedrake import firedrake
from .direct import LU
from .problem import lagrange_hierarchy, solve_or_explain
from .stokes import Stokes


class SolenoidalStokes(Stokes):
    """:class:`Stokes`, and of its velocity u the L² projection ``w`` onto the divergence-free fields with its flow through the boundary.

    Velocities in Taylor-Hood elements are divergence-free against linear pressures only, so that mass is neither lost nor gained by the
    container, but by its cells. ``w`` lives in ``S``, Brezzi-Douglas-Marini elements of degree 1 (Brezzi, Douglas, Marini, Numer. Math.
    47, 1985), with ∇·w = 0 in every cell. Of all such fields it is the nearest to u; where one of them approximates u, it does so as
    well. Fields w are the curls of stream functions in ``W``, quadratic elements, constant on each part of the boundary that nothing
    flows through.

    ``W``, ``W1``, ... is a hierarchy of scalar elements on the refinements of the mesh, its nodes those of the velocity; ``D`` are
    piecewise constants, the divergences. ``disc.form("circulation")`` is the functional ∫ f·curl φ / ν of φ in W: all of a force that
    drives an incompressible flow; ``disc.form("wall_velocity")`` is ∫ g·t φ over the boundary with its tangent t, anticlockwise;
    ``disc.form("vorticity")`` ∫ w·curl φ + ∫ g·t φ over the boundary, the moments of the vorticity ω of w between those walls;
    ``disc.form("work")`` is ∫ f·w / ν; and ``disc.form("slip")`` the functional ∫ ((w − g)·t)² over the boundary. With ω in W, ½∫ω² less
    that work is least where w is the flow of the mixed method of Ciarlet and Raviart, see
    :class:`~thalweg.fem.StreamFunctionSolver`: half the dissipation, up to what the walls fix, less the power of the force, both over ν.

    Args:
        mesh, lid, viscosity, speed, force, refinements, modes: see :class:`Stokes`.
    """

    outputs = ("u", "p", "w")
    derivatives = (("W", "S"), ("S", "D"))

    def __init__(
        self,
        mesh: Any = 8,
        lid: str = "top",
        viscosity: float = 1.0,
        speed: tuple[float, float] = (0.5, 1.5),
        force: Mapping[str, float] | None = None,
        refinements: int = 2,
        modes: int = 0,
    ):
        fd = firedrake()
        super().__init__(mesh, lid, viscosity, speed, force, refinements, modes)
        finest = self.meshes[-1]
        S, D = fd.FunctionSpace(finest, "BDM", 1), fd.FunctionSpace(finest, "DG", 0)
        lagrange, prolongations = lagrange_hierarchy(self.meshes, 2)
        self.spaces |= {"S": S, "D": D} | {name.replace("V", "W"): space for name, space in lagrange.items()}
        self.transfers = [("V", "S"), *((a.replace("V", "W"), b.replace("V", "W")) for a, b in prolongations)]
        self.fields = {**self.fields, "w": "S"}
        phi = fd.TestFunction(self.spaces["W"])
        n = fd.FacetNormal(finest)
        t, w = fd.as_vector([-n[1], n[0]]), fd.Function(S, name="w")
        curl, wall_velocity = fd.as_vector([phi.dx(1), -phi.dx(0)]), fd.inner(self._g, t) * phi * fd.ds
        self.forms = {
            "circulation": fd.inner(self._f, curl) / viscosity * fd.dx,
            "wall_velocity": wall_velocity,
            "vorticity": fd.inner(w, curl) * fd.dx + wall_velocity,
            "work": fd.inner(self._f, w) / viscosity * fd.dx,
            "slip": fd.inner(w - self._g, t) ** 2 * fd.ds,
        }
        self._projection = DivergenceFreeProjection(self.spaces["V"], S, D)

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        outputs = super().solve(inputs)
        return outputs | {"w": self._projection(outputs["u"])}


class DivergenceFreeProjection:
    """u ↦ w, the nearest in L² of the fields w of S with ∇·w = 0 and w·n = u·n on the boundary.

    The first equation of ∫ w·τ − q ∇·τ = ∫ u·τ, ∫ r ∇·w = 0 for all τ in S without flux through the boundary and all r in D.

    Args:
        V: the Firedrake space of u, vectors.
        S, D: an H(div) space and that of its divergences.
    """

    def __init__(self, V: Any, S: Any, D: Any):
        fd = firedrake()
        Z = S * D
        self._u, self._trace, self._z = fd.Function(V), fd.Function(S), fd.Function(Z)
        (w, q), (tau, r) = fd.TrialFunctions(Z), fd.TestFunctions(Z)
        a = (fd.inner(w, tau) - q * fd.div(tau) - r * fd.div(w)) * fd.dx
        L = fd.inner(self._u, tau) * fd.dx
        bc = fd.DirichletBC(Z.sub(0), self._trace, "on_boundary")
        constants = fd.MixedVectorSpaceBasis(Z, [Z.sub(0), fd.VectorSpaceBasis(constant=True, comm=Z.mesh().comm)])
        self._solver = fd.LinearVariationalSolver(
            fd.LinearVariationalProblem(a, L, self._z, bcs=bc, constant_jacobian=True),
            nullspace=constants,
            transpose_nullspace=constants,
            solver_parameters=LU | {"mat_mumps_icntl_24": 1},
        )

    def __call__(self, u: Any) -> Any:
        self._u.assign(u)
        self._trace.interpolate(u)
        self._z.assign(0)
        solve_or_explain(self._solver, "projection onto divergence-free fields")
        return self._z.subfunctions[0].copy(deepcopy=True)
