"""Meshes from files, as Firedrake meshes whose boundary parts keep their names; and hierarchies of them.

A gmsh file goes to Firedrake as it is. Everything else that meshio reads is written as a gmsh file first.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import meshio

from ..errors import FileError, InputError
from .firedrake import firedrake
from .mesh_arrays import MeshArrays, from_meshio, write_gmsh
from .mesh_check import check_mesh

_SECTION = re.compile(rb"\$[A-Za-z]+\s*$")  # a line that opens or closes a section of a gmsh file


def read_mesh(path: str | os.PathLike, tags: str | None = None, comm: Any = None) -> Any:
    """Read a mesh of triangles, quadrilaterals, tetrahedra or hexahedra as a Firedrake mesh.

    The names of boundary parts and regions are kept: ``mesh.boundary_names`` and ``mesh.region_names`` map them to the integers
    by which Firedrake knows them, as in ``ds(mesh.boundary_names["hole"])``; in an exported space they are the tags.

    Args:
        path: a gmsh ``.msh`` file, whose physical groups are the tags; or a file of any format that meshio reads (``.vtu``,
            ``.vtk``, ``.xdmf``, ``.inp``, ``.mesh``, ...) with facets among its cells and, as tags, named cell sets or integer
            cell data, where 0 is none.
        tags: the cell data that holds the tags, where a file has several.
        comm: the MPI communicator; the world by default.

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
    if path.suffix.lower() == ".msh":
        return _to_firedrake(path, arrays, origin, comm)
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "mesh.msh"
        write_gmsh(converted, arrays)
        return _to_firedrake(converted, arrays, origin, comm)


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


def _to_firedrake(path: Path, arrays: MeshArrays, origin: str, comm: Any) -> Any:
    fd = firedrake()
    try:
        mesh = fd.Mesh(str(path), dim=arrays.points.shape[1], comm=comm or fd.COMM_WORLD)
    # PETSc and Firedrake raise what they like for a file they cannot use; to the user it is one error.
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise FileError(f"Firedrake cannot read the mesh {origin} ({error}). Save it again.") from error
    _name_parts(mesh, arrays.boundary_names, arrays.region_names)
    return mesh


def _parse(path: Path, origin: str) -> meshio.Mesh:
    formats = ["gmsh"] if path.suffix.lower() == ".msh" else meshio.extension_to_filetypes.get(path.suffix.lower(), [])
    if not formats:
        known = ", ".join(sorted(meshio.extension_to_filetypes))
        raise FileError(f"The format of the mesh {origin} is unknown; the suffix must be one of {known}.")
    if formats == ["gmsh"]:
        _check_sections(path, origin)
    try:
        return getattr(meshio, formats[0].replace("-", "_")).read(str(path))
    except MemoryError:
        raise
    # The readers of fifty formats fail on a damaged file with whatever error their parser happens to meet.
    except Exception as error:
        raise FileError(f"The mesh {origin} cannot be read as {formats[0]}: it is truncated, damaged or of another format "
                        f"({type(error).__name__}: {error}). Export it again.") from error


def _check_sections(path: Path, origin: str) -> None:
    """Refuse a gmsh file that was cut off or lost lines: PETSc aborts on one."""
    lines = path.read_bytes().split(b"\n")
    marks = [i for i, line in enumerate(lines) if _SECTION.match(line)]
    if not marks or lines[marks[0]].strip() != b"$MeshFormat":
        raise FileError(f"{origin} is not a gmsh file: it does not start with $MeshFormat. Correct the suffix, or export it again.")
    sections = {}
    for start, end in zip(marks[::2], marks[1::2] + [0] * (len(marks) % 2), strict=True):
        name = lines[start].strip().decode()[1:]
        if lines[end].strip() != f"$End{name}".encode():
            raise FileError(f"The mesh {origin} is truncated: its section ${name} is not closed. Export it again.")
        sections[name] = lines[start + 1 : end]
    if missing := {"Nodes", "Elements"} - set(sections):
        raise FileError(f"The mesh {origin} is truncated: it has no ${' and no $'.join(sorted(missing))}. Export it again.")
    version, binary = sections["MeshFormat"][0].split()[:2]
    if version not in (b"2.2", b"4.1"):
        raise FileError(f"{origin} is in gmsh's format {version.decode()}; only 2.2 and 4.1 are read. Use -format msh41.")
    if binary == b"0":
        for name in ("Nodes", "Elements"):
            _check_length(origin, name, sections[name], version)


def _check_length(origin: str, name: str, lines: list[bytes], version: bytes) -> None:
    """A text section must have as many lines as its first one announces: entries, and in format 4.1 the heads of its blocks."""
    head = [int(word) if word.isdigit() else 0 for word in lines[0].split()] if lines else []
    blocks, entries = head[:2] if len(head) > 1 else [0, *head, 0][:2]
    # Format 4.1 lists the numbers of a block's nodes before their coordinates.
    lines_each = 2 if name == "Nodes" and version == b"4.1" else 1
    if len(lines) != 1 + blocks + lines_each * entries:
        raise FileError(f"The mesh {origin} is damaged: its section ${name} announces {entries} entries, "
                        f"but its {len(lines)} lines cannot hold just these. Export it again.")
