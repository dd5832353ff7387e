"""Predictions as files: VTU for fields on a mesh, PVD with its VTU files for trajectories, HDF5 for anything."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ..errors import InputError
from ..fem import Space
from ..hdf5 import writing_hdf5
from ..visualization import write_pvd, write_vtu
from ..visualization.panel import Where

log = logging.getLogger("thalweg")


def write_prediction(
    output: str | None,
    folder: Path,
    where: Mapping[str, Where],
    fields: Mapping[str, Tensor],
    times: Sequence[float] | np.ndarray | None,
) -> Path:
    """Write fields, one frame or a trajectory each; returns the file.

    Args:
        output: the file, whose suffix decides the format; by default ``prediction`` with the suffix that fits, in the run's folder.
        where: the space or the grid of each field.
        times: of the frames of trajectories.

    Raises:
        InputError: the format does not suit the fields.
        FileError: the file cannot be written.
    """
    moving = {name for name, values in fields.items() if values.ndim > _axes(where[name])}
    on_meshes = all(isinstance(place, Space) for place in where.values())
    path = Path(output) if output else folder / f"prediction.{'h5' if not on_meshes else 'pvd' if moving else 'vtu'}"
    if path.suffix in (".h5", ".hdf5"):
        _write_hdf5(path, fields, times if moving else None)
        return path
    if not on_meshes or path.suffix != (".pvd" if moving else ".vtu"):
        kind = "on a grid" if not on_meshes else "in time" if moving else "on a mesh"
        raise InputError(
            f"Fields {kind} cannot be written to {path.name!r}: name a .vtu for a mesh, a .pvd in time, or an .h5 file."
        )
    spaces = {name: place for name, place in where.items() if isinstance(place, Space)}
    first = next(reversed(spaces.values()))
    shown = {name: (space, fields[name].cpu()) for name, space in spaces.items() if space.mesh is first.mesh}
    if left_out := sorted(set(fields) - set(shown)):
        log.info("on another mesh, and not in %s: %s", path, ", ".join(left_out))
    if not moving or times is None:
        write_vtu(path, first, shown)
        return path
    steps = len(times)
    series = {name: (space, values if name in moving else values.expand(steps, -1)) for name, (space, values) in shown.items()}
    write_pvd(path, first, {name: (space, values[-steps:]) for name, (space, values) in series.items()}, times)
    return path


def _axes(place: Where) -> int:
    """Axes of one frame."""
    return 1 if isinstance(place, Space) else place.dim + 1


def _write_hdf5(path: Path, fields: Mapping[str, Tensor], times: Sequence[float] | np.ndarray | None) -> None:
    with writing_hdf5(path) as file:
        for name, values in fields.items():
            file[f"fields/{name}"] = values.cpu().numpy()
        if times is not None:
            file["times"] = np.asarray(times, dtype=np.float64)
