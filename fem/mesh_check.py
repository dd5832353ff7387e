"""Whether points and cells make a mesh that finite elements can live on: no stray points, no inverted or overlapping cells.

Cells are numbered as VTK and gmsh do. The names of the cell types are meshio's.
"""

import numpy as np

from ..errors import InputError
from .mesh_arrays import MeshArrays

#: Facets of each cell type, by local vertex.
FACETS = {
    "triangle": np.array([[0, 1], [1, 2], [2, 0]]),
    "quad": np.array([[0, 1], [1, 2], [2, 3], [3, 0]]),
    "tetra": np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]),
    "hexahedron": np.array([[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]),
}

#: For each corner of a cell the neighbours whose edges span the Jacobian there, in right-handed order.
_CORNERS = {
    "triangle": np.array([[1, 2]]),
    "quad": np.array([[1, 3], [2, 0], [3, 1], [0, 2]]),
    "tetra": np.array([[1, 2, 3]]),
    "hexahedron": np.array([[1, 3, 4], [2, 0, 5], [3, 1, 6], [0, 2, 7], [7, 5, 0], [4, 6, 1], [5, 7, 2], [6, 4, 3]]),
}

_FAR = 1e50  # no mesh reaches so far, and determinants would overflow
_FLAT = 1e-10  # a corner whose Jacobian is below this fraction of the product of its edges has no volume


def check_mesh(mesh: MeshArrays, origin: str) -> None:
    """Refuse a mesh on which a discretization would be wrong. ``origin`` names the mesh in the messages.

    Raises:
        InputError: points that belong to no cell, inverted, flat or overlapping cells, tagged facets that are no cell's, or a
            facet with two tags.
    """
    _check_points(mesh, origin)
    if mesh.points.shape[1] == mesh.topological_dimension:
        _check_orientation(mesh, origin)
    _check_facets(mesh, origin)


def _check_points(mesh: MeshArrays, origin: str) -> None:
    if not (np.abs(mesh.points) < _FAR).all():
        raise InputError(f"{origin} has points whose coordinates are not finite, or beyond {_FAR:g}. Export the mesh again.")
    used = np.zeros(len(mesh.points), dtype=bool)
    used[mesh.cells] = True
    if not used.all():
        raise InputError(
            f"{origin} has dangling nodes: {_listed(~used, mesh.points)} belong to no {mesh.cell_type}. Remove them and export "
            "the mesh again; in gmsh, save physical groups only (Mesh.SaveAll = 0) and give none to loose points."
        )


def _check_orientation(mesh: MeshArrays, origin: str) -> None:
    corners = np.arange(len(_CORNERS[mesh.cell_type]))
    vertices = mesh.points[mesh.cells]
    edges = vertices[:, _CORNERS[mesh.cell_type]] - vertices[:, corners, None]
    jacobians = np.linalg.det(edges)
    flat = np.abs(jacobians) <= _FLAT * np.linalg.norm(edges, axis=-1).prod(-1)
    signs = np.sign(jacobians)
    # A file may number one block clockwise throughout: only a cell that disagrees with its block is inverted.
    _, block = np.unique(mesh.blocks, return_inverse=True)
    majority = np.where(np.bincount(block, weights=signs[:, 0]) < 0, -1, 1)
    wrong = (flat | (signs != majority[block][:, None])).any(1)
    if wrong.any():
        raise InputError(
            f"{origin} has inverted or flat cells: {_listed(wrong, vertices.mean(1))} have a Jacobian that vanishes or differs "
            "in sign from the other cells'. Repair the geometry or the numbering of these cells, and export the mesh again."
        )


def _check_facets(mesh: MeshArrays, origin: str) -> None:
    local = FACETS[mesh.cell_type]
    corners = mesh.cells[:, local].reshape(-1, local.shape[1])
    faces, face, count = np.unique(np.sort(corners, axis=1), axis=0, return_inverse=True, return_counts=True)
    face = face.reshape(-1)
    if (count > 2).any():
        raise InputError(
            f"{origin} has facets that belong to more than two cells: {_listed(count > 2, mesh.points[faces].mean(1))}. Cells are "
            "repeated or overlap. Remove the duplicates and export the mesh again."
        )
    if mesh.points.shape[1] == mesh.topological_dimension:
        _check_overlap(mesh, origin, faces, face, count)
    if not len(mesh.facets):
        return
    tagged, which, times = np.unique(np.sort(mesh.facets, axis=1), axis=0, return_inverse=True, return_counts=True)
    known = np.unique(np.concatenate([faces, tagged]), axis=0)
    if len(known) > len(faces):
        raise InputError(
            f"{origin} tags {len(known) - len(faces)} facets that belong to no cell. Export the tags from the "
            "same mesh as the cells."
        )
    lowest = np.full(len(tagged), np.iinfo(np.int64).max)
    np.minimum.at(lowest, which.reshape(-1), mesh.markers)
    if (mesh.markers != lowest[which.reshape(-1)]).any():
        raise InputError(
            f"{origin} gives {int((times > 1).sum())} facets more than one tag; a facet can carry one. "
            "Give the shared part a name of its own."
        )


def _check_overlap(mesh: MeshArrays, origin: str, faces: np.ndarray, face: np.ndarray, count: np.ndarray) -> None:
    """Two cells that share a facet must lie on opposite sides of it."""
    centres = mesh.points[mesh.cells].mean(1).repeat(len(FACETS[mesh.cell_type]), axis=0)
    base = mesh.points[faces]
    if mesh.topological_dimension == 2:
        tangent = base[:, 1] - base[:, 0]
        normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    else:
        normal = np.cross(base[:, 1] - base[:, 0], base[:, 2] - base[:, 0])
    side = np.sign(((centres - base.mean(1)[face]) * normal[face]).sum(1))
    folded = (count == 2) & (np.abs(np.bincount(face, weights=side)) > 1)
    if folded.any():
        raise InputError(
            f"{origin} is folded: at facets {_listed(folded, base.mean(1))} two neighbouring cells lie on the same "
            "side of their common facet. Repair the geometry and mesh it again."
        )


def _listed(wrong: np.ndarray, points: np.ndarray) -> str:
    """``3 (from 0: 4, 8, 9; the first at (0.2, 0.5))``: enough to find the culprits in a viewer."""
    which = np.flatnonzero(wrong)
    shown = ", ".join(str(i) for i in which[:5]) + (", ..." if len(which) > 5 else "")
    place = ", ".join(f"{x:.4g}" for x in points[which[0]])
    return f"{len(which)} (from 0: {shown}; the first at ({place}))"
