"""From coordinates in a file to a uniform grid."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...errors import FileError, InputError
from ...fem.uniform_grid import Grid

# Coordinates are often stored in single precision, so lengths are taken to six digits.
_UNIFORM = 1e-3  # of the spacing


def grid_of(axes: Sequence[np.ndarray], periodic: Sequence[bool], origin: str) -> Grid:
    """The grid with these coordinates, moved to the origin.

    Points half a spacing inside a multiple of it are the centres of cells; others are vertices.

    Raises:
        InputError: an axis is not uniform.
    """
    spacings, halves = [], []
    for name, x in zip("xyz", axes, strict=False):
        steps = np.diff(np.asarray(x, dtype=np.float64))
        if len(steps) < 1 or steps.mean() <= 0 or abs(steps - steps.mean()).max() > _UNIFORM * steps.mean():
            raise InputError(f"The {name} coordinates in {origin} are not uniform and increasing; only uniform grids are read.")
        spacings.append(float(steps.mean()))
        halves.append(abs((float(x[0]) / spacings[-1]) % 1 - 0.5) < 0.01)
    centred = all(halves)
    lengths = [
        float(f"{h * (len(x) if centred or wraps else len(x) - 1):.6g}")
        for h, x, wraps in zip(spacings, axes, periodic, strict=True)
    ]
    return Grid(tuple(map(len, axes)), tuple(lengths), tuple(periodic), "centre" if centred else "vertex")


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
    """A foreign HDF5 file, with errors that say what is wrong with it.

    Raises:
        FileError: it is missing, truncated or not HDF5.
    """
    if not Path(path).is_file():
        raise FileError(f"The file {path} does not exist. Correct the path.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileError(f"{path} cannot be read: it is truncated or not an HDF5 file ({error}). Download it again.") from error
    with file:
        yield file
