"""A mesh as a file holds it: points, cells and tagged facets in plain arrays; from meshio, and to gmsh's format."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import meshio
import numpy as np

from ..errors import InputError

#: The cells a mesh can be made of, and their facets, by meshio's names.
FACET_TYPES = {"triangle": "line", "quad": "line", "tetra": "triangle", "hexahedron": "quad"}

_DIMENSION = {"vertex": 0, "line": 1, "triangle": 2, "quad": 2, "tetra": 3, "hexahedron": 3}

#: Cell data that hold tags in the formats meshio reads; taken before any other integers of the file.
_TAG_DATA = ("gmsh:physical", "medit:ref", "cell_tags", "nastran:ref", "netgen:index", "su2:tag", "tetgen:ref", "avsucd:material")


@dataclass(frozen=True)
class MeshArrays:
    """``points (n, 2 or 3)``, ``cells (m, k)`` with their ``regions (m,)``, tagged ``facets (f, l)`` with their ``markers (f,)``.

    Cells are numbered as VTK and gmsh do; ``cell_type`` is meshio's name. ``blocks (m,)`` says which cells the file keeps
    together. Facets without a tag are left out; cells without one have region 0.
    """

    points: np.ndarray
    cells: np.ndarray
    cell_type: str
    blocks: np.ndarray
    regions: np.ndarray
    facets: np.ndarray
    markers: np.ndarray
    boundary_names: dict[str, int]
    region_names: dict[str, int]

    @property
    def topological_dimension(self) -> int:
        return _DIMENSION[self.cell_type]


def from_meshio(mesh: meshio.Mesh, tags: str | None, origin: str) -> MeshArrays:
    """The cells of the highest dimension, their tagged facets, and the names of the tags.

    Raises:
        InputError: there are no such cells, cells of several kinds, curved cells, or no tags called ``tags``.
    """
    cell_type = _cell_type(mesh, origin)
    dim = _DIMENSION[cell_type]
    data, names = _tags(mesh, tags, origin, dim)
    width = 2 if dim == 2 and np.allclose(mesh.points[:, 2:], mesh.points[:1, 2:]) else 3
    cells, regions, blocks = _gathered(mesh, cell_type, data)
    facets, markers, _ = _gathered(mesh, FACET_TYPES[cell_type], data)
    if (markers < 0).any() or (regions < 0).any():
        raise InputError(f"{origin} has negative tags; Firedrake needs positive ones. Number the boundary parts from 1.")
    return MeshArrays(
        points=np.asarray(mesh.points, dtype=np.float64)[:, :width],
        cells=cells,
        cell_type=cell_type,
        blocks=blocks,
        regions=regions,
        facets=facets[markers > 0],
        markers=markers[markers > 0],
        boundary_names={name: tag for name, (tag, d) in names.items() if d == dim - 1 and tag in markers},
        region_names={name: tag for name, (tag, d) in names.items() if d == dim and tag in regions},
    )


def write_gmsh(path: Path, mesh: MeshArrays) -> None:
    """Write a gmsh file (MSH 2.2, binary) with the mesh's tags and names as physical groups."""
    points = np.zeros((len(mesh.points), 3))
    points[:, : mesh.points.shape[1]] = mesh.points
    tags = [mesh.markers.astype(np.int32), mesh.regions.astype(np.int32)]
    dim = mesh.topological_dimension
    names = {name: np.array([tag, dim - 1]) for name, tag in mesh.boundary_names.items()}
    names.update({name: np.array([tag, dim]) for name, tag in mesh.region_names.items() if name not in names})
    blocks = [(FACET_TYPES[mesh.cell_type], mesh.facets), (mesh.cell_type, mesh.cells)]
    kept = [i for i, (_, cells) in enumerate(blocks) if len(cells)]
    gmsh = meshio.Mesh(
        points,
        [blocks[i] for i in kept],
        cell_data={key: [tags[i] for i in kept] for key in ("gmsh:physical", "gmsh:geometrical")},
        field_data=names,
    )
    meshio.gmsh.write(str(path), gmsh, fmt_version="2.2", binary=True)


