"""Trained NeuralStaggers by their factors: error after T, residual and cost, and the reference solver at equal error and simulated time.

Runs are those of a sweep over the factors, on the same data:

    thalweg generate experiment=neuralstagger_vorticity
    thalweg train -m experiment=neuralstagger_vorticity 'factors=[1,1,1],[2,2,1],[2,2,2],[2,2,4],[4,4,2],[4,4,4]'
    python benchmarks/neuralstagger_factors.py outputs/neuralstagger_vorticity_sweep/*/ --figures docs/images

and likewise of ``neuralstagger_cavity``, ``neuralstagger_channel``, ``neuralstagger_moving_disc`` and ``neuralstagger_taylor_green``.
Errors are relative, in L2, at the last frame, which is the same for all: the mean over the test samples. The solver's levels start from
the same frame, interpolated to fewer points, and take the time steps given, whatever the frames are. ``solver`` is the time of the
cheapest level whose velocity is at least as right. Runs with ``operator.exchange`` have no coarse solver by itself.
"""

import argparse
from math import inf
from pathlib import Path
from typing import Any

import report
import torch
from neuralstagger import CLOCKS, COMPILATIONS, best_throughput, milliseconds, operator_row, peak_megabytes
from neuralstagger_levels import Level, levels_of
from omegaconf import OmegaConf
from torch import Tensor

from thalweg.allocator import keep_freed_memory
from thalweg.commands.run import Run
from thalweg.configuration import build
from thalweg.data import Dataset
from thalweg.errors import DivergedError
from thalweg.operators import NeuralStagger
from thalweg.training import StaggeredLoss, VorticityLoss, evaluate
from thalweg.training.metrics.metric import final
from thalweg.training.objectives.trajectory import previous
from thalweg.visualization import plot_comparison
from thalweg.visualization.tradeoff import plot_tradeoff


class Case:
    """What all runs have in common: test samples, frames, metrics and residual."""

    def __init__(self, run: Run):
        disc = run.discretization()
        self.data: Dataset = run.data("test", disc)
        #: Those that are known frame by frame.
        self.metrics = {name.removesuffix("_error"): metric for name, metric in run.metrics().items() if name.endswith("_error")}
        nodes: Any = OmegaConf.to_container(run.config, resolve=True)
        self.loss = build(nodes["training"]["loss"], disc).to(run.device)
        assert isinstance(self.loss, VorticityLoss | StaggeredLoss)
        self.loss.logarithm = False
        if isinstance(self.loss, StaggeredLoss):
            self.loss.boundary_weight = 0.0
        self.node = nodes["problem"]
        self.grid = disc["grid"]
        self.interval, self.steps = self.node["interval"], self.node["frames"]
        self.fields = self.data.batch(slice(0, len(self.data)))
        self.name = build(self.node).outputs[0]

    @property
    def simulated(self) -> float:
        """The time from the first frame to the last."""
        return self.steps * self.interval

    def residual(self, u: Tensor) -> float:
        """The root mean square of R/Δt in the frames ``(batch, time, ...)`` of a rollout, of which the first is the last that was given."""
        changing = {name for name, values in self.fields.items() if values.dim() == u.dim()}
        fields = {
            name: v[:, -u.shape[1] + 1 :] if name in changing else v for name, v in self.fields.items() if name != self.name
        }
        return float(self.loss({self.name: u[:, 1:]}, fields | previous({self.name: u[:, :1]})).sqrt())


def trained_row(folder: str, case: Case, arguments: argparse.Namespace) -> tuple[dict[str, Any], Tensor]:
    """Errors, residual and cost of a run, and its predicted frames of all test samples."""
    run = Run(folder, arguments.device)
    disc = run.discretization()
    operator, objective = run.operator(disc).eval(), run.objective(disc)
    assert isinstance(operator, NeuralStagger)
    errors = evaluate(operator, case.data, case.metrics, objective=objective)
    u = objective.predict(operator, case.fields)[0][case.name]
    given = case.fields[case.name][:, case.steps - u.shape[1] :][:, :1]
    costs = operator_row(operator, case.grid.shape, case.steps + 1, case.interval, arguments, run.device)
    row = {
        "factors": costs["factors"],
        **{name: final(errors[name]) for name in case.metrics},
        "residual": case.residual(torch.cat([given, u], 1)),
        "one coarse [ms/s]": costs["one coarse [ms/s]"],
        "all [ms/s]": costs["all, batched [ms/s]"],
        "all [s/s]": costs["all [s/s]"],
        "peak [MB]": costs["peak [MB]"],
    }
    return row, u


