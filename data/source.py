"""Input fields from users: an expression in the coordinates, a number, a VTU file, or a file of a data set."""

import re
from pathlib import Path
from typing import Any

import h5py
import numexpr
import numpy as np
import torch
from torch import Tensor

from ..errors import FileError, InputError
from ..fem import Grid, Space


def read_source(source: str | float, name: str, space: Space | Grid) -> Tensor:
    """The dofs ``(num_dofs,)`` of a field, or on a grid its values ``(channel, x, y[, z])``, in float64.

    Args:
        source: a number; an expression in x, y, z and pi, such as ``"sin(pi*x)*y"``, as numexpr understands it; a ``.vtu`` file with
            point data of this name on the mesh of the space; or an ``.h5`` file with ``/fields/<name>``, of which the first sample is
            taken, or the one in ``"file.h5:7"``.
        name: the field's name, for messages and in files.
        space: the space or the grid the field must live on. Of a vector on a grid an expression gives every channel.

    Raises:
        InputError: the expression is not understood or not finite, or the file's field does not fit the space.
        FileError: the file is missing or damaged.
    """
    text = str(source).strip()
    numbered = re.fullmatch(r"(.*\.(?:h5|hdf5)):(.*)", text)
    path, sample = numbered.groups() if numbered else (text, "0")
    if not sample.isdecimal():
        raise InputError(f"{sample!r} in {text!r} for field {name!r} is no number of a sample; write file.h5:7 for the eighth.")
    if path.endswith(".vtu"):
        if isinstance(space, Grid):
            raise InputError(f"Field {name!r} lives on a uniform grid; a VTU file has a mesh. Give an .h5 file or an expression.")
        return _from_vtu(Path(path), name, space)
    if path.endswith((".h5", ".hdf5")):
        return _from_hdf5(Path(path), name, space, int(sample))
    return _from_expression(text, name, space)


def _from_expression(text: str, name: str, space: Space | Grid) -> Tensor:
    if isinstance(space, Grid):
        points = space.coordinates(torch.float64).flatten(1).T
        return torch.from_numpy(_evaluated(text, name, points.numpy())).reshape(1, *space.shape)
    if not space.element.is_nodal or space.element.value_shape:
        raise InputError(
            f"Field {name!r} lives in {space.element}, where an expression cannot be evaluated dof by dof; give a file."
        )
    return torch.from_numpy(_evaluated(text, name, space.points.double().cpu().numpy()))


def _evaluated(text: str, name: str, points: np.ndarray) -> np.ndarray:
    """An expression at points ``(n, dim)``."""
    variables = dict(zip("xyz", points.T, strict=False)) | {"pi": np.pi}
    try:
        values = numexpr.evaluate(text, local_dict=variables, global_dict={})
    except KeyError as error:
        raise InputError(
            f"The expression {text!r} for field {name!r} uses the unknown name {error}; known are {', '.join(variables)} and "
            "numexpr's functions. For a file, give a path that ends in .vtu or .h5."
        ) from error
    except (ValueError, TypeError, SyntaxError, NotImplementedError, AttributeError) as error:
        raise InputError(
            f"The expression {text!r} for field {name!r} is not understood ({error}). Write it as in Python, for example "
            "10*sin(pi*x)*exp(-y**2)."
        ) from error
    if np.iscomplexobj(values):
        raise InputError(f"The expression {text!r} for field {name!r} has complex values, but fields are real.")
    values = np.broadcast_to(np.asarray(values, dtype=np.float64), len(points))
    if not np.isfinite(values).all():
        raise InputError(
            f"The expression {text!r} for field {name!r} is not finite at {int((~np.isfinite(values)).sum())} of the "
            f"{len(points)} nodes."
        )
    return values.copy()


def _from_vtu(path: Path, name: str, space: Space) -> Tensor:
    from ..visualization import read_vtu_field

    return torch.as_tensor(read_vtu_field(path, name, space), dtype=torch.float64)


def _from_hdf5(path: Path, name: str, space: Space | Grid, sample: int) -> Tensor:
    if not path.is_file():
        raise FileError(f"The file {path} for field {name!r} does not exist.")
    axes = 1 if isinstance(space, Space) else space.dim + 1
    try:
        with h5py.File(path, "r") as opened:
            file: Any = opened  # h5py's annotations do not tell datasets from groups
            if f"fields/{name}" not in file:
                found = ", ".join(file["fields"]) if "fields" in file else "none"
                raise InputError(f"{path} has no /fields/{name}; its fields are: {found}.")
            dataset = file[f"fields/{name}"]
            # A field, (time, ...) or (sample, time, ...): of a trajectory the first frame.
            values = dataset[()] if dataset.ndim == axes else dataset[sample]
            values = values[0] if values.ndim > axes else values
    except (OSError, IndexError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise FileError(f"Field {name!r}, sample {sample}, cannot be read from {path} ({error}).") from error
    if isinstance(space, Grid):
        space.check(torch.from_numpy(values))
    elif values.shape != (space.num_dofs,):
        raise InputError(
            f"Field {name!r} in {path} has {values.shape[-1]} dofs, but space {space.name!r} has {space.num_dofs}: it belongs to "
            "another mesh or element."
        )
    return torch.from_numpy(np.asarray(values, dtype=np.float64))
