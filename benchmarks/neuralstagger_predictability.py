"""How far a flow can be predicted at all: the reference solver from one step of an operator on, beside the operator's own rollout.

The operator's first block is wrong by the error of a step. ``operator`` is the error of its rollout, ``solver`` that of the reference
solver which goes on from the last frame of that block: what becomes of the same error under the flow itself. Where it stays small, the
flow is predictable, and what the rollout loses is the operator's. Errors of the velocity are relative, in L2, and means over the test
samples.

    thalweg generate experiment=neuralstagger_moving_disc name=long_disc problem.frames=479 'data.split={train: 1, valid: 1, test: 8}'
    python benchmarks/neuralstagger_predictability.py outputs/neuralstagger_moving_disc --data datasets/long_disc
"""

import argparse
from math import log
from typing import Any

import report
import torch
from neuralstagger_levels import reference_of
from omegaconf import OmegaConf

from thalweg.allocator import keep_freed_memory
from thalweg.commands.run import Run
from thalweg.configuration import build
from thalweg.operators import NeuralStagger


def growth(run: Run, times: int) -> list[dict[str, Any]]:
    """One row for each of so many times, the first at the end of the first block."""
    disc = run.discretization()
    operator, objective, data = run.operator(disc).eval(), run.objective(disc), run.data("test", disc)
    assert isinstance(operator, NeuralStagger)
    metric = run.metrics()["velocity_error"]
    node: Any = OmegaConf.to_container(run.config.problem, resolve=True)
    name = build(node).outputs[0]
    fields = data.batch(slice(0, len(data)))
    truth, s_t = fields[name], operator.decomposition.time
    rollout = objective.predict(operator, fields)[0][name]  # from frame s_t on

    def error(u: torch.Tensor, frame: int) -> float:
        return float(metric({name: u[:, None].double()}, {name: truth[:, frame, None].double()}))

    first, last = 2 * s_t - 1, s_t + rollout.shape[1] - 1
    u, before, rows = rollout[:, s_t - 1], first, []
    for stop in [first + (last - first) * i // (times - 1) for i in range(times)]:
        if stop > before:
            here = {key: v[:, before:] if v.dim() == truth.dim() else v for key, v in fields.items()} | {name: u[:, None]}
            level = reference_of({**node, "frames": stop - before}, here)
            u, before = level.last(level.solve(len(truth))())[:, 0], stop
        rows.append({"time": stop * node["interval"], "operator": error(rollout[:, stop - s_t], stop), "solver": error(u, stop)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a training run")
    parser.add_argument("--data", help="folder of longer trajectories of the same flow; by default those of the run")
    parser.add_argument("--times", type=int, default=11, help="at which errors are told, 2 or more")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", metavar="PATH", help="write the figures, the machine and the versions there")
    arguments = parser.parse_args()
    if arguments.times < 2:
        parser.error("--times must be 2 or more")
    keep_freed_memory()
    with torch.inference_mode():
        rows = growth(Run(arguments.run, arguments.device, arguments.data), arguments.times)
    span = rows[-1]["time"] - rows[0]["time"]
    rate = log(rows[-1]["solver"] / rows[0]["solver"]) / span
    report.print_table(f"Relative errors of the velocity; that of a step grows in the solver by the rate {rate:.2g}", rows)
    if arguments.json:
        settings = {key: value for key, value in vars(arguments).items() if key != "json"}
        report.write_json(arguments.json, "neuralstagger_predictability", settings, rows)


if __name__ == "__main__":
    main()
