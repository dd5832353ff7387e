"""Smoke that a steady force carries about in a closed box: where it is after a unit of time."""

from collections.abc import Mapping, Sequence
from math import pi

import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ...quantities import require_positive
from ..counter_random import uniform_pairs
from ..problem import GridProblem
from ..sides import FreeSlip
from ..smoke import Smoke
from ..staggered import StaggeredFlow

_EDGE = 0.025  # over which smoke ends


class SteeredSmoke(GridProblem):
    """From the potential ψ of a force f = curl ψ, ψ = Σ_kl m_kl sin(kπx) sin(lπy) / (π(k + l)), to the smoke c at time 1.

    Fluid at rest in the closed unit square, with slip at the walls, carries a disc of smoke, about (0.3, 0.35) and of radius 0.16. The
    fields ``psi`` and ``c`` are ``(batch, 1, x, y)``, at the middles of the cells. Random m_kl are uniform in (−strength, strength).

    Args:
        cells: along each side.
        modes: k, l = 1, ..., modes.
        viscosity: of the fluid.
        strength: of the random forces; one that lasts for a unit of time accelerates the fluid to about its size.
        dt: the longest time step.

    Raises:
        InputError: no cells, more modes than cells can tell apart, or quantities that are not positive.
    """

    inputs = ("psi",)
    outputs = ("c",)

    def __init__(self, cells: int = 24, modes: int = 4, viscosity: float = 5e-3, strength: float = 1.5, dt: float = 0.02):
        require_positive(viscosity=viscosity, strength=strength, dt=dt)
        if min(cells, modes) < 1 or modes >= cells or dt > 1:
            raise InputError(f"No smoke is steered with cells={cells}, modes={modes} and dt={dt}.")
        self.cells, self.modes, self.viscosity, self.strength, self.dt = cells, modes, viscosity, strength, dt
        self.grid = Grid((cells, cells), location="centre")
        self.start = self.ellipse((0.3, 0.35), (0.16, 0.16))

    def ellipse(self, centre: Sequence[float], radii: Sequence[float]) -> Tensor:
        """Smoke that is 1 inside of an ellipse and 0 outside, ``(1, x, y)`` in double precision."""
        x, y = self.grid.coordinates(torch.float64)
        r = (((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2).sqrt()
        return torch.sigmoid((1 - r) * min(radii) / _EDGE)[None]

    def potential(self, m: Tensor) -> Tensor:
        """ψ at the middles of the cells, ``(batch, 1, x, y)``, for coefficients ``(batch, modes, modes)``."""
        return self._potential(m, (torch.arange(self.cells) + 0.5) / self.cells)[:, None]

    def smoke(self, m: Tensor, frames: int = 1) -> Tensor:
        """The smoke at the times 0, 1/frames, ..., 1 for coefficients ``(batch, modes, modes)``: ``(batch, frames + 1, 1, x, y)``."""
        # Differences of ψ at the vertices: the force has no divergence on the grid.
        psi = self._potential(m, torch.arange(self.cells + 1) / self.cells)[:, None]
        force = psi.diff(dim=3) * self.cells, -psi.diff(dim=2) * self.cells
        sides = {side: FreeSlip() for side in ("x0", "x1", "y0", "y1")}
        flow = StaggeredFlow(
            (self.cells, self.cells), viscosity=self.viscosity, sides=sides, force=force, dtype=m.dtype, device=m.device
        )
        start = self.start.to(m).expand(len(m), 1, -1, -1)
        return Smoke(flow).solve(flow.at_rest(len(m)), start, 1 / frames, frames, dt=self.dt)[1]

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        a, _ = uniform_pairs(seed, samples, [torch.arange(self.modes**2)])
        m = self.strength * (2 * a - 1).to(self.device, self.dtype)
        return {"m": m.reshape(-1, self.modes, self.modes)}

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"psi": self.potential(inputs["m"])}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"c": self.smoke(inputs["m"])[:, -1]}

    def _potential(self, m: Tensor, x: Tensor) -> Tensor:
        """ψ at the points (x_i, x_j), ``(batch, x, y)``."""
        k = torch.arange(1, self.modes + 1).to(m)
        sines = (pi * k[:, None] * x.to(m)).sin()
        return torch.einsum("bkl,kx,ly->bxy", m / (pi * (k[:, None] + k)), sines, sines)
