"""Fields that were made elsewhere, as a data set: checked, written in the format of generated ones, or kept in memory."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from ..fem.uniform_grid import Grids
from .card import write_card
from .dataset import FieldDataset
from .preview import write_preview
from .shards import Provenance, Shard, Spaces, described, fits, frame_shape, shards, write_shard, write_spaces


class LazyArray:
    """An array of samples that is read when rows of it are asked for, such as a transposed part of an HDF5 file."""

    def __init__(self, shape: Sequence[int], read: Callable[[slice], np.ndarray]):
        self.shape, self._read = tuple(shape), read

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self._read(rows)


@dataclass(frozen=True)
class FieldArrays:
    """Samples of named fields on exported spaces or grids, as arrays.

    A field is ``(sample, dofs)`` on a space, ``(sample, channel, x[, y[, z]])`` or, with one channel, ``(sample, x[, y[, z]])`` on a grid;
    trajectories have an axis of time after the first. Arrays may be anything with a shape that gives numpy arrays for slices of rows:
    numpy arrays, tensors, HDF5 data sets, which are then read piece by piece.

    Args:
        discretization: from :func:`fem.export` or a file, or ``Grids({"grid": Grid(...)})``.
        fields: the arrays by name.
        spaces: the space or grid of each field; one name if all have the same.
        times: of the frames of trajectories.
        parameters: further numbers of each sample, ``(sample,)``.
        description: where the data come from, for the card.

    Raises:
        InputError: shapes do not fit, or there are no fields.
    """

    discretization: Spaces
    fields: Mapping[str, Any]
    spaces: Mapping[str, str] | str
    times: Sequence[float] | np.ndarray | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self):
        if not self.fields:
            raise InputError("There are no fields to store; pass at least one.")
        if not isinstance(self.discretization, Spaces):
            raise InputError(
                f"Spaces are given by name, but what came is a {type(self.discretization).__name__}; pass a Discretization from "
                'fem.export, or of grids Grids({"grid": Grid(...)}).'
            )
        if missing := [name for name in self.fields if name not in self._spaces]:
            raise InputError(f"The space of field {missing[0]!r} is not given; pass spaces={{{missing[0]!r}: ...}}.")
        for name, values in self.fields.items():
            if not hasattr(values, "shape") or "/" in name:
                raise InputError(f"Field {name!r} is a {type(values).__name__}; expected an array, under a name without a slash.")
            self._layout(name, values.shape)
        lengths = {name: len_of(values) for name, values in (*self.fields.items(), *self.parameters.items())}
        if len(set(lengths.values())) != 1 or not len(self):
            listed = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise InputError(f"Fields and parameters must have the same number of samples, at least one; they have: {listed}.")
        if self.times is not None and not (np.diff(np.asarray(self.times)) > 0).all():
            raise InputError(f"Times must increase; got {list(self.times)[:8]}.")

    def __len__(self) -> int:
        return len_of(next(iter(self.fields.values())))

    def store(self, folder: str | os.PathLike, samples_per_shard: int = 64, dtype: str = "float32", preview: bool = True) -> Path:
        """Write a data set that :class:`FieldDataset` reads; nothing is held in memory but one shard.

        Raises:
            InputError: the folder holds samples already, or a field contains NaN or infinity; the message names field and sample.
            FileError: the disk is full or the folder cannot be written.
        """
        folder = Path(folder)
        if shards(folder):
            raise InputError(f"{folder} holds samples already. Choose another folder, or delete it first.")
        parts = range(0, len(self), samples_per_shard)
        for first in parts:
            self._require_finite(slice(first, first + samples_per_shard))
        write_spaces(folder, self.discretization)
        made = Provenance(0, {"source": "own data"}, self.discretization.fingerprint, dtype)
        times = None if self.times is None else np.asarray(self.times, dtype=np.float64)
        for first in parts:
            rows = slice(first, min(first + samples_per_shard, len(self)))
            fields = {name: self._frames(name, rows).astype(dtype) for name in self.fields}
            parameters = {name: np.asarray(values[rows]) for name, values in self.parameters.items()}
            write_shard(Shard.named(folder, rows.start, rows.stop), fields, self._spaces, parameters, made, times)
        if preview:
            write_preview(folder)
        write_card(folder, description=self.description)
        return folder

    def dataset(self, dtype: torch.dtype = torch.float32) -> FieldDataset:
        """All samples in memory, without a file.

        Raises:
            InputError: a field contains NaN or infinity.
        """
        everything = slice(0, len(self))
        self._require_finite(everything)
        fields = {}
        for name in self.fields:
            values = torch.tensor(self._frames(name, everything), dtype=dtype)
            fields[name] = values if values.shape[1] > 1 else values[:, 0]
        times = None if self.times is None else np.asarray(self.times, dtype=np.float64)
        parameters = {name: np.asarray(values[everything]) for name, values in self.parameters.items()}
        return FieldDataset.of(self.discretization, fields, self._spaces, times, parameters)

    @property
    def _spaces(self) -> Mapping[str, str]:
        return dict.fromkeys(self.fields, self.spaces) if isinstance(self.spaces, str) else self.spaces

    def _layout(self, name: str, shape: Sequence[int]) -> tuple[bool, bool]:
        """Whether a field has an axis of time, and whether it has one of channels or needs none."""
        expected = frame_shape(self.discretization, self._spaces[name])
        frames = () if self.times is None else (len(self.times),)
        for moves in (True, False) if frames else (False,):
            for channels in (True, False) if isinstance(self.discretization, Grids) else (True,):
                if fits(tuple(shape)[1:], (*(frames if moves else ()), *(expected if channels else expected[1:]))):
                    return moves, channels
        time = f"[{frames[0]} times,] " if frames else ""
        channel = "[channel,] " if isinstance(self.discretization, Grids) else ""
        points = described(expected).removeprefix("channel, ")
        raise InputError(
            f"Field {name!r} has shape {tuple(shape)}; expected (samples, {time}{channel}{points}) for {self._spaces[name]!r}."
            + ("" if frames else " For trajectories, pass times.")
        )

    def _frames(self, name: str, rows: slice) -> np.ndarray:
        """Some samples as ``(sample, time, ...)``."""
        array = self.fields[name]
        moves, channels = self._layout(name, array.shape)
        values = np.asarray(array[rows])
        if values.dtype.kind not in "fiub":
            raise InputError(
                f"Field {name!r} holds {values.dtype}; expected real numbers. Store a complex field as two real ones."
            )
        values = values if moves else values[:, None]
        return values if channels else values[:, :, None]

    def _require_finite(self, rows: slice) -> None:
        for name in self.fields:
            values = self._frames(name, rows)
            bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(1)) + rows.start
            if len(bad):
                raise InputError(
                    f"Field {name!r} contains NaN or infinity in sample {', '.join(map(str, bad[:10].tolist()))}. Leave these samples "
                    "out, or fill what is missing by data.scattered from the values that are there."
                )


def len_of(values: Any) -> int:
    """The samples of an array that may only have a shape."""
    return values.shape[0] if hasattr(values, "shape") else len(values)
