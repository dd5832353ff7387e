"""Files of PDEBench (Takamoto et al., NeurIPS 2022, arXiv 2210.07182) as fields on a uniform grid of cells.

Three layouts are in use: a ``tensor`` ``(sample, time, x[, y])``, for Darcy flow with its coefficient ``nu`` ``(sample, x, y)``; one
array ``(sample, time, x[, y[, z]])`` for each variable (``density``, ``pressure``, ``Vx``, ...), or ``(sample, time, x, y, component)``
with inputs ``(sample, x, y, component)``; and a group ``0000``, ... for each sample with ``data`` ``(time, x[, y], component)``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...errors import InputError
from ...fem.uniform_grid import Grid, Grids
from ..storing import FieldArrays, LazyArray
from .axes import grid_of, opened

_COORDINATES = ("x-coordinate", "y-coordinate", "z-coordinate")
_COMPONENTS = ("velocity", "force", "particles")


def read_pdebench(path: str | os.PathLike, periodic: bool = False, lengths: tuple[float, ...] | None = None) -> FieldArrays:
    """The fields of a file, by the names that it gives them; those of one sample a group are called ``data``.

    The components of vectors become channels. Fields are read from the file when they are used, so it must stay where it is.

    Args:
        periodic: whether the domain is, which the files do not tell.
        lengths: sides of the box where the file holds no coordinates; 1 each by default.

    Raises:
        FileError: the file is missing or damaged.
        InputError: it has none of these layouts.
    """
    path = Path(path)
    with opened(path) as file:
        if samples := sorted(name for name in file if isinstance(file[name], h5py.Group) and "data" in file[name]):
            return _groups(path, file, samples, periodic, lengths)
        fields = {name: values for name, values in file.items() if isinstance(values, h5py.Dataset) and values.ndim >= 3}
        if not fields:
            raise InputError(f"{path} has no field of PDEBench in it; its data sets are {', '.join(file) or 'none'}.")
        reference = fields.get("tensor", max(fields.values(), key=lambda values: values.ndim))
        dim = reference.ndim - 2 - any(name in _COMPONENTS for name in fields)
        shape = reference.shape[2 : 2 + dim]
        grid = _grid([file[name][()] for name in _COORDINATES if name in file], shape, periodic, lengths, str(path))
        frames = reference.shape[1]
        arrays = {name: _array(path, name, values.shape, dim, frames, name in _COMPONENTS) for name, values in fields.items()}
        return _made(path, grid, arrays, _times(file, frames), {})


def _grid(axes: list[np.ndarray], shape: tuple[int, ...], periodic: bool, lengths: tuple[float, ...] | None, origin: str) -> Grid:
    if len(axes) == len(shape) and lengths is None:
        return grid_of(axes, [periodic] * len(shape), origin)
    return Grid(shape, lengths or (1.0,) * len(shape), (periodic,) * len(shape), "centre")


def _times(file: Any, frames: int) -> np.ndarray | None:
    """The times of the frames. Some files hold the end of the last step, too; ``t`` is there for each sample."""
    for name in ("t-coordinate", "t"):
        if name in file and frames > 1:
            return np.asarray(file[name], dtype=np.float64).reshape(-1, file[name].shape[-1])[0, :frames]
    return np.arange(frames, dtype=np.float64) if frames > 1 else None


def _array(path: Path, name: str, shape: tuple[int, ...], dim: int, frames: int, components: bool) -> LazyArray:
    """A field ``(sample, [time,] channel, x[, y[, z]])`` that is read from the file in pieces."""
    moves = len(shape) - 1 - dim - components == 1 and frames > 1
    single = len(shape) - 1 - dim - components == 1 and not moves
    points = shape[len(shape) - dim - components : len(shape) - components]
    channels = shape[-1] if components else 1

    def read(rows: slice) -> np.ndarray:
        with opened(path) as file:
            values = file[name][rows]
        if single:
            values = values[:, 0]
        return np.moveaxis(values, -1, -1 - dim) if components else np.expand_dims(values, -1 - dim)

    return LazyArray((shape[0], *((frames,) if moves else ()), channels, *points), read)


def _groups(path: Path, file: Any, samples: list[str], periodic: bool, lengths: tuple[float, ...] | None) -> FieldArrays:
    first = file[samples[0]]
    frames, *points, channels = first["data"].shape
    held = first.get("grid", {})
    grid = _grid([held[name][()] for name in "xyz" if name in held], tuple(points), periodic, lengths, str(path))
    times = np.asarray(held["t"], dtype=np.float64)[:frames] if "t" in held else np.arange(frames, dtype=np.float64)

    def read(rows: slice) -> np.ndarray:
        with opened(path) as opened_file:
            values = np.stack([opened_file[name]["data"][()] for name in samples[rows]])
        return np.moveaxis(values, -1, 2)

    return _made(path, grid, {"data": LazyArray((len(samples), frames, channels, *points), read)}, times, {})


def _made(
    path: Path, grid: Grid, arrays: Mapping[str, LazyArray], times: np.ndarray | None, parameters: Mapping[str, np.ndarray]
) -> FieldArrays:
    return FieldArrays(Grids({"grid": grid}), arrays, "grid", times, parameters, f"PDEBench, from {path.name}.")
