"""Samples made by a problem's reference solver, Firedrake's one by one or a grid's in batches, with failed draws replaced.

A draw is a function of (seed, sample, attempt): the first attempt of sample i is its ordinary draw, and only where the solver fails for
it is there a second.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import DivergedError, InputError
from .shards import FailedDraw, Spaces

if TYPE_CHECKING:
    from ..solvers import Problem
    from ..solvers.grid.problem import GridProblem

#: Told the number of samples that are done.
Advance = Callable[[int], None]


@dataclass
class Samples:
    """Fields ``(sample, time, ...)`` and parameters ``(sample,)`` of consecutive samples, and the draws that failed on the way."""

    fields: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    failed: list[FailedDraw] = field(default_factory=list)


class SampleFailed(DivergedError):
    """Every draw of a sample failed; ``before`` are the samples before it that were made with it, if there are any."""

    before: Samples | None = None


class Reference(ABC):
    """A problem as generation sees it.

    Attributes:
        spaces: the space or grid of each stored field.
        times: of the frames of trajectories, or None.
    """

    spaces: dict[str, str]
    times: np.ndarray | None

    def __init__(self, seed: int, dtype: str, attempts: int):
        if attempts < 1:
            raise InputError(f"A sample needs at least one attempt, not {attempts}.")
        if not isinstance(seed, int) or seed < 0:
            raise InputError(f"A seed is a whole number of 0 or more, not {seed!r}.")
        if dtype not in ("float32", "float64"):
            raise InputError(f"Fields are stored in float32 or float64, not in {dtype!r}.")
        self.seed, self.dtype, self.attempts = seed, np.dtype(dtype), attempts

    @abstractmethod
    def discretization(self) -> Spaces:
        """What the fields live on."""

    @abstractmethod
    def make(self, samples: range, advance: Advance) -> Samples:
        """Draw and solve some samples.

        Raises:
            SampleFailed: every attempt of a sample failed.
        """

    def _given_up(self, failed: FailedDraw) -> SampleFailed:
        return SampleFailed(
            f"Sample {failed.sample} of seed {self.seed} failed in each of {self.attempts} draws, at last because: {failed.reason} "
            "Samples that were made before are kept. Make the random inputs milder, or allow more draws by attempts=..."
        )


def reference(problem: "Problem | GridProblem", seed: int, dtype: str, attempts: int, batch_size: int) -> Reference:
    """The reference that fits a problem's kind."""
    from ..solvers.grid.problem import GridProblem

    if isinstance(problem, GridProblem):
        return GridReference(problem, seed, dtype, attempts, batch_size)
    return FiredrakeReference(problem, seed, dtype, attempts)


class FiredrakeReference(Reference):
    """Solutions by Firedrake, one sample after the other; ``/parameters/seconds_solve`` is the time that each took."""

    def __init__(self, problem: "Problem", seed: int, dtype: str, attempts: int):
        super().__init__(seed, dtype, attempts)
        self.problem = problem
        self.spaces, self.times = dict(problem.fields), getattr(problem, "times", None)

    def discretization(self) -> Spaces:
        return self.problem.export()

    def make(self, samples: range, advance: Advance) -> Samples:
        rows: dict[str, list[np.ndarray]] = {name: [] for name in self.spaces}
        seconds, attempt, failed = [], [], []

        def made() -> Samples:
            parameters = {"seconds_solve": np.array(seconds), "attempt": np.array(attempt)}
            stored = [draw for draw in failed if draw.sample < samples.start + len(seconds)]
            return Samples({name: np.stack(values) for name, values in rows.items()}, parameters, stored)

        for sample in samples:
            before = len(failed)
            try:
                fields, took = self._sample(sample, failed)
            except SampleFailed as error:
                error.before = made() if seconds else None
                raise
            for name, values in fields.items():
                rows[name].append(values)
            seconds.append(took)
            attempt.append(len(failed) - before)
            advance(sample - samples.start + 1)
        return made()

    def _sample(self, sample: int, failed: list[FailedDraw]) -> tuple[dict[str, np.ndarray], float]:
        for attempt in range(self.attempts):
            try:
                return self._solve(sample, attempt)
            except DivergedError as error:
                failed.append(FailedDraw(sample, attempt, str(error)))
            except Exception as error:
                error.add_note(f"This happened in draw {attempt} of sample {sample} of seed {self.seed}.")
                raise
        raise self._given_up(failed[-1])

    def _solve(self, sample: int, attempt: int) -> tuple[dict[str, np.ndarray], float]:
        """Fields ``(time, dofs)`` of one draw and the seconds of its solve; inputs are rounded before."""
        inputs = self.problem.sample_inputs(self.seed, sample, attempt)
        for function in inputs.values():
            function.dat.data_wo[...] = function.dat.data_ro.astype(self.dtype)
        start = time.perf_counter()
        outputs = self.problem.solve(inputs)
        took = time.perf_counter() - start
        fields = {}
        for name, solution in (inputs | outputs).items():
            frames = solution if isinstance(solution, list | tuple) else [solution]
            fields[name] = np.stack([_dofs(frame) for frame in frames]).astype(self.dtype)
            if isinstance(solution, list | tuple) and (self.times is None or len(frames) != len(self.times)):
                raise InputError(f"The problem's solution {name!r} has {len(frames)} frames, but its times are {self.times}.")
            if not np.isfinite(fields[name]).all():
                raise DivergedError(f"Field {name!r} contains NaN or infinity in {self.dtype}.")
        return fields, took


