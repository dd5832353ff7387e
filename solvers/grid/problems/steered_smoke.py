"""Smoke that a steady force carries about in a closed box, and the flow that does it."""

from collections.abc import Mapping, Sequence
from math import pi
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid, Grids
from ...quantities import require_positive
from ..counter_random import uniform_pairs
from ..faces import Velocity
from ..potentials import potential_of
from ..problem import GRID, GridProblem
from ..sides import FreeSlip
from ..smoke import Smoke
from ..staggered import StaggeredFlow

_EDGE = 0.025  # over which smoke ends


class SteeredSmoke(GridProblem):
    """From the potential ψ of a force f = curl ψ, ψ = Σ_kl m_kl sin(kπx) sin(lπy) / (π(k + l)), to flow and smoke up to time 1.

    Fluid at rest in the closed unit square, with slip at the walls, carries a disc of smoke, about (0.3, 0.35) and of radius 0.16. Inputs
    are ``psi``, at the vertices of the cells, ``(batch, 1, x + 1, y + 1)``, and the smoke at time 0, ``c0``, in the cells,
    ``(batch, 1, x, y)``. Outputs are the stream function ``stream``, at the vertices, and the smoke ``c`` at the times 1/frames,
    2/frames, ..., 1, ``(batch, frames, 1, ...)``. Random m_kl are uniform in (−strength, strength).

    Args:
        cells: along each side.
        modes: k, l = 1, ..., modes.
        viscosity: of the fluid.
        strength: of the random forces; one that lasts for a unit of time accelerates the fluid to about its size.
        dt: the longest time step. Smoke keeps its bounds for certain while dt Σ_i |u_i| is at most the size of a cell.
        frames: of the trajectories.

    Raises:
        InputError: no cells or frames, more modes than cells can tell apart, or quantities that are not positive.
    """

    inputs = ("psi", "c0")
    outputs = ("stream", "c")
    places = MappingProxyType({"psi": "vertices", "stream": "vertices"})

    def __init__(
        self, cells: int = 24, modes: int = 4, viscosity: float = 5e-3, strength: float = 1.5, dt: float = 0.01, frames: int = 10
    ):
        require_positive(viscosity=viscosity, strength=strength, dt=dt)
        if min(cells, modes, frames) < 1 or modes >= cells or dt > 1:
            raise InputError(f"No smoke is steered with cells={cells}, modes={modes}, dt={dt} and frames={frames}.")
        self.cells, self.modes, self.viscosity, self.strength, self.dt = cells, modes, viscosity, strength, dt
        self.grid, self.vertices = Grid((cells, cells), location="centre"), Grid((cells + 1, cells + 1))
        self.frames, self.times = frames, np.arange(1, frames + 1) / frames
        self.start = self.ellipse((0.3, 0.35), (0.16, 0.16))

    def ellipse(self, centre: Sequence[float], radii: Sequence[float]) -> Tensor:
        """Smoke that is 1 inside of an ellipse and 0 outside, ``(1, x, y)`` in double precision."""
        x, y = self.grid.coordinates(torch.float64)
        r = (((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2).sqrt()
        return torch.sigmoid((1 - r) * min(radii) / _EDGE)[None]

    def potential(self, m: Tensor) -> Tensor:
        """ψ at the vertices of the cells, ``(batch, 1, x + 1, y + 1)``, for coefficients ``(batch, modes, modes)``."""
        k, x = torch.arange(1, self.modes + 1).to(m), torch.linspace(0, 1, self.cells + 1).to(m)
        sines = (pi * k[:, None] * x).sin()
        return torch.einsum("bkl,kx,ly->bxy", m / (pi * (k[:, None] + k)), sines, sines)[:, None]

    def smoke(self, m: Tensor, frames: int = 1) -> Tensor:
        """The smoke at the times 0, 1/frames, ..., 1 for coefficients ``(batch, modes, modes)``: ``(batch, frames + 1, 1, x, y)``."""
        return self._carried(self.potential(m), self.start.to(m).expand(len(m), 1, -1, -1), frames)[1]

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        a, _ = uniform_pairs(seed, samples, [torch.arange(self.modes**2)])
        m = self.strength * (2 * a - 1).to(self.device, self.dtype)
        return {"m": m.reshape(-1, self.modes, self.modes)}

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"psi": self.potential(inputs["m"]), "c0": self.start.to(inputs["m"]).expand(len(inputs["m"]), 1, -1, -1)}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        fields = self.stored(inputs)
        velocity, c = self._carried(fields["psi"], fields["c0"], self.frames)
        (stream,) = potential_of(velocity, self.vertices.spacings, self.vertices.periodic)
        return {"stream": stream[:, 1:], "c": c[:, 1:]}

    def export(self) -> Grids:
        return Grids({GRID: self.grid, "vertices": self.vertices})

    def _carried(self, psi: Tensor, c: Tensor, frames: int) -> tuple[Velocity, Tensor]:
        """Velocities and smoke at the times 0, 1/frames, ..., 1."""
        # Differences of ψ at the vertices: the force has no divergence on the grid.
        force = psi.diff(dim=3) * self.cells, -psi.diff(dim=2) * self.cells
        sides = {side: FreeSlip() for side in ("x0", "x1", "y0", "y1")}
        flow = StaggeredFlow(
            (self.cells, self.cells), viscosity=self.viscosity, sides=sides, force=force, dtype=psi.dtype, device=psi.device
        )
        return Smoke(flow).solve(flow.at_rest(len(c)), c, 1 / frames, frames, dt=self.dt)
