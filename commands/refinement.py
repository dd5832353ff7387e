"""A prediction as the initial guess of its problem's reference solver: solved to tolerance, in fewer Newton iterations."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from ..configuration import build
from ..errors import DivergedError, InputError
from ..fem import Discretization, DiscretizationFamily, export
from ..fem.firedrake import firedrake
from .run import Run

if TYPE_CHECKING:
    from ..solvers import Problem

log = logging.getLogger("thalweg")

ONLY_NONLINEAR = (
    "Only nonlinear problems on meshes are solved by Newton's method, which a prediction can begin; leave out refine=true."
)


def refine(trained: Run, fields: dict[str, Tensor], prediction: dict[str, Tensor], compare: bool = True) -> dict[str, Tensor]:
    """The solution of the run's problem for a batch of one, ``{name}_solved``, found from the prediction, or, where Newton's method
    diverges from there, from rest; the savings, or that there are none, go to the log.

    Args:
        compare: also solve from rest where the prediction is good enough.

    Raises:
        InputError: the run is on grids, its problem is linear, or the prediction lacks an output.
        FingerprintError: the problem's mesh is not that of the run.
        DivergedError: Newton's method converges neither from the prediction nor from rest.
    """
    problem = solved_problem(trained)
    if problem.nonlinear_solver is None:
        raise InputError(ONLY_NONLINEAR)
    if missing := [name for name in problem.outputs if name not in prediction]:
        raise InputError(
            f"The solver's guess needs {', '.join(problem.outputs)}; the operator does not predict {', '.join(missing)}."
        )
    inputs = {name: function(problem, name, fields[name]) for name in problem.inputs}
    guess = {name: function(problem, name, prediction[name]) for name in problem.outputs}
    starts = {"the prediction": lambda: problem.solve_from(inputs, guess), "rest": lambda: problem.solve(inputs)}
    cold = _cost_from_rest(problem, starts["rest"]) if compare else ""
    solution, warm, seconds, diverged = first_converged(problem, starts)
    if diverged:
        log.warning(
            "Newton's method diverges from the prediction; solved from rest: with the failed attempt %d iterations, %.3g s",
            warm,
            seconds,
        )
    else:
        log.info("solved to tolerance from the prediction: %d Newton iterations, %.3g s%s", warm, seconds, cold)
    return {f"{name}_solved": dofs(solution[name]) for name in problem.outputs}


def _cost_from_rest(problem: "Problem", solve: Callable[[], dict[str, Any]]) -> str:
    try:
        _, iterations, seconds = counted(problem, solve)
    except DivergedError:
        return "; from rest it diverges"
    return f"; from rest: {iterations}, {seconds:.3g} s"


def solved_problem(trained: Run) -> "Problem":
    """The problem of a run on one mesh.

    Raises:
        InputError: the run is on grids, or on a family of meshes.
        FingerprintError: the problem's mesh is not that of the run.
    """
    disc = trained.discretization()
    if isinstance(disc, DiscretizationFamily):
        raise InputError(
            "A run on a family of meshes does not hold their problems, so that it cannot solve them; leave out refine=true."
        )
    if not isinstance(disc, Discretization):
        raise InputError(ONLY_NONLINEAR)
    problem = build(OmegaConf.to_container(trained.config.problem, resolve=True))
    export(problem.spaces).require_fingerprint(disc.fingerprint, str(trained.folder))
    return problem


def function(problem: "Problem", name: str, values: Tensor) -> Any:
    """The first field of a batch as a Firedrake function of the problem's space."""
    made: Any = firedrake().Function(problem.spaces[problem.fields[name]], name=name)
    made.dat.data_wo[...] = values[0].double().cpu().numpy().reshape(made.dat.data_ro.shape)
    return made


def dofs(made: Any) -> Tensor:
    """The dofs of a Firedrake function as a batch of one."""
    return torch.from_numpy(np.array(made.dat.data_ro, dtype=np.float64).reshape(1, -1))


def counted(problem: "Problem", solve: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], int, float]:
    """The solution, the Newton iterations and the seconds that it took."""
    start = time.perf_counter()
    with _newton_iterations(problem.nonlinear_solver) as count:
        solution = solve()
    return solution, count[0], time.perf_counter() - start


def first_converged(
    problem: "Problem", starts: Mapping[str, Callable[[], dict[str, Any]]]
) -> tuple[dict[str, Any], int, float, list[str]]:
    """The solution from the first start that Newton's method converges from; the iterations and seconds of it and of those before;
    and the names of those, from which it diverged.

    Raises:
        DivergedError: it converges from none; the message has the reason of each.
    """
    begin, failures = time.perf_counter(), dict[str, str]()
    with _newton_iterations(problem.nonlinear_solver) as count:
        for name, solve in starts.items():
            try:
                solution = solve()
            except DivergedError as error:
                failures[name] = str(error)
                continue
            return solution, count[0], time.perf_counter() - begin, list(failures)
    raise DivergedError("No start leads to a solution. " + " ".join(f"From {name}: {why}" for name, why in failures.items()))


@contextmanager
def _newton_iterations(solver: Any) -> Iterator[list[int]]:
    """Count the iterations of all solves in the block, those of continuation, too; none where there is no such solver."""
    count = [0]
    if solver is None:
        yield count
        return

    def monitor(_: Any, iteration: int, __: float) -> None:
        count[0] += iteration > 0

    solver.snes.setMonitor(monitor)
    try:
        yield count
    finally:
        cast(Any, solver.snes).monitorCancel()
