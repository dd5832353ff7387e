"""Data sets as training reads them: batches of tensors, here out of memory.

Fields are ``(samples, dofs)`` on finite-element spaces and ``(samples, channel, x[, y[, z]])`` on grids; trajectories have an axis of time
after the first. Splits are ranges of samples, so that a trajectory is never in two of them.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .reading import ShardReader, row_numbers
from .shards import DISCRETIZATION, Spaces, described, field_spaces, fits, frame_shape, read_spaces, shards

__all__ = ["DISCRETIZATION", "Dataset", "FieldDataset", "field_spaces", "shards"]

Rows = Sequence[int] | Tensor | slice


class Dataset(ABC):
    """Samples of named fields, read in batches.

    Attributes:
        discretization: the exported spaces, or the grids, that the fields live on.
        spaces: the name of each field's space or grid.
        samples: the numbers of the samples.
        times: of the frames of trajectories, ``(time,)``, or None.
        parameters: further numbers of each sample, ``(samples,)`` by name.
        picks_on_host: whether rows are looked up by the host; else on the device of the fields.
    """

    picks_on_host: bool = False
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

    def orders(self, batch_size: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """The rows of each batch of an epoch, all samples once; shuffled with a generator.

        Raises:
            InputError: batches of no samples.
        """
        require_batch_size(batch_size)
        return list(self._order(generator).split(batch_size))

    def _order(self, generator: torch.Generator | None) -> Tensor:
        return torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)


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
        self._trajectories = moving(reader.shapes)
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
        fields, rows = {}, row_numbers(rows, len(self)) if isinstance(rows, slice) else rows
        for name, values in self._fields.items():
            if name in self._trajectories:
                first = torch.as_tensor(starts, device=values.device)
                frames = first[:, None] + torch.arange(length, device=values.device)
                fields[name] = values[torch.as_tensor(rows, device=values.device)[:, None], frames]
            else:
                fields[name] = values[rows]
        return fields

    def to(self, device: torch.device | str) -> Self:
        """Move all fields to a device, where batches are then cut without copies from the host."""
        self._fields = {name: values.to(device) for name, values in self._fields.items()}
        self.discretization = self.discretization.to(device)
        return self


def require_batch_size(batch_size: int) -> None:
    """Refuse batches without samples."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"A batch has one sample or more, not batch_size={batch_size!r}.")


def moving(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The fields with more than one frame."""
    return tuple(name for name, shape in shapes.items() if shape[0] > 1)
