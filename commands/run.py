"""A run as later commands find it: its folder, its configuration, its data and its best operator."""

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from ..configuration import build
from ..data import Dataset, open_dataset
from ..data.dataset import field_spaces
from ..data.shards import Spaces, read_spaces
from ..errors import FileError, InputError
from ..fem import Discretization
from ..operators import Operator, load_operator
from ..operators.files import read_identity
from ..storage import atomic
from ..training import Checkpoints, Metric
from ..training.objectives import Objective

CONFIG = "config.yaml"


class Run:
    """One training run, read back from its folder.

    Raises:
        FileError: the folder holds no run.
    """

    def __init__(self, folder: str, device: str = "auto"):
        self.folder = Path(folder)
        self.device = choose_device(device)
        self.config = read_config(self.folder)
        self.checkpoint = Checkpoints(self.folder / "checkpoints").best()

    def operator(self, disc: Spaces) -> Operator:
        """The operator of the best checkpoint."""
        return load_operator(self.checkpoint, disc).to(self.device)

    def discretization(self, dtype: torch.dtype = torch.float32) -> Spaces:
        """The discretization, or the grids, the operator was trained on."""
        disc = read_spaces(Path(self.config.data.folder), dtype)
        disc.require_fingerprint(str(read_identity(self.checkpoint)[1]), f"The operator in {self.checkpoint}")
        return disc.to(self.device)

    def meshes(self) -> Discretization:
        """The discretization of a run on meshes, for what is drawn or written on them.

        Raises:
            InputError: the run's fields live on grids.
        """
        disc = self.discretization()
        if not isinstance(disc, Discretization):
            raise InputError(f"The fields of {self.folder} live on uniform grids; only those on meshes can be shown this way.")
        return disc

    def spaces(self) -> dict[str, str]:
        """The space of each field in the data."""
        return field_spaces(self.config.data.folder)

    def sample(self, number: int, disc: Spaces) -> dict[str, Tensor]:
        """One test sample as a batch of one."""
        data = self.data("test", disc)
        if not 0 <= number < len(data):
            raise InputError(f"There is no test sample {number}; there are samples 0 to {len(data) - 1}.")
        return data.batch(slice(number, number + 1))

    def data(self, split: str, disc: Spaces) -> Dataset:
        """One split of the data the run was configured with."""
        data = self.config.data
        samples = split_range(self.config, split)
        return open_dataset(data.folder, samples, disc, in_memory_up_to=data.get("in_memory_up_to", 4e9)).to(self.device)

    def metrics(self) -> dict[str, Metric]:
        """The configured metrics in float64."""
        nodes = OmegaConf.to_container(self.config.training.metrics, resolve=True)
        return build(nodes, self.discretization(torch.float64))

    def objective(self, disc: Spaces) -> Objective:
        """How the operator was applied in training, and is to be judged: once, or unrolled along trajectories."""
        training = OmegaConf.to_container(self.config.training, resolve=True)
        assert isinstance(training, dict)
        node = training.get("objective")
        if node is None:
            return Objective()
        objective = build(node, disc)
        return objective(build(training["loss"], disc)) if node.get("_partial_") else objective


def split_range(config: DictConfig, split: str) -> range:
    """Sample numbers of a split. Test samples come first, so that more training data never touch them."""
    sizes = config.data.split
    if split not in ("test", "valid", "train"):
        raise InputError(f"There is no split {split!r}; choose test, valid or train.")
    starts = {"test": 0, "valid": sizes.test, "train": sizes.test + sizes.valid}
    return range(starts[split], starts[split] + sizes[split])


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
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError("This machine has no CUDA device that torch can use; choose device=cpu or device=auto.")
    return chosen


def read_config(folder: Path) -> DictConfig:
    """The resolved configuration of a run.

    Raises:
        FileError: the folder holds no run.
    """
    try:
        config = OmegaConf.load(folder / CONFIG)
    except (OSError, ValueError, OmegaConfBaseException) as error:
        raise FileError(
            f"{folder} holds no run of thalweg ({error}). Give the folder that `thalweg train` wrote, such as run=outputs/quickstart."
        ) from error
    assert isinstance(config, DictConfig)
    return config


def write_config(folder: Path, config: DictConfig) -> None:
    """Write the resolved configuration into the run's folder."""
    with atomic(folder / CONFIG) as partial:
        partial.write_text(OmegaConf.to_yaml(config, resolve=True))
