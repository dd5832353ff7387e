"""Reading samples out of the shards of a data set: which file holds which, opened once a thread, checked as they are read."""

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import Tensor

from ..errors import FileError, InputError
from ..hdf5 import damage_explained, read_text, reading_hdf5
from .shards import KIND, Shard, Spaces, described, fits, frame_shape, h5_times, require_shards

_OPEN_FILES = 64  # of one thread, at most


class ShardReader:
    """Samples of a data set by their place in a range, read from the files that hold them.

    HDF5 files are opened by the thread and process that reads, so a reader can be handed to worker threads and processes.

    Attributes:
        spaces: name of the space or grid of each field.
        shapes: shape ``(time, ...)`` of one sample of each field.
        parameters: ``(sample,)`` arrays by name.
        times: of the frames, or None.

    Raises:
        FileError: a file is missing or damaged, or samples are missing from the range.
        FingerprintError: a shard belongs to another discretization.
        InputError: a field has a shape that does not fit its space, or shards disagree.
    """

    def __init__(self, folder: Path, samples: range | None, discretization: Spaces):
        self.folder, self.discretization = folder, discretization
        if samples is not None and not (isinstance(samples, range) and samples.step == 1 and len(samples)):
            raise InputError(f"The samples of a data set are a range, such as range(0, 100), and one at least; not {samples!r}.")
        found = require_shards(folder)
        self.samples = samples if samples is not None else range(found[-1].last)
        self.shards = [shard for shard in found if shard.first < self.samples.stop and shard.last > self.samples.start]
        for one, other in pairwise(self.shards):
            if other.first < one.last:
                raise FileError(
                    f"{one.path} and {other.path} both hold sample {other.first}. Delete the one that does not belong there, and run "
                    "`thalweg generate` again for what is then missing."
                )
        covered = sum(min(s.last, self.samples.stop) - max(s.first, self.samples.start) for s in self.shards)
        if covered != len(self.samples) or not self.shards:
            raise FileError(
                f"{folder} holds {covered} of the {len(self.samples)} samples {self.samples.start} to {self.samples.stop - 1}. "
                "Generate the others by running `thalweg generate` again; what is there is kept."
            )
        self._starts = [shard.first for shard in self.shards]
        self.spaces: dict[str, str] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.times: np.ndarray | None = None
        parts = [self._inspect(shard) for shard in self.shards]
        for shard, part in zip(self.shards, parts, strict=True):
            self._require_same("parameters", shard, sorted(part), sorted(parts[0]))
        self.parameters = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self._local = threading.local()

    def read(self, name: str, row: int, out: np.ndarray, start: int = 0) -> None:
        """Frames ``start`` and following of one sample, as many as ``out`` of shape ``(time, ...)`` has, in its dtype.

        Raises:
            InputError: they contain NaN or infinity; the message names field and sample.
            FileError: the file is damaged.
        """
        self._read(name, row, out[None], start)

    def read_all(self, name: str, out: np.ndarray) -> None:
        """All samples of a field, ``out`` of shape ``(sample, time, ...)``."""
        for shard in self.shards:
            first, last = max(shard.first, self.samples.start), min(shard.last, self.samples.stop)
            rows = slice(first - self.samples.start, last - self.samples.start)
            self._read(name, rows.start, out[rows])

    def _read(self, name: str, first: int, out: np.ndarray, start: int = 0) -> None:
        sample = first + self.samples.start
        shard = self.shards[bisect_right(self._starts, sample) - 1]
        with damage_explained(shard.path, KIND):
            stored, selected, memory = self._stored(shard, name)
            if memory.shape != out.shape:
                memory.set_extent_simple(out.shape)
            selected.select_hyperslab((sample - shard.first, start, *(0 for _ in out.shape[2:])), out.shape)
            stored.read(memory, selected, out)
        finite = np.isfinite(out)
        if not finite.all():
            bad = (np.flatnonzero(~finite.reshape(len(out), -1).all(axis=1)) + sample).tolist()
            raise InputError(
                f"Field {name!r} in {shard.path} contains NaN or infinity in sample {', '.join(map(str, bad[:10]))}. "
                "Delete that file and generate it again; if it recurs, the solver diverges for those inputs."
            )

    def _stored(self, shard: Shard, name: str) -> tuple[Any, Any, Any]:
        """A field in the open file of a shard and its spaces in the file and in memory, this thread's and this process's own.

        Looking them up costs as much as reading a sample.
        """
        local = self._local
        if getattr(local, "process", None) != os.getpid():
            local.process, local.files = os.getpid(), OrderedDict()
        files: OrderedDict[Path, tuple[Any, dict[str, tuple[Any, Any, Any]]]] = local.files
        if shard.path not in files:
            with reading_hdf5(shard.path, KIND):
                file: Any = h5py.File(shard.path, "r")
            found = {name: file[f"fields/{name}"].id for name in self.spaces}
            spaces = {name: (id, id.get_space(), h5py.h5s.create_simple(id.shape)) for name, id in found.items()}
            files[shard.path] = file, spaces
            if len(files) > _OPEN_FILES:
                files.popitem(last=False)[1][0].close()
        files.move_to_end(shard.path)
        return files[shard.path][1][name]

    def _inspect(self, shard: Shard) -> dict[str, np.ndarray]:
        """Check a shard's fields, and return its parameters, those of the samples of the range."""
        with reading_hdf5(shard.path, KIND) as file:
            self.discretization.require_fingerprint(read_text(file, "fingerprint"), str(shard.path))
            if shard is not self.shards[0]:
                self._require_same("fields", shard, sorted(file["fields"]), sorted(self.spaces))
            for name, values in file["fields"].items():
                self.spaces[name] = read_text(values, "space")
                expected = frame_shape(self.discretization, self.spaces[name])
                if not fits(values.shape[2:], expected) or len(values) != len(shard):
                    raise InputError(
                        f"Field {name!r} in {shard.path} has shape {values.shape}; expected ({len(shard)}, time, "
                        f"{described(expected)}) for space {self.spaces[name]!r}."
                    )
                if self.shapes.setdefault(name, values.shape[1:]) != values.shape[1:]:
                    raise InputError(
                        f"Field {name!r} has frames of shape {values.shape[1:]} in {shard.path}, but {self.shapes[name]} before it."
                    )
            times = h5_times(file)
            if shard is not self.shards[0]:
                self._require_same("times of frames", shard, *(None if t is None else t.tolist() for t in (times, self.times)))
            self.times = times
            rows = slice(max(self.samples.start, shard.first) - shard.first, min(self.samples.stop, shard.last) - shard.first)
            return {name: values[rows] for name, values in file.get("parameters", {}).items()}

    def _require_same(self, what: str, shard: Shard, here: list | None, before: list | None) -> None:
        if here != before:
            raise InputError(
                f"The shards disagree: {shard.path} has other {what} than {self.shards[0].path}. Shards of one data set are made by one "
                "configuration; delete those of the other."
            )

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._local = threading.local()


def row_numbers(rows: Sequence[int] | Tensor | slice, samples: int) -> list[int]:
    """Rows as a list of numbers, from a slice, a tensor or a sequence; negative ones count from the end.

    Raises:
        InputError: there is no such row.
    """
    if isinstance(rows, slice):
        return list(range(samples))[rows]
    numbers = rows.tolist() if isinstance(rows, Tensor) else [int(row) for row in rows]
    if beyond := [row for row in numbers if not -samples <= row < samples]:
        raise InputError(f"There is no row {beyond[0]}; the data set has {samples} samples, counted from 0.")
    return [row % samples for row in numbers]
