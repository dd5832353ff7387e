"""Smoke steered to a target: the steady force that turns a disc of smoke into an ellipse elsewhere.

Minimises ½‖c(1) − c_d‖² + α/2 ‖m‖² over the coefficients of a force, by L-BFGS-B on the gradient through every step of flow and smoke
(:class:`thalweg.control.SmokeTarget`, as ``thalweg control experiment=smoke_target`` has it). The flow that is found is then run on a grid
twice as fine. Run it by ``python examples/smoke_to_target.py``.
"""

from pathlib import Path

import numpy as np

from thalweg import control
from thalweg.solvers.grid.problems import SteeredSmoke
from thalweg.visualization import plot_comparison


def main(cells: int = 24, modes: int = 4, iterations: int = 30, folder: str = "outputs/examples") -> dict[str, float]:
    """Return the relative mismatch ‖c(1) − c_d‖/‖c_d‖ without control, with it, and on the finer grid, and the lowest Taylor rate."""
    case, fine = (control.SmokeTarget(SteeredSmoke(n * cells, modes, dt=0.02 / n)) for n in (1, 2))
    start = np.zeros((modes, modes))
    start[0, 0] = -1.0
    functional = case.functional("torch", case.controls({"m": {"initial": start, "low": -3, "high": 3}}))
    # Small steps, for the limiter has kinks.
    rates = control.taylor_test(functional, {"m": start}, {"m": np.eye(modes)}, steps=(1e-4, 5e-5, 2.5e-5))
    found = control.minimize(functional, iterations, tolerance=1e-4)
    mismatch = {
        "uncontrolled": case.quantities(case.uncontrolled, "torch")["mismatch"],
        "controlled": case.quantities(found.controls, "torch")["mismatch"],
        "on the finer grid": fine.quantities(found.controls, "torch")["mismatch"],
    }
    print("mismatch " + ", ".join(f"{value:.3f} {name}" for name, value in mismatch.items()))
    print(f"{found.iterations} iterations, {found.seconds:.0f} s, Taylor rates {rates.round(3)}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    plot_comparison(case.grid, case.panels(found.controls), Path(folder) / "smoke_to_target.png", columns=6, one_scale=True)
    return {**mismatch, "taylor": float(rates.min())}


if __name__ == "__main__":
    main()
