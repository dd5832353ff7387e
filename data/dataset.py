"""Data sets of finite-element fields: one HDF5 schema, written in whole shards, read as batches of tensors.

A data set is a folder with ``discretization.h5`` and shards ``samples-<first>-<last>.h5``. A shard holds
``/fields/<name>`` of shape ``(sample, time, dofs)`` and ``/parameters/<name>`` of shape ``(sample,)``; root attributes give schema
version, seed, resolved configuration, package versions and the discretization's fingerprint.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from ..errors import FileError, InputError
from ..fem import Discretization, load
from ..storage import atomic, reading_hdf5

SCHEMA_VERSION = 1
KIND = "dataset"
DISCRETIZATION = "discretization.h5"
_NO_SAMPLES = "{} holds no samples. Make them with `thalweg generate` and the same experiment or problem."
_SHARD = re.compile(r"samples-(\d+)-(\d+)\.h5")


@dataclass(frozen=True)
class Shard:
    """The samples ``first`` to ``last`` (exclusive) of a data set, and the file that holds them."""

    path: Path
    first: int
    last: int

    @staticmethod
    def named(folder: Path, first: int, last: int) -> "Shard":
        return Shard(folder / f"samples-{first:06d}-{last:06d}.h5", first, last)


@dataclass(frozen=True)
class Provenance:
    """What a shard says of its own making."""

    seed: int
    config: dict
    fingerprint: str
    dtype: str
    versions: dict[str, str] = field(default_factory=dict)


def write_shard(
    shard: Shard,
    fields: Mapping[str, np.ndarray],
    spaces: Mapping[str, str],
    parameters: Mapping[str, np.ndarray],
    provenance: Provenance,
) -> None:
    """Write one shard atomically. ``fields`` are ``(sample, time, dofs)``, ``spaces`` names the space of each.

    Raises:
        FileError: the disk is full or the folder cannot be written; shards written before are intact.
    """
    with atomic(shard.path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(
            kind=KIND,
            schema_version=SCHEMA_VERSION,
            seed=provenance.seed,
            first_sample=shard.first,
            fingerprint=provenance.fingerprint,
            config=json.dumps(provenance.config),
            versions=json.dumps(provenance.versions),
        )
        for name, values in fields.items():
            file[f"fields/{name}"] = values
            file[f"fields/{name}"].attrs["space"] = spaces[name]
        for name, values in parameters.items():
            file[f"parameters/{name}"] = values


def shards(folder: str | os.PathLike) -> list[Shard]:
    """The shards of a data set in the order of their samples."""
    matches = ((_SHARD.fullmatch(path.name), path) for path in Path(folder).glob("samples-*.h5"))
    return sorted((Shard(path, int(m[1]), int(m[2])) for m, path in matches if m), key=lambda shard: shard.first)


def read_provenance(shard: Shard) -> Provenance:
    """What a shard says of its own making.

    Raises:
        FileError: it is truncated or damaged.
    """
    with reading_hdf5(shard.path, KIND) as file:
        attrs = file.attrs
        dtype = str(next(iter(file["fields"].values())).dtype)
        versions = json.loads(attrs["versions"])
        return Provenance(int(attrs["seed"]), json.loads(attrs["config"]), attrs["fingerprint"], dtype, versions)


def field_spaces(folder: str | os.PathLike) -> dict[str, str]:
    """The space of each field of a data set."""
    found = shards(folder)
    if not found:
        raise FileError(_NO_SAMPLES.format(folder))
    with reading_hdf5(found[0].path, KIND) as file:
        return {name: values.attrs["space"] for name, values in file["fields"].items()}


class FieldDataset:
    """Samples of a data set held in memory: ``dataset.fields[name]`` is a tensor ``(samples, dofs)``, or ``(samples, time, dofs)``.

    Args:
        folder: the data set's folder.
        samples: range of sample numbers to read, all by default.
        discretization: use this one instead of the folder's; its fingerprint must match.

    Raises:
        FileError: a file is missing or truncated, or samples are missing from the range.
        FingerprintError: a shard belongs to another discretization.
        InputError: a field contains NaN or infinity; the message names field and sample.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        samples: range | None = None,
        discretization: Discretization | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        self.folder = Path(folder)
        self.discretization = discretization or load(self.folder / DISCRETIZATION, dtype=dtype)
        found = shards(self.folder)
        if not found:
            raise FileError(_NO_SAMPLES.format(self.folder))
        samples = samples if samples is not None else range(found[-1].last)
        self.samples = samples
        self.spaces: dict[str, str] = {}
        parts: list[dict[str, np.ndarray]] = []
        parameters: list[dict[str, np.ndarray]] = []
        covered = 0
        for shard in found:
            rows = slice(max(samples.start, shard.first) - shard.first, min(samples.stop, shard.last) - shard.first)
            if rows.start >= rows.stop:
                continue
            part, values = self._read(shard, rows)
            parts.append(part)
            parameters.append(values)
            covered += rows.stop - rows.start
        if covered != len(samples):
            raise FileError(
                f"{self.folder} holds {covered} of the {len(samples)} samples {samples.start} to {samples.stop - 1}. "
                "Generate the others by running `thalweg generate` again; what is there is kept."
            )
        self.fields = {name: torch.from_numpy(np.concatenate([p[name] for p in parts])).to(dtype) for name in parts[0]}
        self.parameters = {name: np.concatenate([p[name] for p in parameters]) for name in parameters[0]}

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, rows: Sequence[int] | Tensor | slice) -> dict[str, Tensor]:
        """Fields of some samples, counted from the start of this data set's range."""
        return {name: values[rows] for name, values in self.fields.items()}

    def to(self, device: torch.device | str) -> "FieldDataset":
        """Move all fields to a device, where batches are then cut without copies from the host."""
        self.fields = {name: values.to(device) for name, values in self.fields.items()}
        self.discretization = self.discretization.to(device)
        return self

    def _read(self, shard: Shard, rows: slice) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        with reading_hdf5(shard.path, KIND) as file:
            self.discretization.require_fingerprint(file.attrs["fingerprint"], str(shard.path))
            fields = {}
            for name, values in file["fields"].items():
                self.spaces[name] = values.attrs["space"]
                fields[name] = self._checked(name, values[rows], shard, rows.start)
            return fields, {name: values[rows] for name, values in file.get("parameters", {}).items()}

    def _checked(self, name: str, values: np.ndarray, shard: Shard, start: int) -> np.ndarray:
        dofs = self.discretization[self.spaces[name]].num_dofs
        if values.ndim != 3 or values.shape[-1] != dofs:
            raise InputError(
                f"Field {name!r} in {shard.path} has shape {values.shape}; expected (samples, time, {dofs}) for space "
                f"{self.spaces[name]!r}."
            )
        finite = np.isfinite(values).all(axis=(1, 2))
        if not finite.all():
            bad = (np.flatnonzero(~finite) + start + shard.first).tolist()
            raise InputError(
                f"Field {name!r} in {shard.path} contains NaN or infinity in sample {', '.join(map(str, bad[:10]))}. "
                "Delete that file and generate it again; if it recurs, the solver diverges for those inputs."
            )
        return values[:, 0] if values.shape[1] == 1 else values
