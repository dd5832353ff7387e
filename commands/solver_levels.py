"""The reference solver of a run's problem at lower resolution, judged as the operators are: what an operator has to beat."""

import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from ..configuration import build
from ..data.shards import Spaces, read_provenance, shards
from ..errors import InputError
from ..fem import DiscretizationFamily, export
from ..fem.grid_transfer import grid_transfer
from ..training.evaluation import Result
from ..training.metrics import accumulate, finish
from ..training.objectives import Rollout
from .run import CONFIG, Run


def solver_levels(run: Run, levels: list[Any], split: str, samples: int) -> Iterator[tuple[str, Result]]:
    """For each change of the problem's configuration, its name, errors against the stored solutions, and time per sample.

    On meshes inputs are interpolated from the spaces of the data into those of the cheaper problem; on grids it draws the same samples at
    its own resolution. Solutions are interpolated back. Times are those of the solves alone, after one that is not counted: on meshes the
    median over samples, on grids that of a batch of all, divided by their number.

    Raises:
        InputError: a change is no mapping, leads to another box or to other times, or the run is on a family of meshes.
    """
    if not levels:
        return
    nodes = OmegaConf.to_container(run.config.problem, resolve=True)
    assert isinstance(nodes, dict)
    from ..solvers.grid.problem import GridProblem

    disc = run.discretization()
    if isinstance(disc, DiscretizationFamily):
        raise InputError(
            "The cheaper solver of a family of meshes would need meshes of its own; compare its operators with solver=[]."
        )
    fine = build(nodes)
    _require_own_data(fine, disc, run)
    data = run.data(split, disc)
    first = [i for i, attempt in enumerate(data.parameters.get("attempt", [0] * len(data))) if not attempt][:samples]
    truth = {name: values.double().cpu() for name, values in data.batch(first).items()}
    for change in levels:
        if not isinstance(change, Mapping):
            raise InputError(f"A cheaper solver is a change of the problem such as {{degree: 1}}, not {change!r}.")
        coarse = build({**nodes, **change})
        if isinstance(fine, GridProblem):
            numbers = [data.samples[i] for i in first]
            seed = read_provenance(shards(run.config.data.folder)[0]).seed
            prediction, seconds = _solve_on_grid(fine, coarse, truth, seed, numbers)
        else:
            prediction, seconds = _solve_on_mesh(fine, coarse, truth)
        yield ", ".join(f"{key} {value}" for key, value in change.items()), _judge(run, prediction, truth, seconds)


def _require_own_data(problem: Any, disc: Spaces, run: Run) -> None:
    """Refuse a run whose problem is not the one that made its data."""
    from ..solvers.grid.problem import GridProblem

    own = problem.export() if isinstance(problem, GridProblem) else export(problem.spaces)
    if own.fingerprint != disc.fingerprint:
        raise InputError(
            f"The data in {run.config.data.folder} were not made by the problem in {run.folder / CONFIG}: meshes, elements or grids "
            "differ, so that there is no cheaper version of it. Compare without solver=..."
        )


def _solve_on_mesh(fine: Any, coarse: Any, truth: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[float]]:
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


def _solve_on_grid(
    fine: Any, coarse: Any, truth: dict[str, Tensor], seed: int, samples: list[int]
) -> tuple[dict[str, Tensor], list[float]]:
    """The same for a problem on a grid, ``(samples, [time,] channel, x, y[, z])``."""
    if (fine.times is None) != (coarse.times is None) or (fine.times is not None and not np.allclose(fine.times, coarse.times)):
        raise InputError(f"The cheaper solver has frames at the times {coarse.times}, the data at {fine.times}; change no times.")
    from ..solvers.grid.problem import GRID

    inputs = coarse.random_inputs(seed, samples)
    seconds = 0.0
    outputs = {}
    for _ in range(2):
        start = time.perf_counter()
        outputs = {name: values.cpu() for name, values in coarse.solve(inputs).items()}
        seconds = (time.perf_counter() - start) / len(samples)
    grids = [
        {name: problem.export()[problem.places.get(name, GRID)] for name in outputs if name in truth}
        for problem in (coarse, fine)
    ]
    found = {name: grid_transfer(grids[0][name], grids[1][name], outputs[name].double()) for name in grids[0]}
    return found, [seconds] * len(samples)


def _judge(run: Run, prediction: dict[str, Tensor], truth: dict[str, Tensor], seconds: list[float]) -> Result:
    metrics = {name: metric.cpu() for name, metric in run.metrics().items()}
    if isinstance(run.objective(run.discretization()), Rollout):
        # The first frame is given, not predicted.
        axes = max(u.ndim for u in prediction.values())
        prediction, truth = (
            {name: u[:, 1:] if u.ndim == axes else u for name, u in part.items()} for part in (prediction, truth)
        )
    totals = accumulate(torch.zeros(len(metrics), dtype=torch.float64), metrics, prediction, truth)
    result: Result = finish(totals, metrics, len(seconds))
    return result | {"seconds_per_sample_operator": statistics.median(seconds), "num_samples": len(seconds)}


def _space(problem: Any, field: str) -> Any:
    return problem.spaces[problem.fields[field]]


def _dofs(function: Any):
    with function.dat.vec_ro as v:
        return v.array.copy()
