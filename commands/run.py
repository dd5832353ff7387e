"""A run as later commands find it: its folder, its configuration, its data and its best operator."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from ..data import Dataset
from ..data.shards import Spaces
from ..errors import FileError, InputError
from ..fem import DiscretizationFamily
from ..operators import Operator, build_operator, load_operator, load_weights
from ..operators.files import read_identity
from ..storage import atomic
from ..training import Checkpoints, Metric, MetricsLog
from ..training.objectives import Objective
from .judging import build_metrics, build_objective
from .splits import open_split, read_discretization, spaces_of_fields

CONFIG = "config.yaml"


class Run:
    """One training run, read back from its folder.

    Args:
        data: folder of another data set, perhaps of another resolution or mesh, to use the operator on instead of its own.

    Raises:
        FileError: the folder holds no run.
    """

    def __init__(self, folder: str, device: str = "auto", data: str | None = None):
        if not isinstance(folder, str):
            raise InputError(f"run is the folder of one training run, such as run=outputs/quickstart, not {folder!r}.")
        self.folder = Path(folder)
        self.device = choose_device(device)
        self.config = read_config(self.folder)
        self.elsewhere = data is not None
        if data is not None:
            self.config.data.folder = data
        self.checkpoint = Checkpoints(self.folder / "checkpoints").best()
        self._read: dict[torch.dtype, Spaces | DiscretizationFamily] = {}

    def operator(self, disc: Spaces | DiscretizationFamily) -> Operator:
        """The operator of the best checkpoint.

        Raises:
            InputError: it is wanted elsewhere, but its weights belong to the discretization it was trained on.
        """
        if not self.elsewhere:
            return load_operator(self.checkpoint, disc).to(self.device)
        config = read_identity(self.checkpoint)[0]
        try:
            operator = build_operator(config or {}, disc)
            load_weights(self.checkpoint, operator)
        except InputError as error:
            raise InputError(
                f"The operator of {self.folder} cannot be used on the data in {self.config.data.folder} ({error}). Weights that belong to "
                "one grid or mesh stay there; use data of that resolution."
            ) from error
        return operator.eval().to(self.device)

    def discretization(self, dtype: torch.dtype = torch.float32) -> Spaces | DiscretizationFamily:
        """The discretization, the grids, or the family of the data: those that the operator was trained on, unless it is used elsewhere.

        Read once in each precision.
        """
        if dtype not in self._read:
            disc = read_discretization(self.config, dtype)
            if not self.elsewhere:
                disc.require_fingerprint(str(read_identity(self.checkpoint)[1]), f"The operator in {self.checkpoint}")
            self._read[dtype] = disc.to(self.device)
        return self._read[dtype]

    def place(self, disc: Spaces | DiscretizationFamily, fields: Mapping[str, Tensor]) -> Spaces:
        """What fields live on: of a family, the discretization on their mesh."""
        return disc.of(fields) if isinstance(disc, DiscretizationFamily) else disc

    def spaces(self) -> dict[str, str]:
        """The space of each field in the data."""
        return spaces_of_fields(self.config)

    def sample(self, number: int, disc: Spaces | DiscretizationFamily) -> dict[str, Tensor]:
        """One test sample as a batch of one."""
        data = self.data("test", disc)
        require_sample(number, data)
        return data.batch([number])

    def data(self, split: str, disc: Spaces | DiscretizationFamily) -> Dataset:
        """One split of the data the run was configured with."""
        return open_split(self.config, split, disc).to(self.device)

    def metrics(self) -> dict[str, Metric]:
        """The configured metrics in float64."""
        return build_metrics(self._training(), self.discretization(torch.float64))

    def objective(self, disc: Spaces | DiscretizationFamily) -> Objective:
        """How the operator was applied in training, and is to be judged: once, or unrolled along trajectories."""
        return build_objective(self._training(), disc)

    def training_seconds(self) -> dict[str, float]:
        """What training took, as ``seconds_train`` and, of the CPU, ``seconds_train_cpu``, as far as the log tells."""
        rows = MetricsLog(self.folder / "metrics.jsonl").rows()
        last = rows[-1] if rows else {}
        return {f"seconds_train{kind}": last[f"seconds{kind}"] for kind in ("", "_cpu") if f"seconds{kind}" in last}

    def _training(self) -> dict:
        nodes = OmegaConf.to_container(self.config.training, resolve=True)
        assert isinstance(nodes, dict)
        return nodes


def require_sample(number: int, data: Dataset) -> None:
    """Refuse a test sample that is not there."""
    if not isinstance(number, int) or not 0 <= number < len(data):
        raise InputError(f"There is no test sample {number}; there are samples 0 to {len(data) - 1}.")


def choose_device(device: str) -> torch.device:
    """ "auto" is the GPU if there is one.

    Raises:
        InputError: the device is unknown, or not on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"Unknown device {device!r}; choose auto, cpu or cuda.") from error
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(f"Operators run on device=cpu or device=cuda, not on {device!r}.")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError("This machine has no CUDA device that torch can use; choose device=cpu or device=auto.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(f"This machine has {torch.cuda.device_count()} CUDA devices, so there is no {device!r}.")
    return chosen


def read_config(folder: Path) -> DictConfig:
    """The resolved configuration of a run.

    Raises:
        FileError: the folder holds no run.
    """
    if not (folder / CONFIG).is_file():
        what = f"has no {CONFIG}, so it holds no run of thalweg" if folder.is_dir() else "does not exist"
        raise FileError(f"The folder {folder} {what}. Give the one that `thalweg train` wrote, such as run=outputs/quickstart.")
    try:
        config = OmegaConf.load(folder / CONFIG)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise FileError(
            f"{folder} holds no run of thalweg ({_one_line(error)}). Give the folder that `thalweg train` wrote, such as "
            "run=outputs/quickstart."
        ) from error
    if not isinstance(config, DictConfig):
        raise FileError(f"{folder / CONFIG} is damaged: it holds no mapping of keys to values. Restore it, or train again.")
    return config


def require_own_folder(folder: Path, config: DictConfig) -> None:
    """Refuse a folder that holds a run of another verb, whose configuration would be lost.

    Raises:
        InputError: it does.
    """
    try:
        before = read_config(folder)
    except FileError:
        return
    if ("training" in before) != ("training" in config):
        raise InputError(
            f"{folder} holds {'a training run' if 'training' in before else 'an optimisation by thalweg control'}. Give this one another "
            "name by name=..., or another folder=..."
        )


def changes(folder: Path, config: DictConfig, may_change: Collection[str]) -> str:
    """What a configuration has otherwise than that of the run in a folder, the first three of them told, or nothing.

    Args:
        may_change: dotted keys that do not count, with all below them.
    """
    before, now = _leaves(read_config(folder)), _leaves(config)
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    decisive = [key for key in changed if not any(key == name or key.startswith(f"{name}.") for name in may_change)]
    return ", ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in decisive[:3])


def write_config(folder: Path, config: DictConfig) -> None:
    """Write the resolved configuration into the run's folder."""
    with atomic(folder / CONFIG) as partial:
        partial.write_text(OmegaConf.to_yaml(config, resolve=True))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _leaves(config: DictConfig, prefix: str = "") -> dict[str, object]:
    """The values of a resolved configuration by their dotted keys."""
    leaves: dict[str, object] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        leaves |= _leaves(value, f"{name}.") if isinstance(value, DictConfig) else {name: value}
    return leaves
