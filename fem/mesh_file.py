"""Meshes from files, as Firedrake meshes whose boundary parts keep their names; and hierarchies of them.

gmsh's text files are read here, all others by meshio; what comes out is checked before Firedrake sees it.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import meshio

from ..errors import FileError, InputError
from .communicator import communicator
from .firedrake import firedrake
from .gmsh_file import is_binary, read_gmsh
from .mesh_arrays import from_meshio, write_gmsh
from .mesh_check import check_mesh


def read_mesh(path: str | os.PathLike, tags: str | None = None, comm: Any = None) -> Any:
    """Read a mesh of triangles, quadrilaterals, tetrahedra or hexahedra as a Firedrake mesh.

    The names of boundary parts and regions are kept: ``mesh.boundary_names`` and ``mesh.region_names`` map them to the integers
    by which Firedrake knows them, as in ``ds(mesh.boundary_names["hole"])``; in an exported space they are the tags.

    Args:
        path: a gmsh ``.msh`` file, whose physical groups are the tags; or a file of any format that meshio reads (``.vtu``,
            ``.vtk``, ``.xdmf``, ``.inp``, ``.mesh``, ...) with facets among its cells and, as tags, named cell sets or integer
            cell data, where 0 is none.
        tags: the cell data that holds the tags, where a file has several.
        comm: the MPI communicator; :func:`communicator` by default.

    Raises:
        FileError: the file is missing, truncated, or of an unknown format.
        InputError: it holds no such cells, or cells of several kinds; or dangling nodes, inverted or overlapping cells.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"The mesh {path} does not exist. Correct the path, or make the mesh first.")
    return read_checked(path, str(path), tags, comm)


def read_checked(path: Path, origin: str, tags: str | None = None, comm: Any = None) -> Any:
    """:func:`read_mesh` for a file that exists; the messages speak of ``origin``."""
    arrays = from_meshio(_parse(path, origin), tags, origin)
    check_mesh(arrays, origin)
    # PETSc aborts on files that it does not understand: it sees only what has been checked, in the format it knows best.
    with tempfile.TemporaryDirectory() as folder:
        checked = Path(folder) / "mesh.msh"
        write_gmsh(checked, arrays)
        fd = firedrake()
        mesh = fd.Mesh(str(checked), dim=arrays.points.shape[1], comm=comm or communicator())
    _name_parts(mesh, arrays.boundary_names, arrays.region_names)
    return mesh


def mesh_hierarchy(mesh: Any, refinements: int) -> list[Any]:
    """The mesh and its uniform refinements, coarse to fine; each level keeps the names of the boundary parts.

    Raises:
        InputError: ``refinements`` is negative.
    """
    if refinements < 0:
        raise InputError(f"A mesh cannot be refined {refinements} times; the number of refinements must be 0 or more.")
    levels = list(firedrake().MeshHierarchy(mesh, refinements))
    for level in levels:
        _name_parts(level, getattr(mesh, "boundary_names", {}), getattr(mesh, "region_names", {}))
    return levels


def _name_parts(mesh: Any, boundary_names: dict[str, int], region_names: dict[str, int]) -> None:
    mesh.boundary_names, mesh.region_names = dict(boundary_names), dict(region_names)


def _parse(path: Path, origin: str) -> meshio.Mesh:
    formats = ["gmsh"] if path.suffix.lower() == ".msh" else meshio.extension_to_filetypes.get(path.suffix.lower(), [])
    if not formats:
        known = ", ".join(sorted(meshio.extension_to_filetypes))
        raise FileError(f"The format of the mesh {origin} is unknown; the suffix must be one of {known}.")
    if formats == ["gmsh"] and not is_binary(path):
        return read_gmsh(path, origin)
    try:
        return getattr(meshio, formats[0].replace("-", "_")).read(str(path))
    # The readers of fifty formats fail on a damaged file with whatever error their parser happens to meet.
    except Exception as error:
        raise FileError(
            f"The mesh {origin} cannot be read as {formats[0]}: it is truncated, damaged or of another format "
            f"({type(error).__name__}: {error}). Export it again, as text if it is binary."
        ) from error
