"""Smoke steered to a target: the steady force that turns a disc of smoke into an ellipse elsewhere.

Minimises ½‖c(T) − c_d‖² + α/2 ‖m‖² over the coefficients m of the force f = curl Σ_kl m_kl sin(kπx) sin(lπy) / (π(k + l)) in a closed
box, by L-BFGS-B on the gradient through every step of flow and smoke. Disc and ellipse have the same area, for the flow conserves it.
Run it by ``python examples/smoke_to_target.py``.
"""

from math import pi
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thalweg import control
from thalweg.fem import Grid
from thalweg.solvers.grid import FreeSlip, Smoke, StaggeredFlow
from thalweg.visualization import plot_comparison

ALPHA = 1e-6
STEP = 1 / 50


def blob(cells: int, centre: tuple[float, float], radii: tuple[float, float]) -> Tensor:
    """1 inside of an ellipse, 0 outside, smooth over a tenth; ``(1, 1, x, y)``."""
    x = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    r = (((x[:, None] - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2).sqrt()
    return torch.sigmoid((1 - r) * min(radii) / 0.025)[None, None]


class Box:
    """From a force's coefficients to the smoke at frames up to time 1."""

    def __init__(self, cells: int, modes: int):
        self.cells, self.c0 = cells, blob(cells, (0.3, 0.35), (0.16, 0.16))
        nodes, k = torch.linspace(0, 1, cells + 1, dtype=torch.float64), torch.arange(1, modes + 1)
        self.sines = (pi * k[:, None] * nodes).sin()
        self.weights = 1 / (pi * (k[:, None] + k))

    def force(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """(∂ψ/∂y, −∂ψ/∂x) at the faces by differences of ψ at the vertices: without divergence on the grid."""
        psi = torch.einsum("kl,kx,ly->xy", m * self.weights, self.sines, self.sines)[None, None]
        return psi.diff(dim=3) * self.cells, -psi.diff(dim=2) * self.cells

    def smoke(self, m: Tensor, frames: int = 1) -> Tensor:
        """``(frames + 1, 1, x, y)``."""
        flow = StaggeredFlow(
            (self.cells, self.cells),
            viscosity=0.005,
            sides={side: FreeSlip() for side in ("x0", "x1", "y0", "y1")},
            force=self.force(m),
            dtype=torch.float64,
        )
        return Smoke(flow).solve(flow.at_rest(), self.c0, 1 / frames, frames, dt=STEP)[1][0]


def main(cells: int = 24, modes: int = 4, iterations: int = 30, folder: str = "outputs/examples") -> dict[str, float]:
    """Return the relative mismatch ‖c(T) − c_d‖/‖c_d‖ without and with control, and the lowest rate of the Taylor test."""
    box, grid = Box(cells, modes), Grid((cells, cells), location="centre")
    wanted = blob(cells, (0.65, 0.6), (0.256, 0.1))

    def objective(m: dict[str, Tensor]) -> Tensor:
        misfit = box.smoke(m["m"])[-1] - wanted[0]
        return 0.5 * misfit.square().mean() + ALPHA / 2 * m["m"].square().sum()

    start = control.Control("m", np.zeros((modes, modes)), low=-3, high=3)
    start.initial[0, 0] = -1.0
    functional = control.TorchFunctional(objective, [start], torch.float64)
    # Small steps, for the limiter has kinks.
    rates = control.taylor_test(functional, {"m": start.initial}, {"m": np.eye(modes)}, steps=(1e-4, 5e-5, 2.5e-5))
    found = control.minimize(functional, iterations, tolerance=1e-4)
    with torch.no_grad():
        frames = box.smoke(torch.from_numpy(found.controls["m"]), frames=4)

    def mismatch(c: Tensor) -> float:
        return (grid.norm(c - wanted[0], "L2") / grid.norm(wanted[0], "L2")).item()

    without, controlled = mismatch(box.c0[0]), mismatch(frames[-1])
    print(f"mismatch {without:.3f} uncontrolled, {controlled:.3f} controlled, after {found.iterations} iterations")
    print(f"Taylor rates {rates.round(3)}, largest coefficient {np.abs(found.controls['m']).max():.2f}, {found.seconds:.0f} s")
    Path(folder).mkdir(parents=True, exist_ok=True)
    panels = {f"smoke at {i / 4:g}": frames[i] for i in range(5)} | {"target": wanted[0]}
    plot_comparison(grid, panels, Path(folder) / "smoke_to_target.png", columns=6)
    return {"uncontrolled": without, "controlled": controlled, "taylor": float(rates.min())}


if __name__ == "__main__":
    main()
