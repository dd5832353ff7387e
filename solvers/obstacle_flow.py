"""Steady channel flow past random obstacles, on one mesh for all of them or on a mesh around them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..fem.communicator import communicator
from ..fem.firedrake import firedrake
from .navier_stokes import NEWTON_LU, measure, newton, steady_residual, taylor_hood
from .obstacles import Channel, Disc, obstacle_mesh
from .problem import Problem
from .quantities import require_positive


class ObstacleFlow(Problem):
    """−ν Δu + (u·∇)u + ∇p + (ν/K) χ u = 0, ∇·u = 0 in a channel: obstacles are a porous medium of small permeability K.

    The input is the indicator ``chi`` of one to three random discs, a linear field that rises from 0 to 1 inside their rims; the outputs
    are the velocity ``u`` (quadratic) and the pressure ``p`` (linear). The inflow is a parabola, walls are at rest, the outflow is free.

    The penalty's error has two parts: the flow enters the medium by √K (Angot, Bruneau and Fabrie, Numer. Math. 81, 1999), and the mesh
    does not see rims. With K = 0.006 h² and a rim that begins h/4 inside, both shrink with h. Measured against meshes around one, two
    and three discs (:meth:`body_fitted`), the velocity outside the discs is off by 1.7, 3.6 and 5.9 % in L² for h = 1/24, and by 0.8, 1.7
    and 1.5 % for h = 1/48.

    Args:
        cells: across the channel; h is its height divided by them.
        viscosity: ν; Reynolds numbers with the discs' diameters should stay below 40 for the flow to be steady.
        peak: of the inflow.
        number: range of the number of discs.
        radius: range of their radii.
        gap: the least distance between discs, and between discs and walls.
        channel: length and height.
    """

    inputs = ("chi",)
    outputs = ("u", "p")
    dirichlet = ("inflow", "bottom", "top")
    PERMEABILITY = 0.006  # K / h²
    INSET = 0.25  # of the rim, in h

    def __init__(
        self,
        cells: int = 32,
        viscosity: float = 0.01,
        peak: float = 1.0,
        number: tuple[int, int] = (1, 3),
        radius: tuple[float, float] = (0.08, 0.15),
        gap: float = 0.1,
        channel: tuple[float, float] = (4.0, 1.0),
    ):
        if not 1 <= number[0] <= number[1]:
            raise InputError(f"The number of obstacles must be a range of 1 or more, not {number[0]} to {number[1]}.")
        require_positive(viscosity=viscosity)
        fd = firedrake()
        self.channel = Channel(*channel)
        self.number, self.radius, self.gap = number, radius, gap
        self.viscosity, self.peak = viscosity, peak
        self._h = self.channel.height / cells
        along = round(self.channel.length / self._h)
        mesh = fd.RectangleMesh(along, cells, self.channel.length, self.channel.height, comm=communicator())
        mesh.boundary_names = {"inflow": 1, "outflow": 2, "bottom": 3, "top": 4}
        V, Q, Z = taylor_hood(mesh)
        self.spaces, self.transfers = {"V": V, "Q": Q, "Z": Z}, []
        self.fields = {"chi": "Q", "u": "V", "p": "Q"}

        self._chi, self._z = fd.Function(Q, name="chi"), fd.Function(Z, name="z")
        self._viscosity = fd.Constant(viscosity, name="viscosity")
        drag = self._viscosity / (self.PERMEABILITY * self._h**2) * self._chi * fd.split(self._z)[0]
        self.residual = steady_residual(self._z, self._viscosity) + fd.inner(drag, fd.TestFunctions(Z)[0]) * measure(Z)
        self._solver = self._flow_solver(self.residual, self._z, inflow=1, solid=(3, 4))
        self._points = fd.Function(fd.VectorFunctionSpace(mesh, "CG", 1)).interpolate(fd.SpatialCoordinate(mesh)).dat.data_ro

    def indicator(self, discs: Sequence[Disc]) -> Any:
        """The field chi of some discs.

        Raises:
            InputError: they overlap or leave the channel.
        """
        self.channel.check(discs)
        x, y = self._points.T
        distance = np.min([disc.distance(x, y) for disc in discs], axis=0)
        chi = firedrake().Function(self.spaces["Q"])
        chi.dat.data_wo[...] = np.clip(-self.INSET - distance / self._h, 0, 1)
        return chi

    def random_discs(self, rng: np.random.Generator) -> list[Disc]:
        """Discs as :meth:`random_inputs` draws them."""
        return self.channel.random_discs(rng, self.number, self.radius, self.gap)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"chi": self.indicator(self.random_discs(rng))}

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._chi.assign(inputs["chi"])
        newton(self._solver, self._z, self._viscosity, "obstacle")
        u, p = self._z.subfunctions
        return {"u": u.copy(deepcopy=True), "p": p.copy(deepcopy=True)}

    def body_fitted(self, discs: Sequence[Disc], size: float, near: float | None = None) -> dict[str, Any]:
        """The flow without penalty, u = 0 on the discs, on a mesh around them (see :func:`obstacle_mesh`)."""
        fd = firedrake()
        mesh = obstacle_mesh(self.channel, discs, size, near)
        z = fd.Function(taylor_hood(mesh)[2])
        viscosity, tags = fd.Constant(self.viscosity), mesh.boundary_names
        solid = tuple(tags[name] for name in ("walls", "obstacles") if name in tags)
        solver = self._flow_solver(steady_residual(z, viscosity), z, tags["inflow"], solid)
        newton(solver, z, viscosity, "obstacle")
        u, p = z.subfunctions
        return {"u": u, "p": p}

    def _flow_solver(self, residual: Any, z: Any, inflow: int, solid: tuple[int, ...]) -> Any:
        fd = firedrake()
        V = z.function_space().sub(0)
        y = fd.SpatialCoordinate(z.function_space().mesh())[1] / self.channel.height
        parabola = fd.Function(V.collapse()).interpolate(fd.as_vector([4 * self.peak * y * (1 - y), 0]))
        bcs = [fd.DirichletBC(V, parabola, inflow), fd.DirichletBC(V, fd.Constant((0, 0)), solid)]
        return fd.NonlinearVariationalSolver(fd.NonlinearVariationalProblem(residual, z, bcs), solver_parameters=NEWTON_LU)
