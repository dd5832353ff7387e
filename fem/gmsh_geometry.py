"""Meshes made by gmsh, from a geometry built in Python or from a .geo file; gmsh is needed for these alone."""

import os
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import FileError, InputError, MissingPackageError
from .mesh_file import read_checked


def gmsh_mesh(geometry: Callable[[Any], None] | str | os.PathLike, size: float | None = None, comm: Any = None) -> Any:
    """Mesh a geometry with gmsh; its physical groups become named boundary parts and regions, as for :func:`read_mesh`.

    Args:
        geometry: a function that builds the geometry and its physical groups in the module ``gmsh`` it is given, as in ``def
            plate(gmsh): gmsh.model.occ.addDisk(...)``; or the path of a ``.geo`` file.
        size: the largest edge of a cell; by default what the geometry says.
        comm: the MPI communicator of the mesh; :func:`communicator` by default.

    Raises:
        MissingPackageError: gmsh is not installed.
        FileError: the ``.geo`` file does not exist.
        InputError: gmsh cannot mesh the geometry, it names boundaries but no region, or the mesh is one that :func:`read_mesh` refuses.
    """
    if size is not None and not size > 0:
        raise InputError(f"The size of the cells must be positive, not {size}.")
    if not callable(geometry) and not Path(geometry).is_file():
        raise FileError(f"The geometry {geometry} does not exist. Correct the path.")
    gmsh = _gmsh()
    origin = f"gmsh's mesh of {getattr(geometry, '__name__', 'the geometry') if callable(geometry) else geometry}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.msh"
        already = bool(gmsh.isInitialized())
        if not already:
            gmsh.initialize(readConfigFiles=False, interruptible=False)
        try:
            _generate(gmsh, geometry, size, path, origin)
        finally:
            # A session of the caller's keeps its own models.
            gmsh.model.remove() if already else gmsh.finalize()
        return read_checked(path, origin, comm=comm)


def _gmsh() -> ModuleType:
    try:
        return import_module("gmsh")
    # gmsh looks for the libraries of its window system when it is imported, with or without a window.
    except (ImportError, OSError) as error:
        raise MissingPackageError(
            f"Meshing a geometry needs gmsh, which cannot be imported ({error}). Install it with `pip install gmsh`, on Debian with "
            "`apt install libglu1-mesa libxrender1 libxcursor1 libxft2 libxinerama1` as well; or mesh the geometry elsewhere, and read "
            "the .msh file with read_mesh."
        ) from error


def _generate(
    gmsh: Any, geometry: Callable[[Any], None] | str | os.PathLike, size: float | None, path: Path, origin: str
) -> None:
    gmsh.option.setNumber("General.Terminal", 0)
    if callable(geometry):
        gmsh.model.add("geometry")
        # What goes wrong in here is the caller's own and reaches the caller as it is.
        geometry(gmsh)
    options = {"Mesh.MshFileVersion": 4.1, "Mesh.Binary": 0, "Mesh.SaveAll": 0}
    if size is not None:
        options["Mesh.MeshSizeMax"] = size
    try:
        if not callable(geometry):
            gmsh.open(str(geometry))
        dim = gmsh.model.getDimension()
        for option, value in options.items():
            gmsh.option.setNumber(option, value)
        gmsh.model.mesh.generate(dim)
        groups, regions = gmsh.model.getPhysicalGroups(), gmsh.model.getPhysicalGroups(dim)
        gmsh.write(str(path))
    # gmsh raises bare exceptions.
    except Exception as error:
        raise InputError(f"{origin}: gmsh failed ({error}). Check the geometry in gmsh's own window.") from error
    if groups and not regions:
        raise InputError(
            f"{origin} names boundary parts but no region, so gmsh leaves the cells out. Add a physical group of dimension "
            f'{dim}, as in gmsh.model.addPhysicalGroup({dim}, [...], name="domain").'
        )
