"""Where the rows of the log go besides ``metrics.jsonl``: TensorBoard and Weights & Biases, each an optional package."""

import os
import secrets
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ..errors import MissingPackageError


class Tracker(Protocol):
    """Follows a run: told of its folder and step when it starts, then of every row of its log."""

    def start(self, folder: str | os.PathLike, step: int, config: dict) -> None: ...

    def write(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run's folder ``tensorboard/``; see them with ``tensorboard --logdir outputs``.

    Raises:
        MissingPackageError: tensorboard is not installed.
    """

    def __init__(self):
        self._module = _optional("torch.utils.tensorboard", "TensorBoard", "tensorboard")

    def start(self, folder: str | os.PathLike, step: int, config: dict) -> None:
        # What was logged after the checkpoint from which a run resumes is hidden.
        self._writer = self._module.SummaryWriter(str(Path(folder) / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            values = {name: value} if not isinstance(value, list) else {f"{name}/{i}": number for i, number in enumerate(value)}
            for label, number in values.items():
                self._writer.add_scalar(label.replace("valid_", "valid/"), number, row["step"])
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, resumed with the run it follows. ``WANDB_MODE=offline`` keeps everything on this machine.

    Args:
        project: its project.
        name: of the run; that of its folder by default.

    Raises:
        MissingPackageError: wandb is not installed.
    """

    def __init__(self, project: str = "thalweg", name: str | None = None):
        self._module = _optional("wandb", "Weights & Biases", "wandb")
        self.project, self.name = project, name

    def start(self, folder: str | os.PathLike, step: int, config: dict) -> None:
        folder = Path(folder)
        remembered = folder / "wandb_id"
        identity = remembered.read_text() if step and remembered.exists() else secrets.token_hex(4)
        remembered.write_text(identity)
        self._run = self._module.init(
            project=self.project, name=self.name or folder.name, dir=folder, id=identity, resume="allow", config=config
        )

    def write(self, row: dict[str, Any]) -> None:
        self._run.log({name: value for name, value in row.items() if name != "step"}, step=row["step"])

    def close(self) -> None:
        self._run.finish()


def _optional(module: str, what: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"{what} is not installed ({error}). Install it with `pip install 'thalweg[{extra}]'`, or leave it out of training/logs."
        ) from error
