"""Smoke steered to a target by a steady force, through every step of a differentiable solver."""

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor

from ..errors import InputError
from ..fem import Grid
from ..solvers.grid import FreeSlip, Smoke, StaggeredFlow
from .case import ControlCase, Panels, Values
from .controls import Control
from .functional import ReducedFunctional
from .torch_functional import TorchFunctional

_EDGE = 0.025  # over which smoke ends


class SmokeTarget(ControlCase):
    """min ½‖c(1) − c_d‖² + α/2 ‖m‖² over the coefficients "m" of a force f = curl Σ_kl m_kl sin(kπx) sin(lπy) / (π(k + l)).

    Fluid at rest in the closed unit square, with slip at the walls, carries a disc of smoke c(0), about (0.3, 0.35) and of radius 0.16.
    c_d is an ellipse of the same area, which the flow conserves.

    Args:
        cells: along each side.
        modes: k, l = 1, ..., modes.
        alpha: α.
        target: x and y of the ellipse's centre.
        viscosity: of the fluid.
        dt: the longest time step.
    """

    models = ("torch",)
    one_scale = True

    def __init__(
        self,
        cells: int = 24,
        modes: int = 4,
        alpha: float = 1e-6,
        target: Sequence[float] = (0.65, 0.6),
        viscosity: float = 5e-3,
        dt: float = 0.02,
    ):
        if min(cells, modes) < 1 or modes >= cells or alpha < 0 or not 0 < dt <= 1:
            raise InputError(f"No smoke is steered with cells={cells}, modes={modes}, alpha={alpha} and dt={dt}.")
        self.cells, self.alpha, self.viscosity, self.dt = cells, alpha, viscosity, dt
        self.grid, self.shapes = Grid((cells, cells), location="centre"), {"m": (modes, modes)}
        self.start, self.wanted = self._ellipse((0.3, 0.35), (0.16, 0.16)), self._ellipse(target, (0.256, 0.1))
        nodes, k = torch.linspace(0, 1, cells + 1, dtype=torch.float64), torch.arange(1, modes + 1)
        self._sines, self._weights = (pi * k[:, None] * nodes).sin(), 1 / (pi * (k[:, None] + k))

    def force(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """(∂ψ/∂y, −∂ψ/∂x) at the faces by differences of ψ at the vertices: without divergence on the grid."""
        psi = torch.einsum("kl,kx,ly->xy", m * self._weights, self._sines, self._sines)[None, None]
        return psi.diff(dim=3) * self.cells, -psi.diff(dim=2) * self.cells

    def smoke(self, m: Tensor, frames: int = 1) -> Tensor:
        """The smoke at the times 0, 1/frames, ..., 1: ``(frames + 1, 1, x, y)``."""
        sides = {side: FreeSlip() for side in ("x0", "x1", "y0", "y1")}
        flow = StaggeredFlow(
            (self.cells, self.cells), viscosity=self.viscosity, sides=sides, force=self.force(m), dtype=torch.float64
        )
        return Smoke(flow).solve(flow.at_rest(), self.start[None], 1 / frames, frames, dt=self.dt)[1][0]

    def functional(self, model: str, controls: list[Control] | None = None) -> ReducedFunctional:
        self.require(model)
        return TorchFunctional(self._objective, self.controls() if controls is None else controls, torch.float64)

    def quantities(self, values: Values, model: str) -> dict[str, float]:
        self.require(model)
        m = torch.as_tensor(values["m"], dtype=torch.float64)
        with torch.no_grad():
            off = self.smoke(m)[-1] - self.wanted
        mismatch = self.grid.norm(off, "L2") / self.grid.norm(self.wanted, "L2")
        return {
            "objective": self.functional(model)(values),
            "mismatch": mismatch.item(),
            "largest coefficient": m.abs().max().item(),
        }

    def panels(self, values: Values) -> Panels:
        with torch.no_grad():
            frames = self.smoke(torch.as_tensor(values["m"], dtype=torch.float64), frames=4)
        shown = {f"smoke at {i / 4:g}": c for i, c in enumerate(frames)} | {"target": self.wanted}
        return {title: (self.grid, c) for title, c in shown.items()}

    def _objective(self, m: dict[str, Tensor]) -> Tensor:
        return 0.5 * (self.smoke(m["m"])[-1] - self.wanted).square().mean() + self.alpha / 2 * m["m"].square().sum()

    def _ellipse(self, centre: Sequence[float], radii: Sequence[float]) -> Tensor:
        """1 inside, 0 outside, ``(1, x, y)``."""
        x, y = self.grid.coordinates(torch.float64)
        r = (((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2).sqrt()
        return torch.sigmoid((1 - r) * min(radii) / _EDGE)[None]
