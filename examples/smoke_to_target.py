"""Smoke steered to a target: the steady force that turns a disc of smoke into an ellipse elsewhere.

An operator learns the flow that a force drives and carries smoke by it (experiment steered_smoke). L-BFGS-B minimises
½‖c(1) − c_d‖² + α/2 ‖m‖² over the coefficients of the force (:class:`thalweg.control.SmokeTarget`), through the operator, and for
comparison through every step of the solver, which judges what was found. Run it by ``python examples/smoke_to_target.py``.
"""

from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from thalweg import control
from thalweg.commands import generate, train
from thalweg.commands.control import trained_operator
from thalweg.commands.run import Run
from thalweg.configuration import build
from thalweg.visualization import plot_comparison


def prepare(folder: Path, overrides: list[str]) -> Run:
    """The trained operator; data and training that are there already are kept."""
    own = ["experiment=steered_smoke", f"data.folder={folder / 'data'}", *overrides]
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        data, training = compose("generate", own), compose("train", [*own, f"folder={folder / 'run'}"])
    generate.run(data)
    training.resume = True
    train.run(training)
    return Run(str(folder / "run"), "cpu")


def main(folder: str = "outputs/smoke_to_target", overrides: tuple[str, ...] = (), iterations: int = 30) -> dict:
    """Return the relative mismatch ‖c(1) − c_d‖/‖c_d‖ without control and, for each model, in it and in the solver; and Taylor rates."""
    run = prepare(Path(folder), list(overrides))
    problem = build(OmegaConf.to_container(run.config.problem, resolve=True))
    case = control.SmokeTarget(problem)
    case.use_operator(trained_operator(run))
    start = np.zeros((problem.modes, problem.modes))
    start[0, 0] = -1.0
    settings = {"m": {"initial": start, "low": -3, "high": 3}}
    result: dict = {"uncontrolled": case.quantities(case.uncontrolled, "torch")["mismatch"]}
    print(f"mismatch {result['uncontrolled']:.3f} uncontrolled")
    best = {}
    for model in ("operator", "torch"):
        functional = case.functional(model, case.controls(settings))
        # Small steps, for the limiter has kinks, and most of them where the smoke is symmetric.
        rates = control.taylor_test(functional, {"m": start + 0.1}, {"m": np.eye(problem.modes)}, steps=(6e-6, 3e-6, 1.5e-6))
        found = control.minimize(functional, iterations, tolerance=1e-4)
        best[model] = found.controls
        surrogate, solver = (case.quantities(found.controls, judge)["mismatch"] for judge in (model, "torch"))
        result[model] = {"surrogate": surrogate, "solver": solver, "taylor": float(rates.min())}
        by = {
            "operator": f"by the operator: {surrogate:.3f} in it, {solver:.3f} in the solver",
            "torch": f"by the solver: {solver:.3f}",
        }
        print(f"{by[model]}; {found.evaluations} evaluations, {found.seconds:.1f} s, Taylor rates {rates.round(2)}")
    panels = case.panels(best["operator"])
    plot_comparison(case.grid, panels, Path(folder) / "smoke_to_target.png", columns=6, one_scale=True)
    return result


if __name__ == "__main__":
    main()
