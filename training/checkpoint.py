"""Checkpoints from which training goes on bit for bit: weights as safetensors, the rest of the state beside them.

A checkpoint is a folder ``checkpoints/step-<n>``, written under another name and renamed when it is whole.
"""

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..errors import FileError, FingerprintError, InputError
from ..operators import Operator, load_weights, save_operator
from ..operators.files import read_identity
from ..storage import atomic, unwritable

STATE = "training_state.pt"
BEST = "best.json"

#: Of the training state; another one cannot be resumed bit for bit.
FORMAT = 2


class Checkpoints:
    """The checkpoints of a run: the last two and the best by validation are kept."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)

    def latest(self) -> Path | None:
        return max(self._all(), key=_step, default=None)

    def best(self) -> Path:
        """The checkpoint with the best validation metric.

        Raises:
            FileError: there is none yet.
        """
        try:
            return self.folder / json.loads((self.folder / BEST).read_text())["checkpoint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError(
                f"{self.folder} has no best checkpoint yet ({error}). Train first, or go on with resume=true."
            ) from error

    def save(self, operator: Operator, state: dict[str, Any]) -> None:
        """Write a checkpoint of ``state["progress"]["step"]``; a crash at any moment leaves the earlier ones whole.

        ``state`` is everything besides the operator that training changes. Its ``progress["best_step"]`` is the step with the best
        validation metric so far, or None.

        Raises:
            FileError: the disk is full or the folder cannot be written; earlier checkpoints are intact.
        """
        progress = state["progress"]
        target = self.folder / f"step-{progress['step']:08d}"
        partial = self.folder / f".{target.name}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_operator(partial, operator)
            with atomic(partial / STATE) as path, path.open("wb") as file:
                torch.save(state | {"format": FORMAT}, file)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        except (OSError, SafetensorError, RuntimeError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise unwritable(target, _system_error(error)) from error
        self.point_to_best(progress)
        self._prune()

    def restore(self, operator: Operator) -> dict[str, Any]:
        """Load the latest checkpoint's weights into the operator; returns the state that was saved with them.

        Raises:
            FileError: there is none, or it is damaged.
            InputError: it belongs to another operator, or was written by a version of thalweg with another format.
            FingerprintError: it belongs to another discretization.
        """
        checkpoint = self.latest()
        if checkpoint is None:
            raise FileError(f"There is no checkpoint in {self.folder} to resume from.")
        state = _read_state(checkpoint)
        config, fingerprint = read_identity(checkpoint)
        if fingerprint != operator.fingerprint:
            raise FingerprintError(
                f"The checkpoint {checkpoint} was trained on another discretization (fingerprint {str(fingerprint)[:12]}, "
                f"not {str(operator.fingerprint)[:12]}). Go back to that data set, or start a new run under another name."
            )
        load_weights(checkpoint, operator)
        if config != operator.config:
            raise InputError(
                f"The checkpoint {checkpoint} was trained with another operator configuration. Resume with the same one "
                f"(see {checkpoint / 'operator.json'}), or start a new run under another name."
            )
        return state

    def point_to_best(self, progress: dict) -> None:
        """Note which checkpoint is the best, after ``progress["best_step"]``."""
        if progress["best_step"] is not None:
            with atomic(self.folder / BEST) as file:
                file.write_text(json.dumps({"checkpoint": f"step-{progress['best_step']:08d}"}))

    def _all(self) -> list[Path]:
        return [path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name) and path.is_dir()]

    def _prune(self) -> None:
        kept = set(sorted(self._all(), key=_step)[-2:])
        if (self.folder / BEST).exists():
            kept.add(self.best())
        for path in self._all():
            if path not in kept:
                shutil.rmtree(path)


def _system_error(error: BaseException) -> OSError:
    """What the system said when a file could not be written: torch's archive fails again when it is closed, and hides it behind that."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return OSError(str(error)) if cause is None else cause


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _read_state(checkpoint: Path) -> dict[str, Any]:
    """The training state of a checkpoint, if it is whole and of this format."""
    try:
        state = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
        found = state.get("format")
    except (OSError, RuntimeError, ValueError, AttributeError, pickle.UnpicklingError, EOFError) as error:
        reason = "it is no file of torch.save" if isinstance(error, pickle.UnpicklingError) else str(error).split("\n")[0]
        raise FileError(
            f"The training state {checkpoint / STATE} is damaged ({reason}). Delete {checkpoint} to resume from the one before it."
        ) from error
    if found != FORMAT:
        raise InputError(
            f"The checkpoint {checkpoint} was written by another version of thalweg (its format is {found}, this version's is "
            f"{FORMAT}). Resume with that version, or start a new run from its weights: name=... init={checkpoint.parent.parent}"
        )
    return state
