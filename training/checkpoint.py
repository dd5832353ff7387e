"""Checkpoints from which training goes on bit for bit: weights as safetensors, the rest of the state beside them.

A checkpoint is a folder ``checkpoints/step-<n>``, written under another name and renamed when it is whole.
"""

import json
import os
import pickle
import shutil
from pathlib import Path

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..errors import FileError, FingerprintError, InputError
from ..operators import Operator, load_weights, save_operator
from ..operators.files import read_identity
from ..storage import atomic, unwritable

STATE = "training_state.pt"
BEST = "best.json"


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
        except (OSError, ValueError, KeyError) as error:
            raise FileError(
                f"{self.folder} has no best checkpoint yet ({error}). Train first, or go on with resume=true."
            ) from error

    def save(self, operator: Operator, optimizer: Optimizer, scheduler: LRScheduler, progress: dict) -> None:
        """Write a checkpoint of ``progress["step"]``; a crash at any moment leaves the earlier ones whole.

        ``progress["best_step"]`` is the step with the best validation metric so far, or None.

        Raises:
            FileError: the disk is full or the folder cannot be written; earlier checkpoints are intact.
        """
        target = self.folder / f"step-{progress['step']:08d}"
        partial = self.folder / f".{target.name}.partial"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_operator(partial, operator)
            with atomic(partial / STATE) as file:
                torch.save(
                    {
                        "optimizer": optimizer.state_dict(),
                        "scheduler": scheduler.state_dict(),
                        "progress": progress,
                        "rng": torch.get_rng_state(),
                        "rng_cuda": torch.cuda.get_rng_state_all(),
                    },
                    file,
                )
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise unwritable(target, error) from error
        self._point_to_best(progress)
        self._prune()

    def restore(self, operator: Operator, optimizer: Optimizer, scheduler: LRScheduler) -> dict:
        """Load the latest checkpoint into everything that training changes; returns its progress.

        Raises:
            FileError: there is none, or it is damaged.
            InputError: it belongs to another operator.
            FingerprintError: it belongs to another discretization.
        """
        checkpoint = self.latest()
        if checkpoint is None:
            raise FileError(f"There is no checkpoint in {self.folder} to resume from.")
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
        try:
            state = torch.load(checkpoint / STATE, weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise FileError(
                f"The training state {checkpoint / STATE} is damaged ({error}). Delete {checkpoint} to resume from the one "
                "before it."
            ) from error
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["rng"])
        if state["rng_cuda"]:
            torch.cuda.set_rng_state_all(state["rng_cuda"])
        self._point_to_best(state["progress"])
        return state["progress"]

    def _point_to_best(self, progress: dict) -> None:
        if progress["best_step"] is not None:
            with atomic(self.folder / BEST) as file:
                file.write_text(json.dumps({"checkpoint": f"step-{progress['best_step']:08d}"}))

    def _all(self) -> list[Path]:
        return [path for path in self.folder.glob("step-*") if path.is_dir()]

    def _prune(self) -> None:
        kept = set(sorted(self._all(), key=_step)[-2:])
        if (self.folder / BEST).exists():
            kept.add(self.best())
        for path in self._all():
            if path not in kept:
                shutil.rmtree(path)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))
