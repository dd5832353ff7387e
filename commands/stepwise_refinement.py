"""Predictions of time steps as initial guesses of their problem's implicit solver: trajectories that are solved to tolerance.

The operator is given the solved state of each step, not its own prediction, so that its errors do not add up. A step that Newton's
method does not find from the prediction is solved from the step before, or else from rest.
"""

import csv
import logging
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import DivergedError, InputError
from ..progress_bar import progress
from ..storage import atomic
from ..training.objectives import Objective, Rollout
from ..training.objectives.trajectory import frame, in_time, require_states
from .refinement import counted, dofs, first_converged, function, solved_problem
from .run import Run

if TYPE_CHECKING:
    from ..solvers import Problem
    from ..training.objectives.objective import Apply

log = logging.getLogger("thalweg")

#: Where Newton's method begins: at the operator's prediction, ...
PREDICTION = "prediction"
#: ... uⁿ + Δt (3 u̇ⁿ − u̇ⁿ⁻¹)/2, 2uⁿ − uⁿ⁻¹, uⁿ, and the boundary values with zero inside.
OTHERS = ADAMS_BASHFORTH, EXTRAPOLATION, PREVIOUS_STEP, REST = "Adams-Bashforth", "extrapolation", "previous step", "rest"

#: Firedrake functions by name.
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Solve:
    """Newton's iterations and the seconds of one step; those from the prediction are with the operator's.

    ``difference`` is the largest one from the solution found from the prediction, relative to the largest value of each output. Where
    Newton's method diverged from the prediction, ``fallback`` is the start that it was solved from instead, and the failed
    attempt's iterations and seconds count, too.
    """

    iterations: int
    seconds: float
    difference: float
    fallback: str = ""


@dataclass(frozen=True)
class SolvedStep:
    """A step to ``time``: its outputs ``(1, dofs)``, and the solve from each start by its name.

    ``diverged`` are the starts from which Newton's method diverged; of these, only the prediction has a solve.
    """

    time: float
    outputs: dict[str, Tensor]
    solves: dict[str, Solve]
    diverged: tuple[str, ...] = ()


def refine_steps(
    trained: Run, objective: Objective, batch: Mapping[str, Tensor], times: Sequence[float], table: Path, compare: bool = True
) -> dict[str, Tensor]:
    """The trajectory of the run's problem from the first frame of a batch of one, ``{name}_solved`` ``(1, steps, dofs)``, each step
    found from the prediction; what the steps cost goes to the log and to a table.

    Args:
        times: of the first frame and of those that are solved.
        table: a CSV file with the iterations and seconds of every step.
        compare: also solve every step from other starts, which takes several times as long.

    Raises:
        InputError: the operator is not given one frame to return the next, or the problem makes no implicit steps on one mesh.
        FingerprintError: the problem's mesh is not that of the run.
        DivergedError: Newton's method does not converge from any start; the steps before are in the table.
    """
    if not isinstance(objective, Rollout):
        raise InputError("Only operators that take one frame to the next begin the steps of a solver; leave out refine=true.")
    problem, operator = solved_problem(trained), trained.operator(trained.discretization())
    steps: list[SolvedStep] = []
    try:
        with progress("solving", len(times) - 1, "steps") as advance:
            for step in solve_steps(problem, operator, batch, objective.states, times, OTHERS if compare else ()):
                steps.append(step)
                advance(len(steps))
    finally:
        write_table(table, steps)
    for start, mean in summary(steps).items():
        log.info("from %s: %.2f Newton iterations and %.3g s a step", start, mean["iterations"], mean["seconds"])
    for start, number in Counter(start for step in steps for start in step.diverged).items():
        instead = ", which were solved from another start" if start == PREDICTION else ""
        log.warning("from %s, Newton's method diverged at %d of %d steps%s", start, number, len(steps), instead)
    log.info("%d steps, each solved to the same tolerance, in %s", len(steps), table)
    return {f"{name}_solved": torch.stack([step.outputs[name] for step in steps], dim=1) for name in problem.outputs}


