"""The splits of a configured data set: samples of one discretization, or whole meshes of a family of them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from omegaconf import DictConfig

from ..data import Dataset, FamilyDataset, TimeWindows, open_dataset, read_family
from ..data.dataset import field_spaces
from ..data.family import member_folder
from ..data.shards import Spaces, read_spaces
from ..errors import FileError, InputError
from ..fem import DiscretizationFamily

SPLITS = ("test", "valid", "train", "calibration")


def split_range(config: DictConfig, split: str) -> range:
    """Numbers of the samples of a split, or of its meshes. Those of testing come first, so that more training data never touch them."""
    sizes = config.data.split
    if split not in SPLITS:
        raise InputError(f"There is no split {split!r}; choose {', '.join(SPLITS)}.")
    starts = {
        "test": 0,
        "valid": sizes.test,
        "train": sizes.test + sizes.valid,
        "calibration": sizes.test + sizes.valid + sizes.train,
    }
    return range(starts[split], starts[split] + sizes.get(split, 0))


def calibration_split(config: DictConfig) -> str:
    """The split whose samples calibrate certificates: one of their own, or else those of validation.

    Validation has chosen the checkpoint, which favours its samples. What that costs in coverage is small, but without a bound.
    """
    return "calibration" if config.data.split.get("calibration") else "valid"


def read_discretization(config: DictConfig, dtype: torch.dtype = torch.float32) -> Spaces | DiscretizationFamily:
    """What the fields of the data live on: spaces, grids, or the spaces on every mesh of a family.

    Raises:
        FileError: there are no data, or a mesh is missing.
        InputError: a mesh is in two splits of a family.
    """
    if not Path(config.data.folder).is_dir():
        raise FileError(
            f"There is no data set {config.data.folder}. Make it by `thalweg generate` with the same arguments, or give the folder of one "
            "that is there by data.folder=..."
        )
    if not _is_family(config):
        return read_spaces(Path(config.data.folder), dtype)
    family = read_family(config.data.folder, range(sum(config.data.split.values())), dtype)
    _require_unseen(config, family)
    return family


def open_split(config: DictConfig, split: str, disc: Spaces | DiscretizationFamily) -> Dataset:
    """One split of the data."""
    data, chosen = config.data, split_range(config, split)
    if not chosen:
        raise InputError(f"The {split} split is empty: data.split.{split} is {data.split.get(split)}.")
    most = data.get("in_memory_up_to", 4e9)
    if not isinstance(disc, DiscretizationFamily):
        return open_dataset(data.folder, chosen, disc, in_memory_up_to=most)

    def read(folder: Path, samples: range, own: Spaces) -> Dataset:
        return open_dataset(folder, samples, own, in_memory_up_to=most / len(chosen))

    return FamilyDataset(data.folder, chosen, range(data.samples_per_mesh), disc, read)


def in_windows(data: Dataset, windows: Mapping[str, int]) -> Dataset:
    """All windows of the data's trajectories."""
    if isinstance(data, FamilyDataset):
        return data.each(lambda member: TimeWindows(member, **windows))
    return TimeWindows(data, **windows)


def spaces_of_fields(config: DictConfig) -> dict[str, str]:
    """The space of each field in the data."""
    return field_spaces(shard_folders(config)[0])


def shard_folders(config: DictConfig) -> list[Path]:
    """The folders that hold the samples, one for each mesh of a family."""
    folder = Path(config.data.folder)
    if not _is_family(config):
        return [folder]
    return [member_folder(folder, k) for k in range(sum(config.data.split.values()))]


def _is_family(config: DictConfig) -> bool:
    return config.data.get("samples_per_mesh") is not None


def _require_unseen(config: DictConfig, family: DiscretizationFamily) -> None:
    """Refuse a mesh that is in two splits under two numbers: it would be seen in training and judged as unseen."""
    owners: dict[str, tuple[str, int]] = {}
    for split in SPLITS:
        for k in split_range(config, split):
            other, number = owners.setdefault(family.fingerprints[k], (split, k))
            if other != split:
                raise InputError(
                    f"Mesh {k} of the {split} split is mesh {number} of the {other} split once more. Generate a family of different meshes."
                )
