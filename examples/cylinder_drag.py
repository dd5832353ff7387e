"""Drag reduction of a cylinder at Reynolds number 100, by rotation and by two jets: through a learned operator, and through the adjoint.

A SPON learns the mean flow, and with it the drag, from the velocity of the cylinder's surface (experiment controlled_cylinder). L-BFGS-B
minimises the drag that it predicts, plus a share for the effort. The reference solver judges what was found, and is optimised itself, by
its discrete adjoint. Run it by ``python examples/cylinder_drag.py``; it takes about five minutes on one core.
"""

import time
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from thalweg import control
from thalweg.commands import generate, train
from thalweg.commands.control import trained_operator
from thalweg.commands.run import Run
from thalweg.configuration import build
from thalweg.visualization import plot_comparison, plot_over_time

STARTS = {"rotation": {"initial": 0.5, "low": 0.0, "high": 2.0}, "jets": {"initial": 0.3, "low": 0.0, "high": 1.0}}


def prepare(folder: Path, overrides: list[str]) -> tuple[Run, dict[str, float]]:
    """The trained operator, and the seconds that data and training took; what is there already is kept."""
    own = ["experiment=controlled_cylinder", f"data.folder={folder / 'data'}", *overrides]
    start = time.monotonic()
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        data, training = compose("generate", own), compose("train", [*own, f"folder={folder / 'run'}"])
    generate.run(data)
    generated = time.monotonic()
    training.resume = True
    train.run(training)
    return Run(str(folder / "run"), "cpu"), {"data": generated - start, "training": time.monotonic() - generated}


def main(folder: str = "outputs/cylinder_drag", overrides: tuple[str, ...] = (), iterations: int = 8, late: float = 2.0) -> dict:
    """Return drag coefficients, seconds, and the lowest rates of the Taylor tests for each actuator."""
    run, seconds = prepare(Path(folder), list(overrides))
    began = time.monotonic()
    problem = build(OmegaConf.to_container(run.config.problem, resolve=True))
    _ = problem.street  # made for the data, too
    seconds["solver prepared"] = time.monotonic() - began
    print(", ".join(f"{name} {took:.0f} s" for name, took in seconds.items()))
    result: dict = {"seconds": seconds}
    for actuator, start in STARTS.items():
        case = control.CylinderDrag(problem, [actuator], late=late)
        case.use_operator(trained_operator(run))
        paths = {}
        for model in ("operator", "firedrake"):
            functional = case.functional(model, case.controls({actuator: start}))
            at, along = {actuator: np.array(start["initial"])}, {actuator: np.array(1.0)}
            rate = control.taylor_test(functional, at, along, steps=(0.04, 0.02, 0.01)).min()
            found = control.minimize(functional, iterations, tolerance=0, absolute_tolerance=1e-3)
            paths[model] = {"seconds": found.seconds, "taylor": float(rate), "strength": float(found.controls[actuator])}
            paths[model] |= {"evaluations": found.evaluations, "reference": case.quantities(found.controls, "firedrake")["drag"]}
            paths[model]["predicted"] = case.quantities(found.controls, model)["drag"]
        uncontrolled = case.quantities(case.uncontrolled, "firedrake")["drag"]
        result[actuator] = {"uncontrolled": uncontrolled, **paths}
        for model, path in paths.items():
            cut = 1 - path["reference"] / uncontrolled
            print(
                f"{actuator} by {model}: strength {path['strength']:.3f}, drag {uncontrolled:.4f} uncontrolled, {path['predicted']:.4f} "
                f"predicted, {path['reference']:.4f} in the reference solver ({100 * cut:.1f} % less); {path['evaluations']} evaluations, "
                f"{path['seconds']:.3g} s, Taylor rate {path['taylor']:.2f}"
            )
        best = {actuator: np.array(paths["operator"]["strength"])}
        panels = case.panels(best)
        plot_comparison(next(iter(panels.values()))[0], panels, Path(folder) / f"wake_{actuator}.png", columns=1)
        plot_over_time(case.curves(best), Path(folder) / f"drag_{actuator}.png", label=case.curve, time=case.time)
    return result


if __name__ == "__main__":
    main()