def solve_steps(
    problem: "Problem",
    operator: "Apply",
    batch: Mapping[str, Tensor],
    states: Sequence[str],
    times: Sequence[float],
    starts: Sequence[str] = OTHERS,
) -> Iterator[SolvedStep]:
    """Solve a trajectory step by step, each from the operator's prediction and, to compare, from other starts.

    Args:
        batch: of one, ``(1, time, dofs)`` for the states, of which the first frame is read, and for inputs that vary in time.
        states: the fields that the operator takes at one frame and returns at the next.
        times: of the first frame and of those that are solved.
        starts: of :data:`OTHERS`, as soon as the steps they need have been made.

    Raises:
        InputError: the problem makes no implicit steps, or lacks an input.
        DivergedError: Newton's method converges neither from a prediction nor from the previous step or rest.
    """
    given, driven = frame(batch, 0, states), in_time(batch, states) - {*states}
    inputs = {name: function(problem, name, given[name]) for name in problem.inputs if name in given}
    state = {name: function(problem, name, given[name]) for name in states}
    older: Fields | None = None
    for number, (now, then) in enumerate(pairwise(times)):

        def step(guess: Fields, state: Fields = state, now: float = now) -> dict[str, Any]:
            return problem.step_from(inputs, state, guess, now)

        if number == 0:  # what is compiled and analysed once is not counted
            guess = _prediction(problem, operator, given, states)
            with suppress(DivergedError):
                step(guess)
        began = time.perf_counter()
        guess = _prediction(problem, operator, given, states)
        predicted = time.perf_counter() - began
        try:
            guesses = {PREDICTION: guess, PREVIOUS_STEP: state, REST: {}}
            attempts = {start: partial(step, guess) for start, guess in guesses.items()}
            found, iterations, seconds, failed = first_converged(problem, attempts)
        except DivergedError as error:
            raise DivergedError(f"Step {number + 1}, to t = {then:.6g}. {error}") from error
        diverged, fallback = failed[:1], list(guesses)[len(failed)] if failed else ""
        solves = {PREDICTION: Solve(iterations, predicted + seconds, 0.0, fallback)}
        for start in starts:
            if (guess := _guess(start, state, older, then - now)) is not None:
                try:
                    again, iterations, seconds = counted(problem, partial(step, guess))
                except DivergedError:
                    diverged.append(start)
                    continue
                solves[start] = Solve(iterations, seconds, _difference(again, found, problem.outputs))
        outputs = {name: dofs(found[name]) for name in problem.outputs}
        yield SolvedStep(then, outputs, solves, tuple(diverged))
        state, older = found, state
        if number + 2 < len(times):
            advanced = {name: outputs[name].to(given[name]) for name in states}
            given = given | {name: batch[name][:, number + 1] for name in driven} | advanced


def _prediction(problem: "Problem", operator: "Apply", given: dict[str, Tensor], states: Sequence[str]) -> Fields:
    with torch.no_grad():
        prediction = operator(given)
    require_states(prediction, states)
    return {name: function(problem, name, prediction[name]) for name in problem.outputs if name in prediction}


def _guess(start: str, now: Fields, before: Fields | None, interval: float) -> Fields | None:
    """The fields after the step from ``now``, made of those and of what was ``before``; None where these are not known."""
    if start == PREVIOUS_STEP:
        return now
    if start == REST:
        return {}
    if before is None:
        return None
    if start == EXTRAPOLATION:
        return {name: _sum((2, now[name]), (-1, before[name])) for name in before}
    rates = {name: (now[f"{name}_t"], before[f"{name}_t"]) for name in before if f"{name}_t" in before}
    steps = {name: _sum((1, now[name]), (1.5 * interval, u_t), (-0.5 * interval, older)) for name, (u_t, older) in rates.items()}
    return steps or None


def _sum(*terms: tuple[float, Any]) -> Any:
    """Σ a u of functions."""
    total = terms[0][1].copy(deepcopy=True)
    total.dat.data_wo[...] = sum(a * u.dat.data_ro for a, u in terms)
    return total


def _difference(found: Fields, wanted: Fields, outputs: Sequence[str]) -> float:
    """The largest one, relative to the largest value of each output."""
    pairs = [(found[name].dat.data_ro, wanted[name].dat.data_ro) for name in outputs]
    return max(float(abs(u - v).max() / abs(v).max()) for u, v in pairs)


def summary(steps: Sequence[SolvedStep]) -> dict[str, dict[str, float]]:
    """Mean iterations and seconds of a step, and the largest difference, of each start, over the steps that all led to a solution;
    and at how many of all steps Newton's method diverged from there."""
    starts = max(steps, key=lambda step: len(step.solves)).solves.keys()
    compared = [step for step in steps if step.solves.keys() == starts]
    found = {start: [step.solves[start] for step in compared] for start in starts}
    return {
        start: {
            "iterations": statistics.mean(solve.iterations for solve in solves),
            "seconds": statistics.mean(solve.seconds for solve in solves),
            "difference": max(solve.difference for solve in solves),
            "diverged": sum(start in step.diverged for step in steps),
        }
        for start, solves in found.items()
    }


def write_table(path: Path, steps: Sequence[SolvedStep]) -> None:
    """A row for each step and start, as CSV."""
    with atomic(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("step", "time", "start", "iterations", "seconds", "difference", "fallback"))
        for number, step in enumerate(steps, start=1):
            for start, solve in step.solves.items():
                cost = solve.iterations, f"{solve.seconds:.4g}", f"{solve.difference:.2g}", solve.fallback
                writer.writerow((number, f"{step.time:.6g}", start, *cost))