def _cell_type(mesh: meshio.Mesh, origin: str) -> str:
    types = {block.type for block in mesh.cells if len(block)}
    unknown = sorted(types - set(_DIMENSION))
    if unknown:
        raise InputError(
            f"{origin} has cells of type {', '.join(unknown)}. Use straight triangles, quadrilaterals, tetrahedra or hexahedra: "
            "in gmsh set Mesh.ElementOrder = 1, and recombine nothing or everything."
        )
    dim = max((_DIMENSION[t] for t in types), default=0)
    top = sorted(t for t in types if _DIMENSION[t] == dim)
    if dim < 2:
        raise InputError(
            f"{origin} has no 2D or 3D cells (it has {', '.join(sorted(types)) or 'none at all'}). Save the "
            "surface or volume too: in gmsh, give it a physical group as well."
        )
    if len(top) > 1:
        raise InputError(
            f"{origin} mixes {' and '.join(top)} cells; a mesh must have cells of one kind. In gmsh, recombine "
            "nothing or everything."
        )
    return top[0]


def _tags(mesh: meshio.Mesh, tags: str | None, origin: str, dim: int) -> tuple[list[np.ndarray], dict[str, tuple[int, int]]]:
    """One integer array a cell block, and ``name: (tag, dimension)``."""
    integers = [key for key, blocks in mesh.cell_data.items() if all(_is_integer(block) for block in blocks)]
    if tags is not None and tags not in integers:
        raise InputError(f"{origin} has no integer cell data {tags!r}; it has {', '.join(map(repr, integers)) or 'none'}.")
    known = [key for key in _TAG_DATA if key in integers]
    if tags is None and not known and mesh.cell_sets:
        return _from_cell_sets(mesh, origin, dim)
    if tags is None and not known and len(integers) > 1:
        raise InputError(
            f"{origin} has several integer cell data ({', '.join(map(repr, integers))}); say which holds the tags: "
            f"read_mesh(..., tags={integers[0]!r})."
        )
    key = tags or next(iter(known + integers), None)
    if key is None:
        return [np.zeros(len(block), dtype=np.int64) for block in mesh.cells], {}
    data = [np.asarray(block).reshape(-1).astype(np.int64) for block in mesh.cell_data[key]]
    if families := getattr(mesh, "cell_tags", None):
        return _from_families(mesh, data, families)
    return data, {name: (int(tag), int(d)) for name, (tag, d) in mesh.field_data.items()}


def _from_cell_sets(mesh: meshio.Mesh, origin: str, dim: int) -> tuple[list[np.ndarray], dict[str, tuple[int, int]]]:
    data = [np.zeros(len(block), dtype=np.int64) for block in mesh.cells]
    names = {}
    for tag, (name, members) in enumerate(mesh.cell_sets.items(), start=1):
        for block, array, members_here in zip(mesh.cells, data, members, strict=True):
            chosen = np.asarray([] if members_here is None else members_here, dtype=np.int64)
            if not len(chosen) or _DIMENSION[block.type] < dim - 1:
                continue
            if array[chosen].any():
                raise InputError(
                    f"{origin}: the set {name!r} shares {block.type} cells with another set; a cell or facet can carry one name."
                )
            array[chosen] = tag
            names[name] = (tag, _DIMENSION[block.type])
    return data, names


def _from_families(
    mesh: meshio.Mesh, data: list[np.ndarray], families: dict[int, list[str]]
) -> tuple[list[np.ndarray], dict[str, tuple[int, int]]]:
    """MED files number families of groups, cells' by negative numbers; a family of several groups is named by them all."""
    names = {}
    for block, array in zip(mesh.cells, data, strict=True):
        found = [int(tag) for tag in np.unique(array) if tag in families]
        names.update({" and ".join(families[tag]): (abs(tag), _DIMENSION[block.type]) for tag in found})
    return [np.abs(array) for array in data], names


def _is_integer(block: Any) -> bool:
    values = np.asarray(block)
    return np.issubdtype(values.dtype, np.integer) and values.size == len(values)


def _gathered(mesh: meshio.Mesh, cell_type: str, tags: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of one type from all blocks, with their tags and block numbers."""
    width = {"line": 2, "triangle": 3, "quad": 4, "tetra": 4, "hexahedron": 8}[cell_type]
    found = [(block.data, tag, i) for i, (block, tag) in enumerate(zip(mesh.cells, tags, strict=True)) if block.type == cell_type]
    cells = np.concatenate([np.zeros((0, width), dtype=np.int64)] + [np.asarray(c, dtype=np.int64) for c, _, _ in found])
    markers = np.concatenate([np.zeros(0, dtype=np.int64)] + [tag for _, tag, _ in found])
    blocks = np.repeat([i for _, _, i in found], [len(c) for c, _, _ in found]).astype(np.int64)
    return cells, markers, blocks
