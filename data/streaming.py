"""Data sets that are read from their files while training goes on, for those that do not fit in memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from .dataset import Dataset, FieldDataset, Rows, moving
from .reading import ShardReader, row_numbers
from .shards import Spaces, read_spaces

Item = TypeVar("Item")
Value = TypeVar("Value")


class StreamedDataset(Dataset):
    """Samples read from their files batch by batch, for data that do not fit in memory; otherwise as :class:`FieldDataset`.

    :meth:`batches` reads ahead on a thread of its own. For a CUDA device batches go through pinned memory, and the copy does not wait.

    Args:
        ahead: batches that are read ahead.
        scale_samples: samples that ``fields`` holds, spread evenly over the range.
    """

    picks_on_host = True

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
        self._trajectories = moving(self._reader.shapes)
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
