"""Trained NeuralStaggers by their factors: error after T, residual and cost, and the reference solver at equal error and simulated time.

Runs are those of a sweep over the factors, on the same data:

    thalweg generate experiment=neuralstagger_vorticity
    thalweg train -m experiment=neuralstagger_vorticity 'factors=[1,1,1],[2,2,1],[2,2,2],[2,2,4],[4,4,2],[4,4,4]'
    python benchmarks/neuralstagger_factors.py outputs/neuralstagger_vorticity_sweep/*/ --figures docs/images

Errors are relative, in L2, at the last frame, which is the same for all: the mean over the test samples. The solver's levels start from the
same frame, cut off in Fourier space to fewer points, and take the time steps given, whatever the frames are. ``solver`` is the time of the
cheapest level whose velocity is at least as right.
"""

import argparse
from math import inf
from pathlib import Path
from typing import Any

import report
import torch
from neuralstagger import CLOCKS, best_throughput, milliseconds, operator_row, peak_megabytes
from omegaconf import OmegaConf
from torch import Tensor

from thalweg.allocator import keep_freed_memory
from thalweg.commands.run import Run
from thalweg.configuration import build
from thalweg.data import Dataset
from thalweg.errors import DivergedError
from thalweg.operators import NeuralStagger
from thalweg.solvers.grid import VorticityEquation
from thalweg.training import VorticityLoss, evaluate
from thalweg.training.metrics.metric import final
from thalweg.visualization import plot_comparison
from thalweg.visualization.tradeoff import plot_tradeoff

#: Points along each axis, no more than the data's, and time step.
LEVELS = ((64, 0.005), (48, 0.005), (40, 0.0078), (32, 0.0078), (24, 0.0104), (20, 0.0155), (16, 0.0155), (12, 0.031))


