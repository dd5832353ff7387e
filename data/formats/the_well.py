"""Files of The Well (Ohana et al., NeurIPS 2024, arXiv 2412.00568; its data format specification) as fields on a grid, and back.

Scalars are in ``t0_fields``, ``(trajectory, time, x[, y[, z]])``, vectors in ``t1_fields`` and tensors in ``t2_fields``, components
last. Attributes tell which axes a field lacks because it does not vary along them.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...errors import FileError, InputError
from ...fem.uniform_grid import Grids
from ...storage import atomic, unwritable
from ..dataset import Dataset
from ..storing import FieldArrays, LazyArray
from .axes import grid_of, opened

_BATCH = 8  # trajectories that are written at once


def read_well(path: str | os.PathLike) -> FieldArrays:
    """The fields of a file by their names, components as channels; scalars that vary between trajectories are parameters.

    Fields are read from the file when they are used, so it must stay where it is.

    Raises:
        FileError: the file is missing or damaged.
        InputError: it does not follow the specification, or its grid is not Cartesian and uniform.
    """
    path = Path(path)
    with opened(path) as file:
        try:
            if str(file.attrs["grid_type"]) != "cartesian":
                raise InputError(f"The grid of {path} is {file.attrs['grid_type']}; only Cartesian grids are read.")
            names = [str(name) for name in file["dimensions"].attrs["spatial_dims"]]
            axes = [file["dimensions"][name][()] for name in names]
            wraps = {
                dim
                for held in file["boundary_conditions"].values()
                if _is_periodic(held)
                for dim in held.attrs["associated_dims"]
            }
            times = np.asarray(file["dimensions/time"], dtype=np.float64)
            samples = int(file.attrs["n_trajectories"])
            grid = grid_of(axes, [name in wraps for name in names], str(path))
            times = times.reshape(-1, times.shape[-1])[0]
            fields = {
                name: _array(path, f"t{order}_fields/{name}", values, order, samples, len(times), grid.shape)
                for order in range(3)
                if f"t{order}_fields" in file
                for name, values in file[f"t{order}_fields"].items()
            }
            parameters = {
                name: values[()].reshape(samples)
                for name, values in file.get("scalars", {}).items()
                if values.attrs["sample_varying"] and not values.attrs["time_varying"]
            }
            name = str(file.attrs["dataset_name"])
        except KeyError as error:
            raise InputError(f"{path} does not follow the specification of The Well: {error}.") from error
    return FieldArrays(Grids({"grid": grid}), fields, "grid", times if len(times) > 1 else None, parameters, f"The Well: {name}.")


def write_well(
    dataset: Dataset, path: str | os.PathLike, name: str, boundary: str = "OPEN", parameters: Mapping[str, float] | None = None
) -> None:
    """Write all samples of a data set on one grid to a file.

    Fields with as many channels as the grid has axes become vectors, those with one become scalars, any others one scalar a channel.

    Args:
        name: of the data set.
        boundary: what axes that are not periodic end in, ``"WALL"`` or ``"OPEN"``.
        parameters: numbers that are the same for all samples; those that vary are taken from the data set.

    Raises:
        InputError: the fields are not all on one grid, or the boundary is none of The Well's.
        FileError: the disk has no room.
    """
    grids = dataset.discretization
    if not isinstance(grids, Grids) or len(set(dataset.spaces.values())) != 1:
        raise InputError("The Well holds fields on one uniform grid; this data set's are on finite elements or on several grids.")
    if boundary not in ("WALL", "OPEN"):
        raise InputError(f'A boundary of The Well is "WALL" or "OPEN" where it is not periodic, not {boundary!r}.')
    grid = grids[next(iter(dataset.spaces.values()))]
    dims = list("xyz"[: grid.dim])
    parameters = dict(parameters or {})
    _require_room(path, dataset)
    with atomic(path) as partial, h5py.File(partial, "w") as opened_file:
        file: Any = opened_file
        file.attrs.update(
            dataset_name=name,
            grid_type="cartesian",
            n_spatial_dims=grid.dim,
            n_trajectories=len(dataset),
            simulation_parameters=list(parameters),
            **parameters,
        )
        times = np.zeros(1) if dataset.times is None else dataset.times
        _dataset(file, "dimensions/time", times.astype(np.float32), sample_varying=False, time_varying=True)
        file["dimensions"].attrs["spatial_dims"] = dims
        for dim, x, wraps in zip(dims, grid.axes(), grid.periodic, strict=True):
            _dataset(file, f"dimensions/{dim}", x.numpy(), sample_varying=False, time_varying=False)
            _write_boundary(file, dim, len(x), "PERIODIC" if wraps else boundary)
        _write_scalars(file, parameters, dataset.parameters)
        _write_fields(file, dataset, dims)


def _array(path: Path, name: str, values: Any, order: int, samples: int, frames: int, shape: tuple[int, ...]) -> LazyArray:
    """A field ``(sample, [time,] channel, x[, y[, z]])`` that is read from the file in pieces, and spread along axes it lacks."""
    of_sample, of_time = bool(values.attrs["sample_varying"]), bool(values.attrs["time_varying"])
    along = [bool(varies) for varies in values.attrs["dim_varying"]]
    dim, channels = len(shape), len(shape) ** order
    moves = of_time and frames > 1

    def read(rows: slice) -> np.ndarray:
        count = len(range(samples)[rows])
        with opened(path) as file:
            part = file[name][rows] if of_sample else file[name][()][None]
        part = part if of_time else part[:, None]
        for axis, varies in enumerate(along):
            part = part if varies else np.expand_dims(part, 2 + axis)
        part = np.broadcast_to(part, (count, part.shape[1], *shape, *part.shape[2 + dim :]))
        part = np.moveaxis(part.reshape(*part.shape[: 2 + dim], channels), -1, 2)
        return part if moves else part[:, 0]

    return LazyArray((samples, *((frames,) if moves else ()), channels, *shape), read)


def _require_room(path: str | os.PathLike, dataset: Dataset) -> None:
    """Refuse a disk without room before HDF5 meets its end, which it does not survive."""
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    needed = 4 * len(dataset) * sum(values[0].numel() for values in dataset.batch(range(1)).values())
    if (free := shutil.disk_usage(folder).free) < 1.01 * needed + 1e5:
        raise FileError(f"{path} needs {needed / 1e9:.3g} GB, but the disk has {free / 1e9:.3g} GB left. Choose another folder.")


def _is_periodic(boundary: Any) -> bool:
    return str(boundary.attrs["bc_type"]).upper() == "PERIODIC"


def _write_boundary(file: Any, dim: str, points: int, kind: str) -> None:
    group = file.create_group(f"boundary_conditions/{dim}_{kind.lower()}")
    none: list[str] = []
    group.attrs.update(associated_dims=[dim], associated_fields=none, bc_type=kind, sample_varying=False, time_varying=False)
    mask = np.zeros(points, dtype=bool)
    mask[[0, -1]] = True
    group["mask"] = mask


def _write_scalars(file: Any, constant: Mapping[str, float], varying: Mapping[str, np.ndarray]) -> None:
    for name, value in constant.items():
        _dataset(file, f"scalars/{name}", np.float32(value), sample_varying=False, time_varying=False)
    for name, values in varying.items():
        _dataset(file, f"scalars/{name}", values.astype(np.float32), sample_varying=True, time_varying=False)
    file.require_group("scalars").attrs["field_names"] = [*constant, *varying]


def _write_fields(file: Any, dataset: Dataset, dims: list[str]) -> None:
    for order in range(3):
        file.create_group(f"t{order}_fields")
    for first in range(0, len(dataset), _BATCH):
        rows = slice(first, min(first + _BATCH, len(dataset)))
        for name, tensor in dataset.batch(rows).items():
            moves = name in dataset.trajectories
            values = tensor.cpu().numpy().astype(np.float32)
            channels = values.shape[1 + moves]
            if channels == len(dims) > 1:
                parts = {f"t1_fields/{name}": np.moveaxis(values, 1 + moves, -1)}
            else:
                single = [name] if channels == 1 else [f"{name}_{i}" for i in range(channels)]
                parts = {f"t0_fields/{part}": values.take(i, 1 + moves) for i, part in enumerate(single)}
            for target, part in parts.items():
                if target not in file:
                    stored = file.create_dataset(target, (len(dataset), *part.shape[1:]), np.float32)
                    stored.attrs.update(dim_varying=[True] * len(dims), sample_varying=True, time_varying=moves)
                file[target][rows] = part
    for order in range(3):
        file[f"t{order}_fields"].attrs["field_names"] = list(file[f"t{order}_fields"])


def _dataset(file: Any, name: str, values: Any, **attributes: bool) -> None:
    file[name] = values
    file[name].attrs.update(attributes)
