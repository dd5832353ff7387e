"""A channel with round bodies in it: Taylor-Hood spaces, inflow, forces on the bodies, whatever the flow is to be in time."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..fem.firedrake import firedrake
from .navier_stokes import taylor_hood
from .obstacles import Disc
from .problem import markers


class FlowChannel:
    """Taylor-Hood spaces ``V``, ``Q``, ``Z`` in a channel along x from y = 0, whose quadratic cells follow the bodies' circles.

    A subclass says in ``boundary`` what inflow, walls and bodies are called.

    Args:
        meshes: coarse to fine, each with these boundary parts.
        height: of the channel.
        bodies: discs, as the meshes leave them out.
    """

    boundary: ClassVar[tuple[str, str, str]]

    def __init__(self, meshes: Sequence[Any], height: float, bodies: Sequence[Disc]):
        fd = firedrake()
        *self._coarser, finest = meshes
        self.height, self.bodies = height, tuple(bodies)
        self.mesh = self._rounded(finest)
        self.V, self.Q, self.Z = taylor_hood(self.mesh)
        self._inflow, walls, self._rims = (markers(self.mesh, [tag]) for tag in self.boundary)
        self._solid = walls + self._rims
        self._inflow_nodes = self.V.boundary_nodes(self._inflow)
        S = fd.FunctionSpace(self.mesh, "CG", 2)
        heights = fd.Function(S).interpolate(fd.SpatialCoordinate(self.mesh)[1])
        self._heights = heights.dat.data_ro[self._inflow_nodes] / height

    def conditions(self, velocities: Any, g: Any) -> list[Any]:
        """u = g at the inflow, no slip at walls and bodies, for the velocities in ``Z.sub(0)`` or in another mixed space."""
        fd = firedrake()
        return [fd.DirichletBC(velocities, g, self._inflow), fd.DirichletBC(velocities, 0, self._solid)]

    def scalar_spaces(self) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Scalar spaces for processors, and the transfers between them.

        ``S`` is quadratic, with the velocity's nodes; ``Q`` the pressure's; ``Q1``, ``Q2``, ... are linear on the coarser meshes. The
        transfers lead from each to the next finer one, and from ``S`` to ``Q``.
        """
        fd = firedrake()
        spaces = {"S": fd.FunctionSpace(self.mesh, "CG", 2), "Q": self.Q}
        for i, mesh in enumerate(reversed(self._coarser), start=1):
            spaces[f"Q{i}"] = fd.FunctionSpace(self._rounded(mesh), "CG", 1)
        names = list(spaces)
        return spaces, [*zip(names[1:], names, strict=False), ("S", "Q")]

    def mean_inflow(self, g: Any) -> Any:
        """The functional ∫ g₁ / height over the inflow: the mean velocity that Reynolds numbers and force coefficients go by."""
        return g[0] / self.height * firedrake().ds(self._inflow, domain=self.mesh)

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

    def unit_velocity(self, component: int, body: int | None = None) -> Any:
        """The function of ``V`` that is one in a component at the nodes of a body, of all by default, and zero at all others.

        The momentum residual tested with it is the force on the body (Babuška and Miller, 1984; John and Matthies, 2001), which
        converges twice as fast as the boundary integral of the stress.

        Raises:
            InputError: there is no such body.
        """
        nodes = self.V.boundary_nodes(self._rims)
        if body is not None:
            if not 0 <= body < len(self.bodies):
                raise InputError(f"There is no body {body} in the channel; it has {len(self.bodies)}, the first of which is 0.")
            x, y = firedrake().Function(self.V).interpolate(firedrake().SpatialCoordinate(self.mesh)).dat.data_ro[nodes].T
            nodes = nodes[np.argmin([abs(disc.distance(x, y)) for disc in self.bodies], axis=0) == body]
        w = firedrake().Function(self.V)
        w.dat.data_wo[nodes, component] = 1
        return w

    def pressure_difference(self, p: Any, body: int = 0) -> float:
        """Pressure at the foremost point of a body minus that at its rearmost."""
        front, back = self._fronts_and_backs.evaluate(p)[2 * body : 2 * body + 2]
        return float(front - back)

    @cached_property
    def _fronts_and_backs(self) -> Any:
        points = [[disc.x + side * disc.radius, disc.y] for disc in self.bodies for side in (-1, 1)]
        return firedrake().PointEvaluator(self.mesh, points)

    def _rounded(self, mesh: Any) -> Any:
        """The same mesh with quadratic cells whose nodes on bodies lie on their circles; straight facets would cost a per mille of drag."""
        fd = firedrake()
        X = fd.VectorFunctionSpace(mesh, "CG", 2)
        coordinates = fd.Function(X).interpolate(fd.SpatialCoordinate(mesh))
        nodes = X.boundary_nodes(markers(mesh, self.boundary[2:]))
        points = coordinates.dat.data_ro[nodes]
        nearest = np.argmin([abs(disc.distance(*points.T)) for disc in self.bodies], axis=0)
        centres, radii = np.array([(d.x, d.y) for d in self.bodies])[nearest], np.array([d.radius for d in self.bodies])[nearest]
        offset = points - centres
        lengths = np.linalg.norm(offset, axis=1, keepdims=True)
        coordinates.dat.data_wo[nodes] = centres + offset * radii[:, None] / lengths
        rounded = fd.Mesh(coordinates)
        rounded.boundary_names = mesh.boundary_names
        return rounded