def resampled(u: Tensor, points: int) -> Tensor:
    """The trigonometric interpolant of ``(..., n, n)`` at more or fewer points, without the waves that these cannot show."""
    n = u.shape[-1]
    kept = min(n, points) // 2
    spectrum, result = torch.fft.rfft2(u), u.new_zeros(*u.shape[:-2], points, points // 2 + 1).to(torch.complex64)
    for rows in (slice(0, kept), slice(-kept + 1, None)):
        result[..., rows, :kept] = spectrum[..., rows, :kept]
    return torch.fft.irfft2(result, s=(points, points)) * (points / n) ** 2


class Case:
    """What all runs have in common: test samples, frames, metrics and residual."""

    def __init__(self, run: Run):
        disc = run.discretization()
        self.data: Dataset = run.data("test", disc)
        self.metrics = {name: run.metrics()[name] for name in ("vorticity_error", "velocity_error")}
        training: Any = OmegaConf.to_container(run.config.training, resolve=True)
        loss = build(training["loss"], disc).to(run.device)
        assert isinstance(loss, VorticityLoss)
        self.residual = loss.residual
        self.problem: Any = run.config.problem
        self.grid = disc["grid"]
        self.interval, self.steps = self.problem.interval, self.problem.frames
        self.fields = self.data.batch(slice(0, len(self.data)))


def trained_row(folder: str, case: Case, arguments: argparse.Namespace) -> tuple[dict[str, Any], Tensor]:
    """Errors, residual and cost of a run, and its predicted frames of all test samples."""
    run = Run(folder, arguments.device)
    disc = run.discretization()
    operator, objective = run.operator(disc).eval(), run.objective(disc)
    assert isinstance(operator, NeuralStagger)
    errors = evaluate(operator, case.data, case.metrics, objective=objective)
    w = objective.predict(operator, case.fields)[0]["w"]
    before, after = w[:, :-1].flatten(0, 1), w[:, 1:].flatten(0, 1)
    R = case.residual(before, after, case.fields["g"].repeat_interleave(w.shape[1] - 1, 0))
    costs = operator_row(operator, case.grid.shape, case.steps + 1, case.interval, arguments, run.device)
    row = {
        "factors": costs["factors"],
        "vorticity": final(errors["vorticity_error"]),
        "velocity": final(errors["velocity_error"]),
        "residual": float(R.square().mean().sqrt() / case.interval),
        "one coarse [ms/s]": costs["one coarse [ms/s]"],
        "all [ms/s]": costs["all, batched [ms/s]"],
        "all [s/s]": costs["all [s/s]"],
        "peak [MB]": costs["peak [MB]"],
    }
    return row, w


def solver_row(points: int, dt: float, case: Case, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The same of the reference solver on fewer points; None where the time step is too long."""
    T = case.steps * case.interval
    start, forcing = resampled(case.fields["w"][:, 0], points), resampled(case.fields["g"], points)
    options = {"viscosity": case.problem.viscosity, "drag": case.problem.drag, "device": start.device}

    def solved(batch: int) -> Tensor:
        equation = VorticityEquation((points, points), forcing=forcing[:batch], **options)
        return equation.solve(start[:batch], T, 1, dt=dt)

    try:
        w = resampled(solved(len(start))[:, 1:], case.grid.shape[0])
    except DivergedError:
        return None
    met = {"w": case.fields["w"][:, -1:].double()}
    errors = {name: float(metric({"w": w.double()}, met)) for name, metric in case.metrics.items()}
    latency = milliseconds(lambda: solved(1), arguments) / T
    batches = [batch for batch in arguments.batches if batch <= len(start)]
    return {
        "factors": f"solver {points}², dt {dt:g}",
        "vorticity": errors["vorticity_error"],
        "velocity": errors["velocity_error"],
        "residual": None,
        "one coarse [ms/s]": None,
        "all [ms/s]": latency,
        "all [s/s]": best_throughput(lambda batch: lambda: solved(batch), batches, T, arguments),
        "peak [MB]": peak_megabytes(lambda: solved(1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="folders of training runs, one for each choice of factors")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16], help="batches that throughput is the best of")
    parser.add_argument("--compile", choices=["default", "max-autotune"], help="compile the coarse solver's step")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each measurement")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--figures", metavar="FOLDER", help="draw error against time, and the fields after T, there")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: this process' own time, where others share the machine"
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    arguments = parser.parse_args()
    keep_freed_memory()
    with torch.inference_mode():
        case = Case(Run(arguments.runs[0], arguments.device))
        trained = [trained_row(folder, case, arguments) for folder in arguments.runs]
        levels = [level for level in LEVELS if level[0] <= case.grid.shape[0]]
        solvers = [row for points, dt in levels if (row := solver_row(points, dt, case, arguments))]
    trained.sort(key=lambda pair: [int(s) for s in pair[0]["factors"].split(", ")])
    rows = [row for row, _ in trained]
    for row in rows:
        as_right = [level["all [ms/s]"] for level in solvers if level["velocity"] <= row["velocity"]]
        row["solver [ms/s]"] = min(as_right, default=inf)
    rows += [level | {"solver [ms/s]": None} for level in solvers]
    T = case.steps * case.interval
    report.print_table(f"{case.grid.shape[0]}² points, errors after {T:g}, times per simulated second", rows)
    if arguments.figures:
        draw(Path(arguments.figures), rows[: len(trained)], solvers, trained[-1][1], case)
    if arguments.json:
        settings = {key: value for key, value in vars(arguments).items() if key not in ("json", "figures")}
        report.write_json(arguments.json, "neuralstagger_factors", settings, rows)


def draw(folder: Path, rows: list[dict[str, Any]], solvers: list[dict[str, Any]], w: Tensor, case: Case) -> None:
    """Error against the time of one coarse solver, and the first test sample after T by the last of the runs."""
    T = 1e-3 * case.steps * case.interval
    points = [(row["factors"], T * row["one coarse [ms/s]"], row["velocity"], 0.0) for row in rows]
    levels = [(level["factors"].split(",")[0].split()[1], T * level["all [ms/s]"], level["velocity"], 0.0) for level in solvers]
    plot_tradeoff(points, levels, folder / "neuralstagger_factors.png", error="velocity_error")
    truth, prediction = case.fields["w"][0, -1], w[0, -1]
    panels = {"start": case.fields["w"][0, 0], "reference w": truth, "prediction w": prediction, "error": prediction - truth}
    plot_comparison(case.grid, panels, folder / "neuralstagger.png")


if __name__ == "__main__":
    main()
