"""Optimisers of a reduced functional, with a history on disk from which they go on."""

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy.optimize
import torch

from ..errors import FileError
from ..progress_bar import progress
from ..storage import atomic
from ..training import MetricsLog
from .functional import ReducedFunctional

log = logging.getLogger("thalweg")

HISTORY = "history.jsonl"
CONTROLS = "controls.npz"

_ADAM = partial(torch.optim.Adam, lr=0.05)


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
) -> Minimum:
    """Minimise within the bounds by L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995), as SciPy has it.

    Args:
        iterations: at most so many.
        tolerance: stop when no entry of the projected gradient, in the controls' scales, exceeds this share of the largest at the start.
        folder: where ``history.jsonl`` (a row an iteration) and ``controls.npz`` (the latest) go.
        resume: go on from the controls in ``folder``, with the approximation of the Hessian built up anew.
        memory: corrections that L-BFGS-B keeps.

    Raises:
        DivergedError: the model has no solution for some controls on the way; what was found before is in ``folder``.
        FileError: there is nothing to resume, or ``folder`` cannot be written.
    """
    record = _Record(functional, folder, resume)
    with progress("optimising", iterations, "iterations") as advance:
        result = scipy.optimize.minimize(
            record.evaluate,
            record.x,
            jac=True,
            method="L-BFGS-B",
            bounds=functional.controls.bounds,
            callback=lambda x: advance(record.accept(x)),
            options={
                "maxiter": iterations,
                "maxfun": 10 * iterations,
                "maxcor": memory,
                "ftol": 0.0,
                "gtol": tolerance * record.first_slope,
            },
        )
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
    scales set to typical changes. Arguments and errors are those of :func:`minimize`.
    """
    record = _Record(functional, folder, resume)
    low, high = torch.tensor(functional.controls.bounds, dtype=torch.float64).T
    x = torch.tensor(record.x, dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer([x])
    best, best_x = np.inf, record.x
    with progress("optimising", iterations, "iterations") as advance:
        for _ in range(iterations):
            at = x.detach().numpy().copy()
            J, gradient = record.evaluate(at)
            if best > J:
                best, best_x = J, at
            advance(record.accept(at))
            x.grad = torch.from_numpy(gradient)
            optimizer.step()
            with torch.no_grad():
                x.clamp_(low, high)
    return record.minimum(best_x, best, True, f"{iterations} steps")


class _Record:
    """Evaluations and accepted iterates of one optimisation, and their files."""

    def __init__(self, functional: ReducedFunctional, folder: str | os.PathLike | None, resume: bool):
        self.functional, self.folder = functional, None if folder is None else Path(folder)
        self.evaluations = self.iterations = 0
        self.start = time.monotonic()
        self._last: tuple[np.ndarray, float, np.ndarray] | None = None
        self._rows = None if self.folder is None else MetricsLog(self.folder / HISTORY)
        values = functional.controls.initial
        if resume:
            values = self._read()
        elif self._rows is not None:
            self._rows.start(0)
        self.x = functional.controls.pack(values)
        self.first_value, gradient = self.evaluate(self.x)
        self.first_slope = float(np.abs(gradient).max(initial=0.0))

    def evaluate(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        if self._last is not None and np.array_equal(x, self._last[0]):
            return self._last[1:]
        J, gradient = self.functional.value_and_gradient(self.functional.controls.unpack(x))
        self.evaluations += 1
        self._last = (x.copy(), J, self.functional.controls.pack_gradient(gradient))
        return self._last[1:]

    def accept(self, x: np.ndarray) -> int:
        """Note an iterate; returns how many there are."""
        J, gradient = self.evaluate(x)
        self.iterations += 1
        if self._rows is not None and self.folder is not None:
            self._rows.write(
                {
                    "step": self.iterations,
                    "value": J,
                    "gradient": float(np.abs(gradient).max(initial=0.0)),
                    "evaluations": self.evaluations,
                    "seconds": round(time.monotonic() - self.start, 3),
                }
            )
            with atomic(self.folder / CONTROLS) as partial_file, partial_file.open("wb") as file:
                np.savez(file, **cast(dict[str, Any], self.functional.controls.unpack(x)))
        return self.iterations

    def minimum(self, x: np.ndarray, value: float, converged: bool, message: str) -> Minimum:
        seconds = time.monotonic() - self.start
        log.info("J from %.6g to %.6g in %d iterations, %.1f s", self.first_value, value, self.iterations, seconds)
        controls = self.functional.controls.unpack(x)
        return Minimum(controls, value, self.first_value, self.iterations, self.evaluations, seconds, converged, message)

    def _read(self) -> dict[str, np.ndarray]:
        if self.folder is None:
            raise FileError("An optimisation without a folder leaves nothing to resume. Give folder=...")
        try:
            with np.load(self.folder / CONTROLS, allow_pickle=False) as file:
                values = {name: file[name] for name in file.files}
            rows = MetricsLog(self.folder / HISTORY).rows()
        except (OSError, ValueError, json.JSONDecodeError) as error:
            raise FileError(f"{self.folder} holds no optimisation to resume ({error}). Start it without resume.") from error
        self.iterations = rows[-1]["step"] if rows else 0
        return values
