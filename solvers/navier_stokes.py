"""Steady incompressible flow past a cylinder in a channel, and the forces on the cylinder."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..fem import mesh_hierarchy, read_mesh
from ..fem.firedrake import firedrake
from .problem import Problem, markers, resolve_mesh, solve_or_explain

HEIGHT = 0.41  # of the channel, in metres
DIAMETER = 0.1  # of the cylinder
CENTRE = (0.2, 0.2)

_NEWTON_LU = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "basic",
    "snes_rtol": 1e-10,
    "snes_atol": 1e-11,
    "ksp_type": "preonly",
    "pc_type": "lu",
    "pc_factor_mat_solver_type": "mumps",
}


class SteadyCylinderFlow(Problem):
    """−ν Δu + (u·∇)u + ∇p = 0, ∇·u = 0 in the DFG channel; u = g at the inflow, no slip at walls and cylinder, free outflow.

    The input is the inflow velocity ``g``, a field of the velocity's space that is zero away from the inflow; the outputs are the
    velocity ``u`` (quadratic) and the pressure ``p`` (linear), Taylor-Hood elements. Random inflows have a parabolic mean profile with
    random peak and two random modes that keep it zero at the walls.

    With the parabola of peak 0.3 m/s this is benchmark 2D-1 (Schäfer and Turek, 1996): Reynolds number 20, drag 5.57953523384, lift
    0.010618948146, pressure difference 0.11752016697 (Nabh, 1998).

    Args:
        mesh: mesh file with the boundary parts inflow, outflow, walls and cylinder, or the name of one that comes with thalweg.
        viscosity: ν in m²/s.
        peak: range of the random peaks of the inflow in m/s.
        refinements: how often the mesh is refined.
    """

    inputs = ("g",)
    outputs = ("u", "p")
    dirichlet = ("inflow", "walls", "cylinder")

    def __init__(
        self,
        mesh: str = "cylinder_channel.msh",
        viscosity: float = 1e-3,
        peak: tuple[float, float] = (0.1, 0.4),
        refinements: int = 0,
    ):
        fd = firedrake()
        domain = round_cylinder(mesh_hierarchy(read_mesh(resolve_mesh(mesh)), refinements)[-1])
        V, Q = fd.VectorFunctionSpace(domain, "CG", 2), fd.FunctionSpace(domain, "CG", 1)
        Z = V * Q
        self.spaces, self.transfers = {"V": V, "Q": Q, "Z": Z}, []
        self.fields = {"g": "V", "u": "V", "p": "Q"}
        self.peak = (float(peak[0]), float(peak[1]))

        self._g = fd.Function(V, name="g")
        self._z = fd.Function(Z, name="z")
        inflow, walls, cylinder = (markers(domain, [tag]) for tag in self.dirichlet)
        self.residual = steady_residual(self._z, fd.Constant(viscosity, name="viscosity"))
        no_slip = fd.Constant((0, 0))
        bcs = [fd.DirichletBC(Z.sub(0), self._g, inflow), fd.DirichletBC(Z.sub(0), no_slip, walls + cylinder)]
        self._solver = fd.NonlinearVariationalSolver(
            fd.NonlinearVariationalProblem(self.residual, self._z, bcs), solver_parameters=_NEWTON_LU
        )
        self._inflow = V.boundary_nodes(inflow)
        self._heights = fd.Function(Q.reconstruct(element=V.ufl_element().sub_elements[0])).interpolate(
            fd.SpatialCoordinate(domain)[1]
        )
        self._on_cylinder = _indicator(V, cylinder)

    def parabola(self, peak: float) -> Any:
        """The inflow field with a parabolic profile of this peak."""
        return self._profile(lambda s: peak * 4 * s * (1 - s))

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        peak = rng.uniform(*self.peak)
        first, second = 0.2 * peak * rng.standard_normal(2)
        return {
            "g": self._profile(
                lambda s: 4 * s * (1 - s) * (peak + first * np.sin(2 * np.pi * s) + second * np.cos(2 * np.pi * s))
            )
        }

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._g.assign(inputs["g"])
        # From rest each time, so that a solution depends on its input alone.
        self._z.assign(0)
        solve_or_explain(self._solver, "Navier-Stokes")
        u, p = self._z.subfunctions
        return {"u": u.copy(deepcopy=True), "p": p.copy(deepcopy=True)}

    def force_coefficients(self, outputs: Mapping[str, Any], mean_inflow: float) -> tuple[float, float]:
        """Drag and lift coefficients of a solution, 2F / (U² D) with the mean inflow velocity U.

        The forces are the momentum residual tested with a unit velocity on the cylinder (Babuška and Miller, 1984; John and Matthies,
        2001), which converges twice as fast as the boundary integral of the stress.
        """
        fd = firedrake()
        self._z.subfunctions[0].assign(outputs["u"])
        self._z.subfunctions[1].assign(outputs["p"])
        momentum = fd.assemble(self.residual).subfunctions[0].dat.data_ro
        forces = -(momentum * self._on_cylinder[:, None]).sum(axis=0)
        drag, lift = 2 * forces / (mean_inflow**2 * DIAMETER)
        return float(drag), float(lift)

    def _profile(self, velocity) -> Any:
        fd = firedrake()
        g = fd.Function(self.spaces["V"])
        s = self._heights.dat.data_ro[self._inflow] / HEIGHT
        g.dat.data_wo[self._inflow, 0] = velocity(s)
        return g


def steady_residual(z: Any, viscosity: Any) -> Any:
    """The weak form ν ∇u : ∇v + (u·∇)u · v − p ∇·v − q ∇·u for a Taylor-Hood function z = (u, p)."""
    fd = firedrake()
    u, p = fd.split(z)
    v, q = fd.TestFunctions(z.function_space())
    momentum = viscosity * fd.inner(fd.grad(u), fd.grad(v)) + fd.inner(fd.dot(fd.grad(u), u), v) - p * fd.div(v)
    return (momentum - q * fd.div(u)) * fd.dx


def round_cylinder(mesh: Any) -> Any:
    """The same mesh with quadratic cells whose nodes on the cylinder lie on the circle; straight facets would cost a per mille of drag."""
    fd = firedrake()
    X = fd.VectorFunctionSpace(mesh, "CG", 2)
    coordinates = fd.Function(X).interpolate(fd.SpatialCoordinate(mesh))
    nodes = X.boundary_nodes(markers(mesh, ["cylinder"]))
    offset = coordinates.dat.data_ro[nodes] - CENTRE
    radii = np.linalg.norm(offset, axis=1, keepdims=True)
    coordinates.dat.data_wo[nodes] = CENTRE + offset * (DIAMETER / 2) / radii
    rounded = fd.Mesh(coordinates)
    rounded.boundary_names = mesh.boundary_names
    return rounded


def _indicator(V: Any, tags: tuple[int, ...]) -> np.ndarray:
    """One at the nodes on some boundary parts, zero elsewhere."""
    indicator = np.zeros(V.node_count)
    indicator[V.boundary_nodes(tags)] = 1
    return indicator
