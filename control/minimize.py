"""Optimisers of a reduced functional, with a history on disk from which they go on."""

import logging
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy.optimize
import torch

from ..errors import DivergedError, FileError, InputError
from ..progress_bar import progress
from ..storage import atomic
from ..training import MetricsLog
from .functional import ReducedFunctional

log = logging.getLogger("thalweg")

HISTORY = "history.jsonl"
CONTROLS = "controls.npz"
DESCENT = "descent.pt"

_ADAM = partial(torch.optim.Adam, lr=0.05)

#: What is left of a step into controls for which the model has no solution.
_SHORTER = 0.25


@dataclass(frozen=True)
class Minimum:
    """What an optimiser found: the controls, the value there, and how it went."""

    controls: dict[str, np.ndarray]
    value: float
    initial_value: float
    iterations: int
    evaluations: int
    seconds: float
    converged: bool
    message: str


def minimize(
    functional: ReducedFunctional,
    iterations: int = 100,
    tolerance: float = 1e-8,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    memory: int = 20,
    absolute_tolerance: float = 0.0,
) -> Minimum:
    """Minimise within the bounds by L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995), as SciPy has it.

    Where the model has no solution in a line search, a quarter of the step is tried, and so on.

    Args:
        iterations: at most so many, those before a resumption included.
        tolerance: stop when no entry of the projected gradient, in the controls' scales, exceeds this share of the largest entry of
            the gradient at the first start.
        folder: where ``history.jsonl`` (a row for the start and for each iteration) and ``controls.npz`` (the latest) go.
        resume: go on from the controls in ``folder``, with the approximation of the Hessian built up anew.
        memory: corrections that L-BFGS-B keeps.
        absolute_tolerance: stop also when no entry of the projected gradient exceeds this; searches from different starts then end
            equally near to the optimum.

    Raises:
        DivergedError: the model has no solution for the controls at the start.
        FileError: there is nothing to resume, or ``folder`` cannot be written.
        InputError: a tolerance is negative.

    Example:
        >>> from thalweg.control import Control, TorchFunctional
        >>> m = Control("m", [0.0, 0.0], low=[-1.0, 0.0])
        >>> functional = TorchFunctional(lambda c: (c["m"] - torch.tensor([1.0, -2.0])).square().sum(), [m], torch.float64)
        >>> minimize(functional).controls["m"].round(6) + 0.0
        array([1., 0.])
    """
    if min(tolerance, absolute_tolerance) < 0:
        raise InputError(f"Tolerances cannot be negative; got {tolerance:g} and, absolute, {absolute_tolerance:g}.")
    record = _Record(functional, folder, resume)
    left = iterations - record.iterations
    if left < 1:
        return record.minimum(record.x, record.first_value, False, f"{record.iterations} iterations were made before")
    with progress("optimising", iterations, "iterations", record.iterations) as advance:
        result = scipy.optimize.minimize(
            record.evaluate_or_shorten,
            record.x,
            jac=True,
            method="L-BFGS-B",
            bounds=functional.controls.bounds,
            callback=lambda x: advance(record.accept(x)),
            options={
                "maxiter": left,
                "maxfun": 10 * left,
                "maxcor": memory,
                "ftol": 0.0,
                "gtol": max(tolerance * record.first_slope, absolute_tolerance),
            },
        )
    if record.failures:
        log.warning("the model had no solution for %d controls on the way; shorter steps were taken", record.failures)
    return record.minimum(result.x, float(result.fun), bool(result.success), str(result.message))


