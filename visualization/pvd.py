"""Trajectories as series of VTU files with the PVD file that ParaView opens."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from torch import Tensor

from ..errors import InputError
from ..fem import Space
from ..storage import atomic
from .vtu import write_vtu


def write_pvd(
    path: str | os.PathLike,
    space: Space,
    fields: Mapping[str, Tensor | np.ndarray | tuple[Space, Tensor | np.ndarray]],
    times: Sequence[float] | np.ndarray,
) -> None:
    """Write ``name.pvd`` and ``name/name_0000.vtu``, ...: one file a time, cells and points as :func:`write_vtu` has them.

    Args:
        fields: by name, ``(time, num_dofs)``, or a pair of another space on the same mesh and a trajectory of that.
        times: of the frames.

    Raises:
        InputError: lengths differ, the file's name does not end in ``.pvd``, or as for :func:`write_vtu`.
        FileError: a file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".pvd":
        raise InputError(f"A series must be called something.pvd, not {path.name!r}: ParaView goes by the suffix.")
    pairs = {name: field if isinstance(field, tuple) else (space, field) for name, field in fields.items()}
    if wrong := {name: len(values) for name, (_, values) in pairs.items() if len(values) != len(times)}:
        raise InputError(f"Each field needs one frame for each of the {len(times)} times; got {wrong}.")
    root = ElementTree.Element("VTKFile", type="Collection", version="0.1", byte_order="LittleEndian")
    collection = ElementTree.SubElement(root, "Collection")
    for number, time in enumerate(times):
        file = Path(path.stem) / f"{path.stem}_{number:04d}.vtu"
        write_vtu(path.parent / file, space, {name: (where, values[number]) for name, (where, values) in pairs.items()})
        ElementTree.SubElement(collection, "DataSet", timestep=repr(float(time)), part="0", file=file.as_posix())
    ElementTree.indent(root)
    with atomic(path) as partial:
        ElementTree.ElementTree(root).write(partial, xml_declaration=True, encoding="utf-8")