class GridReference(Reference):
    """Solutions by a batched solver on a grid; ``/parameters/seconds_solve`` is the time of a batch, divided by its samples."""

    def __init__(self, problem: "GridProblem", seed: int, dtype: str, attempts: int, batch_size: int):
        super().__init__(seed, dtype, attempts)
        from ..solvers.grid.problem import GRID

        if batch_size < 1:
            raise InputError(f"A batch needs at least one sample, not {batch_size}.")
        self.problem, self.batch_size, self.times = problem, batch_size, problem.times
        self.spaces = {name: problem.places.get(name, GRID) for name in (*problem.inputs, *problem.outputs)}

    def discretization(self) -> Spaces:
        return self.problem.export()

    def make(self, samples: range, advance: Advance) -> Samples:
        failed: list[FailedDraw] = []
        parts = []
        for start in range(samples.start, samples.stop, self.batch_size):
            batch = range(start, min(start + self.batch_size, samples.stop))
            try:
                parts.append(self._batch(batch, failed))
            except SampleFailed as error:
                stored = [draw for draw in failed if draw.sample < batch.start]
                error.before = self._made(parts, stored) if parts else None
                raise
            advance(batch.stop - samples.start)
        return self._made(parts, failed)

    def _made(self, parts: Sequence[Samples], failed: list[FailedDraw]) -> Samples:
        made = _joined(parts)
        self.spaces = {name: self.spaces[name] for name in made.fields}
        return Samples(made.fields, made.parameters, failed)

    def _batch(self, samples: range, failed: list[FailedDraw]) -> Samples:
        """A batch at once; if it fails, halves of it, down to the sample that is to blame."""
        try:
            return self._solve(self.seed, samples, 0)
        except DivergedError as error:
            if len(samples) == 1:
                failed.append(FailedDraw(samples.start, 0, str(error)))
                return self._again(samples.start, failed)
        middle = samples.start + len(samples) // 2
        halves = [self._batch(part, failed) for part in (range(samples.start, middle), range(middle, samples.stop))]
        return _joined(halves)

    def _again(self, sample: int, failed: list[FailedDraw]) -> Samples:
        for attempt in range(1, self.attempts):
            seed = int(np.random.SeedSequence((self.seed, sample, attempt)).generate_state(1)[0])
            try:
                return self._solve(seed, range(sample, sample + 1), attempt)
            except DivergedError as error:
                failed.append(FailedDraw(sample, attempt, str(error)))
        raise self._given_up(failed[-1])

    def _solve(self, seed: int, samples: range, attempt: int) -> Samples:
        problem = self.problem
        drawn = problem.random_inputs(seed, samples)
        inputs = {name: values.to(getattr(torch, str(self.dtype))).to(values.dtype) for name, values in drawn.items()}
        start = time.perf_counter()
        solved = {name: values.cpu().numpy() for name, values in problem.solve(inputs).items()}
        seconds = (time.perf_counter() - start) / len(samples)
        made = {name: values.cpu().numpy() for name, values in problem.stored(inputs).items()} | solved
        parameters = {name: values for name, values in made.items() if values.ndim == 1}
        fields = {name: self._with_time(values) for name, values in made.items() if values.ndim > 1}
        for name, values in fields.items():
            if not np.isfinite(values).all():
                raise DivergedError(f"Field {name!r} contains NaN or infinity in {self.dtype}.")
        parameters |= {"seconds_solve": np.full(len(samples), seconds), "attempt": np.full(len(samples), attempt)}
        return Samples(fields, parameters)

    def _with_time(self, values: np.ndarray) -> np.ndarray:
        """``(sample, time, channel, ...)`` in the stored precision."""
        moves = values.ndim == self.problem.grid.dim + 3
        return (values if moves else values[:, None]).astype(self.dtype)


def _joined(parts: Sequence[Samples]) -> Samples:
    """Samples of several batches, one after the other."""
    fields = {name: np.concatenate([part.fields[name] for part in parts]) for name in parts[0].fields}
    return Samples(fields, {name: np.concatenate([part.parameters[name] for part in parts]) for name in parts[0].parameters})


def _dofs(function: Any) -> np.ndarray:
    """All dofs of a Firedrake function as one vector, components innermost, subspaces concatenated."""
    return np.concatenate([np.asarray(part.dat.data_ro).reshape(-1) for part in function.subfunctions])
