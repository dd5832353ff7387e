"""The file format of data sets: one HDF5 schema, written in whole shards.

A data set is a folder with ``discretization.h5`` (finite elements) or ``grids.h5`` (uniform grids) and shards
``samples-<first>-<last>.h5``. A shard holds ``/fields/<name>`` of shape ``(sample, time, dofs)``, on grids ``(sample, time, channel, x[,
y[, z]])``; ``/times`` of shape ``(time,)`` where there are trajectories; and ``/parameters/<name>`` of shape ``(sample,)``. Root attributes
give schema version, seed, resolved configuration, package versions, draws that were replaced and the discretization's fingerprint.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import FileError
from ..fem import Discretization, load
from ..fem.uniform_grid import Grids, load_grids
from ..hdf5 import SCHEMA_VERSION, read_text, reading_hdf5, write_texts, writing_hdf5

KIND = "dataset"
DISCRETIZATION = "discretization.h5"
GRIDS = "grids.h5"
_NO_SAMPLES = "{} holds no samples. Make them with `thalweg generate` and the same experiment or problem."
_SHARD = re.compile(r"samples-(\d+)-(\d+)\.h5")
_CHUNK = 2**20  # bytes of a trajectory that are read at once

#: What gives the numbers of a data set their meaning: finite-element spaces, or uniform grids, by name.
Spaces = Discretization | Grids


@dataclass(frozen=True)
class Shard:
    """The samples ``first`` to ``last`` (exclusive) of a data set, and the file that holds them."""

    path: Path
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    @staticmethod
    def named(folder: Path, first: int, last: int) -> "Shard":
        return Shard(folder / f"samples-{first:06d}-{last:06d}.h5", first, last)


@dataclass(frozen=True)
class FailedDraw:
    """Inputs for which the reference solver failed, so that sample ``sample`` was drawn again."""

    sample: int
    attempt: int
    reason: str


@dataclass(frozen=True)
class Provenance:
    """What a shard says of its own making."""

    seed: int
    config: dict
    fingerprint: str
    dtype: str
    versions: dict[str, str] = field(default_factory=dict)
    failed: tuple[FailedDraw, ...] = ()


def write_shard(
    shard: Shard,
    fields: Mapping[str, np.ndarray],
    spaces: Mapping[str, str],
    parameters: Mapping[str, np.ndarray],
    provenance: Provenance,
    times: np.ndarray | None = None,
) -> None:
    """Write one shard atomically. ``fields`` are ``(sample, time, ...)``, ``spaces`` names the space or grid of each.

    A chunk is one sample, or as many frames of it as make a megabyte, with a checksum: what is read at once is stored together, and
    damage is noticed.

    Raises:
        FileError: the disk is full or the folder cannot be written; shards written before are intact.
    """
    with writing_hdf5(shard.path) as file:
        file.attrs.update(schema_version=SCHEMA_VERSION, seed=provenance.seed, first_sample=shard.first)
        write_texts(
            file,
            kind=KIND,
            fingerprint=provenance.fingerprint,
            config=json.dumps(provenance.config),
            versions=json.dumps(provenance.versions),
            failed=json.dumps([asdict(draw) for draw in provenance.failed]),
        )
        group = file.create_group("fields")  # a group made on the way to a data set would keep the time of its making
        for name, values in fields.items():
            stored = group.create_dataset(name, data=values, chunks=_chunks(values), fletcher32=True)
            stored.attrs.update(minimum=float(values.min()), maximum=float(values.max()))
            write_texts(stored, space=spaces[name])
        group = file.create_group("parameters")
        for name, values in parameters.items():
            group[name] = values
        if times is not None:
            file["times"] = np.asarray(times, dtype=np.float64)


def _chunks(values: np.ndarray) -> tuple[int, ...]:
    frames = max(1, min(values.shape[1], _CHUNK // (prod(values.shape[2:]) * values.itemsize)))
    return 1, frames, *values.shape[2:]


def shards(folder: str | os.PathLike) -> list[Shard]:
    """The shards of a data set in the order of their samples."""
    matches = ((_SHARD.fullmatch(path.name), path) for path in Path(folder).glob("samples-*.h5"))
    return sorted((Shard(path, int(m[1]), int(m[2])) for m, path in matches if m), key=lambda shard: shard.first)


def require_shards(folder: str | os.PathLike) -> list[Shard]:
    """The shards of a data set.

    Raises:
        FileError: there are none.
    """
    if found := shards(folder):
        return found
    raise FileError(_NO_SAMPLES.format(folder))


def read_provenance(shard: Shard) -> Provenance:
    """What a shard says of its own making.

    Raises:
        FileError: it is truncated or damaged.
    """
    with reading_hdf5(shard.path, KIND) as file:
        dtype = str(next(iter(file["fields"].values())).dtype)
        config, versions = (json.loads(read_text(file, name)) for name in ("config", "versions"))
        failed = json.loads(read_text(file, "failed")) if "failed" in file.attrs else []
        return Provenance(
            int(file.attrs["seed"]),
            config,
            read_text(file, "fingerprint"),
            dtype,
            versions,
            tuple(FailedDraw(**draw) for draw in failed),
        )


def field_spaces(folder: str | os.PathLike) -> dict[str, str]:
    """The space of each field of a data set."""
    with reading_hdf5(require_shards(folder)[0].path, KIND) as file:
        return {name: read_text(values, "space") for name, values in file["fields"].items()}


def read_spaces(folder: str | os.PathLike, dtype: torch.dtype = torch.float32) -> Spaces:
    """The discretization or the grids that a data set's fields live on.

    Raises:
        FileError: the folder has neither.
    """
    folder = Path(folder)
    if (folder / GRIDS).is_file():
        return load_grids(folder / GRIDS)
    return load(folder / DISCRETIZATION, dtype=dtype)


def write_spaces(folder: Path, spaces: Spaces) -> None:
    """Store the discretization or the grids of a data set; where one is stored already it must be the same.

    Raises:
        FingerprintError: the folder belongs to another discretization.
    """
    path = folder / (GRIDS if isinstance(spaces, Grids) else DISCRETIZATION)
    if (folder / GRIDS).exists() or (folder / DISCRETIZATION).exists():
        spaces.require_fingerprint(read_spaces(folder).fingerprint, str(folder))
    else:
        spaces.save(path)


def frame_shape(spaces: Spaces, name: str) -> tuple[int | None, ...]:
    """The shape of one frame of a field: ``(dofs,)``, or ``(None, x[, y[, z]])`` on grids, whatever the number of channels."""
    if isinstance(spaces, Grids):
        return None, *spaces[name].shape
    return (spaces[name].num_dofs,)


def fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    """Whether a shape is the expected one, where None stands for any length."""
    return len(shape) == len(expected) and all(m is None or n == m for n, m in zip(shape, expected, strict=True))


def described(expected: Sequence[int | None]) -> str:
    """The shape of a frame as messages give it."""
    return ", ".join("channel" if n is None else str(n) for n in expected)


def h5_times(file: Any) -> np.ndarray | None:
    """The times of a shard's frames."""
    return file["times"][()] if "times" in file else None
