"""The channel with a cylinder of the DFG benchmarks (Schäfer and Turek, 1996): geometry, inflow, forces on the cylinder."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ..fem import mesh_hierarchy, read_mesh
from ..fem.firedrake import firedrake
from .navier_stokes import taylor_hood
from .problem import markers, resolve_mesh

HEIGHT = 0.41  # of the channel, in metres
DIAMETER = 0.1  # of the cylinder
CENTRE = (0.2, 0.2)


class CylinderChannel:
    """Taylor-Hood spaces ``V``, ``Q``, ``Z`` in the channel, whose quadratic cells follow the circle.

    Args:
        mesh: mesh file with the boundary parts inflow, outflow, walls and cylinder, or the name of one that comes with thalweg.
        refinements: how often the mesh is refined.
    """

    boundary = ("inflow", "walls", "cylinder")

    def __init__(self, mesh: str, refinements: int = 0):
        fd = firedrake()
        *self._coarser, finest = mesh_hierarchy(read_mesh(resolve_mesh(mesh)), refinements)
        self.mesh = round_cylinder(finest)
        self.V, self.Q, self.Z = taylor_hood(self.mesh)
        self._inflow, walls, self._cylinder = (markers(self.mesh, [tag]) for tag in self.boundary)
        self._solid = walls + self._cylinder
        self._inflow_nodes = self.V.boundary_nodes(self._inflow)
        S = fd.FunctionSpace(self.mesh, "CG", 2)
        heights = fd.Function(S).interpolate(fd.SpatialCoordinate(self.mesh)[1])
        self._heights = heights.dat.data_ro[self._inflow_nodes] / HEIGHT

    def conditions(self, g: Any) -> list[Any]:
        """u = g at the inflow, no slip at walls and cylinder."""
        fd = firedrake()
        V = self.Z.sub(0)
        return [fd.DirichletBC(V, g, self._inflow), fd.DirichletBC(V, fd.Constant((0, 0)), self._solid)]

    def scalar_spaces(self) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Scalar spaces for processors, and the transfers between them.

        ``S`` is quadratic, with the velocity's nodes; ``Q`` the pressure's; ``Q1``, ``Q2``, ... are linear on the coarser meshes. The
        transfers lead from each to the next finer one, and from ``S`` to ``Q``.
        """
        fd = firedrake()
        spaces = {"S": fd.FunctionSpace(self.mesh, "CG", 2), "Q": self.Q}
        for i, mesh in enumerate(reversed(self._coarser), start=1):
            spaces[f"Q{i}"] = fd.FunctionSpace(round_cylinder(mesh), "CG", 1)
        names = list(spaces)
        return spaces, [*zip(names[1:], names, strict=False), ("S", "Q")]

    def mean_inflow(self, g: Any) -> Any:
        """The functional ∫ g₁ / height over the inflow: the mean velocity that Reynolds numbers and force coefficients go by."""
        return g[0] / HEIGHT * firedrake().ds(self._inflow, domain=self.mesh)

    def inflow(self, velocity: Callable[[np.ndarray], np.ndarray]) -> Any:
        """The velocity in ``V`` along the channel with this profile over [0, 1] at the inflow, and zero elsewhere."""
        g = firedrake().Function(self.V)
        g.dat.data_wo[self._inflow_nodes, 0] = velocity(self._heights)
        return g

    def parabola(self, peak: float) -> Any:
        """The inflow with a parabolic profile of this peak."""
        return self.inflow(lambda s: peak * 4 * s * (1 - s))

    def random_inflow(self, rng: np.random.Generator, peak: tuple[float, float], modes: float = 0.2) -> Any:
        """A parabola with a random peak in a range, and two random modes of this relative size that keep it zero at the walls."""
        top = rng.uniform(*peak)
        first, second = modes * top * rng.standard_normal(2)
        return self.inflow(lambda s: 4 * s * (1 - s) * (top + first * np.sin(2 * np.pi * s) + second * np.cos(2 * np.pi * s)))

    def unit_velocity(self, component: int) -> Any:
        """The function of ``V`` that is one in a component at the nodes of the cylinder and zero at all others.

        The momentum residual tested with it is the force on the cylinder (Babuška and Miller, 1984; John and Matthies, 2001), which
        converges twice as fast as the boundary integral of the stress.
        """
        w = firedrake().Function(self.V)
        w.dat.data_wo[self.V.boundary_nodes(self._cylinder), component] = 1
        return w

    def pressure_difference(self, p: Any) -> float:
        """Pressure in front of the cylinder minus pressure behind it, benchmark points (0.15, 0.2) and (0.25, 0.2)."""
        front, back = self._front_and_back.evaluate(p)
        return float(front - back)

    @cached_property
    def _front_and_back(self) -> Any:
        (x, y), radius = CENTRE, DIAMETER / 2
        return firedrake().PointEvaluator(self.mesh, [[x - radius, y], [x + radius, y]])


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
