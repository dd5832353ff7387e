"""Data sets as training reads them: batches of tensors out of memory, where the data fit, or out of their files.

Fields are ``(samples, dofs)`` on finite-element spaces and ``(samples, channel, x[, y[, z]])`` on grids; trajectories have an axis of time
after the first. Splits are ranges of samples, so that a trajectory is never in two of them.
"""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .reading import ShardReader, row_numbers
from .shards import DISCRETIZATION, Spaces, described, field_spaces, fits, frame_shape, read_spaces, shards

__all__ = ["DISCRETIZATION", "Dataset", "FieldDataset", "StreamedDataset", "field_spaces", "open_dataset", "shards"]

Rows = Sequence[int] | Tensor | slice
Item = TypeVar("Item")
Value = TypeVar("Value")


class Dataset(ABC):
    """Samples of named fields, read in batches.

    Attributes:
        discretization: the exported spaces, or the grids, that the fields live on.
        spaces: the name of each field's space or grid.
        samples: the numbers of the samples.
        times: of the frames of trajectories, ``(time,)``, or None.
        parameters: further numbers of each sample, ``(samples,)`` by name.
    """

    discretization: Spaces
    spaces: dict[str, str]
    samples: range
    times: np.ndarray | None
    parameters: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    @abstractmethod
    def fields(self) -> Mapping[str, Tensor]:
        """Sample fields in memory, from which an operator takes its scales."""

    @property
    @abstractmethod
    def trajectories(self) -> tuple[str, ...]:
        """Names of the fields that have an axis of time."""

    @abstractmethod
    def batch(self, rows: Rows) -> dict[str, Tensor]:
        """Fields of some samples, counted from the start of this data set's range; trajectories whole."""

    @abstractmethod
    def window(self, rows: Rows, starts: Sequence[int] | Tensor, length: int) -> dict[str, Tensor]:
        """As :meth:`batch`, but of each trajectory only ``length`` frames from one of ``starts``, one start a row."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """Deliver batches on a device."""

    def batches(self, order: Iterable[Rows]) -> Iterator[dict[str, Tensor]]:
        """The batches of an epoch, one after the other."""
        return map(self.batch, order)


class FieldDataset(Dataset):
    """Samples held in memory: ``dataset.fields[name]`` is a tensor ``(samples, ...)``.

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
        discretization: Spaces | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        self.folder = Path(folder)
        self.discretization = discretization or read_spaces(self.folder, dtype)
        reader = ShardReader(self.folder, samples, self.discretization)
        self.samples, self.spaces, self.times, self.parameters = reader.samples, reader.spaces, reader.times, reader.parameters
        self._fields: dict[str, Tensor] = {}
        self._trajectories = _moving(reader.shapes)
        for name, shape in reader.shapes.items():
            values = torch.empty(len(self), *shape, dtype=dtype)
            reader.read_all(name, values.numpy())
            self._fields[name] = values if name in self._trajectories else values[:, 0]

    @classmethod
    def of(
        cls,
        discretization: Spaces,
        fields: Mapping[str, Tensor],
        spaces: Mapping[str, str],
        times: np.ndarray | None = None,
        parameters: Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        """A data set of tensors that are in memory already; with ``times``, fields of one more axis are trajectories.

        Raises:
            InputError: a field's shape does not fit its space, or it is not finite.
        """
        self = cls.__new__(cls)
        self.folder, self.discretization = Path(), discretization
        self.spaces, self.times, self.parameters = dict(spaces), times, dict(parameters or {})
        self.samples = range(len(next(iter(fields.values()))))
        moving = []
        for name, values in fields.items():
            expected = frame_shape(discretization, self.spaces[name])
            with_time = times is not None and fits(values.shape[1:], (len(times), *expected))
            if not (with_time or fits(values.shape[1:], expected)) or len(values) != len(self):
                raise InputError(
                    f"Field {name!r} has shape {tuple(values.shape)}; expected ({len(self)}, [time,] {described(expected)})."
                )
            if not bool(torch.isfinite(values).all()):
                raise InputError(f"Field {name!r} contains NaN or infinity. Look for them with torch.isfinite.")
            moving += [name] if with_time else []
        self._fields, self._trajectories = dict(fields), tuple(moving)
        return self

    @property
    def fields(self) -> dict[str, Tensor]:
        return self._fields

    @property
    def trajectories(self) -> tuple[str, ...]:
        return self._trajectories

    def batch(self, rows: Rows) -> dict[str, Tensor]:
        picked = rows if isinstance(rows, slice | Tensor) else list(rows)
        return {name: values[picked] for name, values in self._fields.items()}

    def window(self, rows: Rows, starts: Sequence[int] | Tensor, length: int) -> dict[str, Tensor]:
        fields = {}
        for name, values in self._fields.items():
            if name in self._trajectories:
                first = torch.as_tensor(starts, device=values.device)
                frames = first[:, None] + torch.arange(length, device=values.device)
                picked = rows if isinstance(rows, slice) else torch.as_tensor(rows, device=values.device)[:, None]
                fields[name] = values[picked, frames]
            else:
                fields[name] = values[rows]
        return fields

    def to(self, device: torch.device | str) -> Self:
        """Move all fields to a device, where batches are then cut without copies from the host."""
        self._fields = {name: values.to(device) for name, values in self._fields.items()}
        self.discretization = self.discretization.to(device)
        return self


class StreamedDataset(Dataset):
    """Samples read from their files batch by batch, for data that do not fit in memory; otherwise as :class:`FieldDataset`.

    :meth:`batches` reads ahead on a thread of its own. For a CUDA device batches go through pinned memory, and the copy does not wait.

    Args:
        ahead: batches that are read ahead.
        scale_samples: samples that ``fields`` holds, spread evenly over the range.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        samples: range | None = None,
        discretization: Spaces | None = None,
        dtype: torch.dtype = torch.float32,
        ahead: int = 2,
        scale_samples: int = 256,
    ):
        self.folder = Path(folder)
        self.discretization = discretization or read_spaces(self.folder, dtype)
        self._reader = ShardReader(self.folder, samples, self.discretization)
        self.samples, self.spaces = self._reader.samples, self._reader.spaces
        self.times, self.parameters = self._reader.times, self._reader.parameters
        self.dtype, self.ahead, self.scale_samples = dtype, ahead, scale_samples
        self._trajectories = _moving(self._reader.shapes)
        self._device = torch.device("cpu")

    @property
    def fields(self) -> dict[str, Tensor]:
        """Up to ``scale_samples`` of the samples; read anew each time."""
        return self.batch(np.linspace(0, len(self) - 1, min(len(self), self.scale_samples)).round().astype(int).tolist())

    @property
    def trajectories(self) -> tuple[str, ...]:
        return self._trajectories

    def batch(self, rows: Rows) -> dict[str, Tensor]:
        numbers = row_numbers(rows, len(self))
        return self._read(numbers, [0] * len(numbers), None)

    def window(self, rows: Rows, starts: Sequence[int] | Tensor, length: int) -> dict[str, Tensor]:
        return self._read(row_numbers(rows, len(self)), [int(start) for start in starts], length)

    def _read(self, rows: list[int], starts: list[int], length: int | None) -> dict[str, Tensor]:
        fields = {}
        for name, (frames, *shape) in self._reader.shapes.items():
            moves = name in self._trajectories
            count = length if moves and length is not None else frames
            pinned = self._device.type == "cuda"
            values = torch.empty(len(rows), count, *shape, dtype=self.dtype, pin_memory=pinned)
            out = values.numpy()
            for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
                self._reader.read(name, row, out[i], start if moves else 0)
            fields[name] = (values if moves else values[:, 0]).to(self._device, non_blocking=pinned)
        return fields

    def to(self, device: torch.device | str) -> Self:
        self._device = torch.device(device)
        self.discretization = self.discretization.to(device)
        return self

    def batches(self, order: Iterable[Rows]) -> Iterator[dict[str, Tensor]]:
        """The batches of an epoch; while one is used, the next ones are read."""
        return read_ahead(self.batch, order, self.ahead)


def read_ahead(read: Callable[[Item], Value], items: Iterable[Item], ahead: int) -> Iterator[Value]:
    """``map(read, items)`` with up to ``ahead`` results made in advance by one thread; its errors come out here."""
    with ThreadPoolExecutor(1, "read-ahead") as thread:
        waiting: deque[Future[Value]] = deque()
        try:
            for item in items:
                waiting.append(thread.submit(read, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def open_dataset(
    folder: str | os.PathLike,
    samples: range | None = None,
    discretization: Spaces | None = None,
    dtype: torch.dtype = torch.float32,
    in_memory_up_to: float = 4e9,
) -> Dataset:
    """A data set in memory if its samples take at most so many bytes, or else one that is read from its files."""
    folder = Path(folder)
    discretization = discretization or read_spaces(folder, dtype)
    reader = ShardReader(folder, samples, discretization)
    size = len(reader.samples) * sum(prod(shape) for shape in reader.shapes.values()) * torch.finfo(dtype).bits // 8
    kind = FieldDataset if size <= in_memory_up_to else StreamedDataset
    return kind(folder, samples, discretization, dtype)


def _moving(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The fields with more than one frame."""
    return tuple(name for name, shape in shapes.items() if shape[0] > 1)