def solver_row(level: Level, case: Case, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The same of the reference solver on a level; None where the time step is too long."""
    samples = len(case.data)
    try:
        u = level.last(level.solve(samples)())
    except DivergedError:
        return None
    met = {case.name: case.fields[case.name][:, -1:].double()}
    latency = milliseconds(level.solve(1), arguments) / case.simulated
    batches = [batch for batch in arguments.batches if batch <= samples]
    return {
        "factors": f"solver {level}",
        **{name: float(metric({case.name: u.double()}, met)) for name, metric in case.metrics.items()},
        "residual": None,
        "one coarse [ms/s]": None,
        "all [ms/s]": latency,
        "all [s/s]": best_throughput(level.solve, batches, case.simulated, arguments),
        "peak [MB]": peak_megabytes(level.solve(1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="folders of training runs, one for each choice of factors")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16], help="batches that throughput is the best of")
    parser.add_argument("--compile", choices=COMPILATIONS, help="compile the coarse solver's step")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each measurement")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--figures", metavar="FOLDER", help="draw error against time, and the fields after T, there")
    parser.add_argument("--stem", default="neuralstagger", help="what the names of the figures begin with")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: this process' own time, where others share the machine"
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    arguments = parser.parse_args()
    keep_freed_memory()
    with torch.inference_mode():
        case = Case(Run(arguments.runs[0], arguments.device))
        trained = [trained_row(folder, case, arguments) for folder in arguments.runs]
        levels = levels_of(case.node, case.fields)
        solvers = [row for level in levels if (row := solver_row(level, case, arguments))]
    trained.sort(key=lambda pair: [int(s) for s in pair[0]["factors"].split(", ")])
    rows = [row for row, _ in trained]
    for row in rows:
        as_right = [level["all [ms/s]"] for level in solvers if level["velocity"] <= row["velocity"]]
        row["solver [ms/s]"] = min(as_right, default=inf)
    rows += [level | {"solver [ms/s]": None} for level in solvers]
    shape = " x ".join(map(str, case.grid.shape))
    report.print_table(f"{shape} points, errors after {case.simulated:g}, times per simulated second", rows)
    if arguments.figures:
        stem = Path(arguments.figures) / arguments.stem
        draw(stem, rows[: len(trained)], solvers, trained[-1][1], case)
    if arguments.json:
        settings = {key: value for key, value in vars(arguments).items() if key not in ("json", "figures", "stem")}
        report.write_json(arguments.json, "neuralstagger_factors", settings, rows)


def draw(stem: Path, rows: list[dict[str, Any]], solvers: list[dict[str, Any]], u: Tensor, case: Case) -> None:
    """Error against the time of one coarse solver, and the first test sample after T by the last of the runs."""
    T = 1e-3 * case.simulated
    points = [(row["factors"], T * row["one coarse [ms/s]"], row["velocity"], 0.0) for row in rows if row["one coarse [ms/s]"]]
    best = [a for a in solvers if not any(b is not a and is_better(b, a) for b in solvers)]
    levels = [
        (name, T * level["all [ms/s]"], level["velocity"], 0.0) for name, level in zip(level_names(best), best, strict=True)
    ]
    plot_tradeoff(points, levels, stem.with_name(f"{stem.name}_factors.png"), error="velocity_error")
    if case.grid.dim == 2:
        name, truth, prediction = case.name, case.fields[case.name][0, -1], u[0, -1]
        start = case.fields[name][0, 0]
        panels = {"start": start, f"reference {name}": truth, f"prediction {name}": prediction, "error": prediction - truth}
        plot_comparison(case.grid, panels, stem.with_suffix(".png"))


def level_names(levels: list[dict[str, Any]]) -> list[str]:
    """Points of each level, and its time step where others have as many points."""
    split = [level["factors"].removeprefix("solver ").split(", dt ") for level in levels]
    points = [name for name, _ in split]
    return [name if points.count(name) == 1 else f"{name}, Δt {dt}" for name, dt in split]


def is_better(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether a level of the solver is at least as fast and as right as another."""
    return a["all [ms/s]"] <= b["all [ms/s]"] and a["velocity"] <= b["velocity"]


if __name__ == "__main__":
    main()
