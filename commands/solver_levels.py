"""The reference solver of a run's problem at lower resolution, judged as the operators are: what an operator has to beat."""

import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from ..configuration import build
from ..errors import InputError
from ..training.evaluation import Result
from ..training.metrics import accumulate, finish
from ..training.objectives import Rollout
from .run import Run


def solver_levels(run: Run, levels: list[Any], split: str, samples: int) -> Iterator[tuple[str, Result]]:
    """For each change of the problem's configuration, its name, errors against the stored solutions, and time per sample.

    Inputs are interpolated from the spaces of the data into those of the cheaper problem, its solutions back. Times are those of the
    solves alone, the median over samples after one that is not counted.

    Raises:
        InputError: a change is no mapping, or the problem is not one of Firedrake's.
    """
    if not levels:
        return
    nodes = OmegaConf.to_container(run.config.problem, resolve=True)
    assert isinstance(nodes, dict)
    from ..solvers import Problem

    fine = build(nodes)
    if not isinstance(fine, Problem):
        raise InputError(
            f"Cheaper solvers are for problems on meshes; {nodes['_target_']} is solved on a grid. Leave solver empty."
        )
    disc = run.discretization()
    stored = run.data(split, disc).batch(slice(0, samples))
    truth = {name: values.double().cpu() for name, values in stored.items()}
    for change in levels:
        if not isinstance(change, Mapping):
            raise InputError(f"A cheaper solver is a change of the problem such as {{degree: 1}}, not {change!r}.")
        coarse = build({**nodes, **change})
        prediction, seconds = _solve(fine, coarse, truth)
        yield ", ".join(f"{key} {value}" for key, value in change.items()), _judge(run, prediction, truth, seconds)


def _solve(fine: Any, coarse: Any, truth: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[float]]:
    """The cheaper problem's solutions in the spaces of the data, ``(samples, [time,] dofs)``, and the seconds of each solve."""
    from ..fem.firedrake import firedrake
    from ..fem.transfer import interpolation

    fd = firedrake()
    down = {name: interpolation(_space(fine, name), _space(coarse, name)) for name in fine.inputs}
    up = {name: interpolation(_space(coarse, name), _space(fine, name)) for name in fine.outputs}
    solved: dict[str, list[Tensor]] = {name: [] for name in fine.outputs}
    seconds = []
    count = len(next(iter(truth.values())))
    for i in (0, *range(count)):
        inputs = {}
        for name, P in down.items():
            values = truth[name][i]
            inputs[name] = fd.Function(_space(coarse, name), name=name)
            with inputs[name].dat.vec_wo as v:
                v.array = P @ (values if values.ndim == 1 else values[0]).numpy()
        start = time.perf_counter()
        outputs = coarse.solve(inputs)
        seconds.append(time.perf_counter() - start)
        for name, P in up.items():
            frames = outputs[name] if isinstance(outputs[name], list | tuple) else [outputs[name]]
            dofs = torch.stack([torch.from_numpy(P @ _dofs(frame)) for frame in frames])
            solved[name].append(dofs if truth[name].ndim == 3 else dofs[-1])
    return {name: torch.stack(values[1:]) for name, values in solved.items()}, seconds[1:]


def _judge(run: Run, prediction: dict[str, Tensor], truth: dict[str, Tensor], seconds: list[float]) -> Result:
    metrics = {name: metric.cpu() for name, metric in run.metrics().items()}
    if isinstance(run.objective(run.discretization()), Rollout):
        # The first frame is given, not predicted.
        prediction, truth = ({name: u[:, 1:] if u.ndim == 3 else u for name, u in part.items()} for part in (prediction, truth))
    totals = accumulate(torch.zeros(len(metrics), dtype=torch.float64), metrics, prediction, truth)
    result: Result = finish(totals, metrics, len(seconds))
    return result | {"seconds_per_sample_operator": statistics.median(seconds), "num_samples": len(seconds)}


def _space(problem: Any, field: str) -> Any:
    return problem.spaces[problem.fields[field]]


def _dofs(function: Any):
    with function.dat.vec_ro as v:
        return v.array.copy()
