"""What a prediction is worth to the solver, and how often its certificate holds, on unseen samples of a trained run.

Newton's iterations and the time of each solve: from the prediction (``thalweg predict refine=true``) against the reference solver from
rest, which raises the loads in steps where the problem needs it. Both end at the same tolerance; ``same`` is how many end at the same
solution. Of operators that advance in time, every step of test trajectories is solved: from the operator's prediction, whose seconds are
with the operator's own, from what the solver knows itself, and from rest (``commands/stepwise_refinement.py``). The certificate is
calibrated on the samples kept for that, or else those of validation, and judged on the test samples: how often the error is below the
bound, and how far the bound is above the error. Run in one process on a quiet machine:

    python benchmarks/trust.py outputs/nonlinear_diffusion outputs/hyperelastic_beam outputs/cylinder_steps --json trust.json
"""

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import report
import torch
from omegaconf import OmegaConf
from torch import Tensor

from thalweg.commands.refinement import counted, function
from thalweg.commands.run import Run
from thalweg.commands.splits import calibration_split
from thalweg.commands.stepwise_refinement import solve_steps, summary
from thalweg.configuration import build
from thalweg.errors import DivergedError
from thalweg.training import calibrate
from thalweg.training.certificate import in_double
from thalweg.training.objectives import Rollout

Fields = dict[str, Tensor]

#: Newton's iterations and seconds.
Cost = list[float]

#: Largest difference of two solutions that are one, by the largest value.
SAME = 1e-5


def predictions(run: Run) -> tuple[Fields, Fields]:
    """The test samples and what the operator makes of them."""
    disc = run.discretization()
    data = run.data("test", disc)
    batch = data.batch(range(len(data)))
    with torch.no_grad():
        return batch, run.operator(disc)(batch)


def initial_guesses(run: Run, batch: Fields, prediction: Fields, samples: int) -> dict[str, Any]:
    """Iterations and seconds from the predictions and from rest, after one solve of each that is not counted."""
    problem = build(OmegaConf.to_container(run.config.problem, resolve=True))

    def solve(i: int) -> tuple[Cost, Cost | None, bool]:
        inputs = {name: function(problem, name, batch[name][i : i + 1]) for name in problem.inputs}
        guess = {name: function(problem, name, prediction[name][i : i + 1]) for name in problem.outputs}
        exact, *cold = counted(problem, lambda: problem.solve(inputs))
        try:
            found, *warm = counted(problem, lambda: problem.solve_from(inputs, guess))
        except DivergedError:
            return cold, None, False
        return cold, warm, all(_is_same(found[name].dat.data_ro, exact[name].dat.data_ro) for name in problem.outputs)

    solve(0)
    cold, warm, same = zip(*map(solve, range(samples)), strict=True)
    converged = [cost for cost in warm if cost is not None]
    row: dict[str, Any] = {}
    for start, costs in (("rest", cold), ("prediction", converged)):
        for k, what in enumerate(("iterations", "seconds")):
            row[f"{what} from {start}"] = statistics.median(cost[k] for cost in costs) if costs else "-"
    return {**row, "diverged": samples - len(converged), "same": sum(same), "samples": samples}


def guesses_of_steps(run: Run, states: Sequence[str], samples: int) -> list[dict[str, Any]]:
    """Mean iterations and seconds of a step from each start, over the steps of test trajectories."""
    problem = build(OmegaConf.to_container(run.config.problem, resolve=True))
    disc = run.discretization()
    operator, data = run.operator(disc), run.data("test", disc)
    times = list(map(float, data.times))
    trajectories = range(min(samples, len(data)))
    steps = [step for i in trajectories for step in solve_steps(problem, operator, data.batch([i]), states, times)]
    compared = {"run": run.folder.name, "trajectories": len(trajectories), "steps": len(steps)}
    return [compared | {"from": start} | mean for start, mean in summary(steps).items()]


def coverage(run: Run, batch: Fields, prediction: Fields, probability: float) -> dict[str, Any]:
    """How often the errors of test samples are below their bounds."""
    estimate = build(OmegaConf.to_container(run.config.training.certificate, resolve=True), run.discretization(torch.float64))
    disc = run.discretization()
    certificate = calibrate(run.operator(disc), run.data(calibration_split(run.config), disc), estimate)
    with torch.no_grad():
        u, fields = in_double(prediction, batch)
        bound = certificate.factor(probability) * estimate.residual_norm(u, fields)
        error = estimate.error(u, fields)
    return {
        "probability": probability,
        "covered": (error <= bound).double().mean().item(),
        "bound / error, median": (bound / error).median().item(),
        "calibration samples": len(certificate.ratios),
        "test samples": len(error),
    }


def _is_same(u: np.ndarray, v: np.ndarray) -> bool:
    return bool(np.abs(u - v).max() <= SAME * np.abs(v).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="folders of runs of nonlinear problems on meshes")
    parser.add_argument("--samples", type=int, default=16, help="test samples, or trajectories, that are solved")
    parser.add_argument("--probability", type=float, default=0.9, help="of the certificates")
    parser.add_argument("--json", help="file for the figures")
    args = parser.parse_args()
    solved, certified, stepped = [], [], []
    for folder in args.runs:
        run = Run(folder, "cpu")
        objective = run.objective(run.discretization())
        if isinstance(objective, Rollout):
            stepped += guesses_of_steps(run, objective.states, args.samples)
            continue
        batch, prediction = predictions(run)
        solved.append({"run": run.folder.name, **initial_guesses(run, batch, prediction, args.samples)})
        certified.append({"run": run.folder.name, **coverage(run, batch, prediction, args.probability)})
    for title, rows in (
        ("Predictions as initial guesses, medians", solved),
        ("Predictions as initial guesses of time steps, means", stepped),
        ("Certificates", certified),
    ):
        if rows:
            report.print_table(title, rows)
    if args.json:
        report.write_json(args.json, "trust", vars(args), [{**a, **b} for a, b in zip(solved, certified, strict=True)] + stepped)


if __name__ == "__main__":
    main()