def descend(
    functional: ReducedFunctional,
    make_optimizer: Callable[..., torch.optim.Optimizer] = _ADAM,
    iterations: int = 200,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
) -> Minimum:
    """Minimise by an optimiser of torch, each step projected onto the bounds; returns the best controls on the way.

    For rough or noisy functionals, where line searches fail. Good values: a learning rate of a hundredth to a tenth, with the controls'
    scales set to typical changes. Arguments and errors are those of :func:`minimize`, but a model without a solution on the way ends
    the search. The state of the optimiser is kept in ``descent.pt``, so that a search that goes on is, bit for bit, one that was not
    interrupted; with an optimiser of another kind it goes on from the controls alone.
    """
    record = _Record(functional, folder, resume, descends=True)
    low, high = torch.tensor(functional.controls.bounds, dtype=torch.float64).T
    x = torch.tensor(record.x, dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer([x])
    kind, best, best_x = type(optimizer).__name__, record.first_value, record.x
    if record.descent is not None:
        best, best_x = record.descent["best"], record.descent["best_x"].numpy()
        if record.descent["kind"] == kind:
            # The state alone: a learning rate may have been changed on purpose.
            optimizer.load_state_dict({**optimizer.state_dict(), "state": record.descent["state"]})
    with progress("optimising", iterations, "iterations", record.iterations) as advance:
        for _ in range(iterations - record.iterations):
            at = x.detach().numpy().copy()
            J, gradient = record.evaluate(at)
            if best > J:
                best, best_x = J, at
            x.grad = torch.from_numpy(gradient)
            optimizer.step()
            with torch.no_grad():
                x.clamp_(low, high)
            advance(record.accept(at))
            state = {"kind": kind, "state": optimizer.state_dict()["state"], "best": best, "best_x": torch.from_numpy(best_x)}
            record.keep_descent({**state, "x": x.detach(), "iterations": record.iterations})
    return record.minimum(best_x, best, True, f"{iterations} steps")


class _Record:
    """Evaluations and accepted iterates of one optimisation, and their files.

    Attributes:
        iterations: those before a resumption included.
        first_value: J at this start.
        first_slope: the largest entry of the gradient at the first start.
        failures: evaluations for which the model had no solution.
        descent: the state of :func:`descend` after its last step, if it goes on with one of its own.
    """

    descent: dict[str, Any] | None = None

    def __init__(self, functional: ReducedFunctional, folder: str | os.PathLike | None, resume: bool, descends: bool = False):
        self.functional, self.folder = functional, None if folder is None else Path(folder)
        self.evaluations = self.iterations = self.failures = 0
        self.start = time.monotonic()
        self._last: tuple[np.ndarray, float, np.ndarray] | None = None
        self._rows = None if self.folder is None else MetricsLog(self.folder / HISTORY)
        values, first = self._read() if resume else (functional.controls.initial, None)
        self.x = functional.controls.pack(values)
        if self.folder is not None and resume and descends and (self.folder / DESCENT).exists():
            self.descent = self._read_descent(self.folder / DESCENT)
            self.x, self.iterations = self.descent["x"].numpy(), self.descent["iterations"]
        elif self.folder is not None:
            (self.folder / DESCENT).unlink(missing_ok=True)  # of an earlier search
        self.first_value, gradient = self.evaluate(self.x)
        self._accepted = self.x, self.first_value, gradient
        if first is None:
            first = self._row(self.first_value, gradient)
            if self._rows is not None:
                self._rows.start(0)
                self._rows.write(first)
        self.first_slope = float(first["gradient"])

    def evaluate(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        if self._last is not None and np.array_equal(x, self._last[0]):
            return self._last[1:]
        J, gradient = self.functional.value_and_gradient(self.functional.controls.unpack(x))
        self.evaluations += 1
        self._last = (x.copy(), J, self.functional.controls.pack_gradient(gradient))
        return self._last[1:]

    def evaluate_or_shorten(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """J and its gradient at a point of a line search; where there are none, those of a parabola that turns the search back.

        Along the step s from the last iterate, where J has the value J₀ and the slope d < 0, the parabola through both with its minimum at
        τs has the value J₀ + |d s| (1/2τ − 1) and the slope −d (1/τ − 1) at the end of the step: what is interpolated is the step τs.
        """
        try:
            return self.evaluate(x)
        except DivergedError:
            self.failures += 1
            at, J, gradient = self._accepted
            fall = abs(float(gradient @ (x - at)))
            return J + fall * (0.5 / _SHORTER - 1), -gradient * (1 / _SHORTER - 1)

    def accept(self, x: np.ndarray) -> int:
        """Note an iterate; returns how many there are."""
        J, gradient = self.evaluate(x)
        self._accepted = x.copy(), J, gradient
        self.iterations += 1
        if self._rows is not None and self.folder is not None:
            self._rows.write(self._row(J, gradient))
            with atomic(self.folder / CONTROLS) as partial_file, partial_file.open("wb") as file:
                np.savez(file, **cast(dict[str, Any], self.functional.controls.unpack(x)))
        return self.iterations

    def keep_descent(self, state: dict[str, Any]) -> None:
        if self.folder is not None:
            with atomic(self.folder / DESCENT) as partial_file:
                torch.save(state, partial_file)

    def _row(self, J: float, gradient: np.ndarray) -> dict[str, float]:
        return {
            "step": self.iterations,
            "value": J,
            "gradient": float(np.abs(gradient).max(initial=0.0)),
            "evaluations": self.evaluations,
            "seconds": round(time.monotonic() - self.start, 3),
        }

    def minimum(self, x: np.ndarray, value: float, converged: bool, message: str) -> Minimum:
        seconds = time.monotonic() - self.start
        log.info("J from %.6g to %.6g in %d iterations, %.1f s", self.first_value, value, self.iterations, seconds)
        controls = self.functional.controls.unpack(x)
        return Minimum(controls, value, self.first_value, self.iterations, self.evaluations, seconds, converged, message)

    def _read(self) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """The latest controls and the first row."""
        if self.folder is None:
            raise FileError("An optimisation without a folder leaves nothing to resume. Give folder=...")
        try:
            with np.load(self.folder / CONTROLS, allow_pickle=False) as file:
                values = {name: file[name] for name in file.files}
            rows = MetricsLog(self.folder / HISTORY).rows()
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise FileError(f"{self.folder} holds no optimisation to resume ({error}). Start it without resume.") from error
        if not rows:
            raise FileError(f"{self.folder / HISTORY} is empty or missing: there is nothing to resume. Start without resume.")
        self.iterations = rows[-1]["step"]
        return values, rows[0]

    def _read_descent(self, path: Path) -> dict[str, Any]:
        """The state after the last step that was kept; rows beyond it are dropped."""
        try:
            state = torch.load(path, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise FileError(f"{path} is damaged ({error}). Remove it to go on from the controls alone.") from error
        if self._rows is not None:
            self._rows.start(state["iterations"])
        return state
