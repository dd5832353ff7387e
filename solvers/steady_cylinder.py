"""Steady incompressible flow past a cylinder in a channel, and the forces on the cylinder."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..fem.firedrake import firedrake
from .cylinder_channel import DIAMETER, CylinderChannel
from .navier_stokes import NEWTON_LU, newton, steady_residual
from .problem import Problem, solve_or_explain
from .quantities import require_positive


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
    dirichlet = CylinderChannel.boundary

    def __init__(
        self,
        mesh: str = "cylinder_channel.msh",
        viscosity: float = 1e-3,
        peak: tuple[float, float] = (0.1, 0.4),
        refinements: int = 0,
    ):
        require_positive(viscosity=viscosity)
        fd = firedrake()
        self.channel = CylinderChannel(mesh, refinements)
        V, Q, Z = self.channel.V, self.channel.Q, self.channel.Z
        self.spaces, self.transfers = {"V": V, "Q": Q, "Z": Z}, []
        self.fields = {"g": "V", "u": "V", "p": "Q"}
        self.peak = (float(peak[0]), float(peak[1]))

        self._g, self._z = fd.Function(V, name="g"), fd.Function(Z, name="z")
        self._viscosity = fd.Constant(viscosity, name="viscosity")
        self.residual = steady_residual(self._z, self._viscosity)
        equation = fd.NonlinearVariationalProblem(self.residual, self._z, self.channel.conditions(Z.sub(0), self._g))
        self.nonlinear_solver = fd.NonlinearVariationalSolver(equation, solver_parameters=NEWTON_LU)
        self._directions = [self.channel.unit_velocity(i) for i in (0, 1)]

    def parabola(self, peak: float) -> Any:
        """The inflow field with a parabolic profile of this peak."""
        return self.channel.parabola(peak)

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"g": self.channel.random_inflow(rng, self.peak)}

    def solve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._g.assign(inputs["g"])
        newton(self.nonlinear_solver, self._z, self._viscosity, "Navier-Stokes")
        return self._outputs()

    def solve_from(self, inputs: Mapping[str, Any], guess: Mapping[str, Any]) -> dict[str, Any]:
        self._g.assign(inputs["g"])
        for part, name in zip(self._z.subfunctions, self.outputs, strict=True):
            part.assign(guess[name])
        solve_or_explain(self.nonlinear_solver, "Navier-Stokes")
        return self._outputs()

    def _outputs(self) -> dict[str, Any]:
        return {name: part.copy(deepcopy=True) for name, part in zip(self.outputs, self._z.subfunctions, strict=True)}

    def force_coefficients(self, outputs: Mapping[str, Any], mean_inflow: float) -> tuple[float, float]:
        """Drag and lift coefficients of a solution, 2F / (U² D) with the mean inflow velocity U.

        See :meth:`CylinderChannel.unit_velocity` for the formula.
        """
        self._z.subfunctions[0].assign(outputs["u"])
        self._z.subfunctions[1].assign(outputs["p"])
        momentum = firedrake().assemble(self.residual).subfunctions[0].dat.data_ro
        drag, lift = (-2 * float((momentum * w.dat.data_ro).sum()) / (mean_inflow**2 * DIAMETER) for w in self._directions)
        return drag, lift
