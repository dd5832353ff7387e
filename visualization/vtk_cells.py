"""How an element's cells become VTK's: which points, in which order.

Elements up to degree 2 become VTK's linear and quadratic cells; those of higher degree become linear cells between their nodes.
Where FIAT and VTK number nodes differently, the permutation is found from reference coordinates.
"""

from dataclasses import dataclass

import numpy as np

from ..fem import Space
from ..fem.mesh import CELL_DIMENSION
from ..fem.reference_cell import basis_at, corner_points, equispaced, positions, reference_nodes, reference_vertices, subcells

_LINEAR = {
    "interval": "line",
    "triangle": "triangle",
    "quadrilateral": "quad",
    "tetrahedron": "tetra",
    "hexahedron": "hexahedron",
}
_QUADRATIC = {
    "interval": "line3",
    "triangle": "triangle6",
    "quadrilateral": "quad9",
    "tetrahedron": "tetra10",
    "hexahedron": "hexahedron27",
}
_SIMPLEX = {1: "line", 2: "triangle", 3: "tetra"}

#: The corners of VTK's cells in the reference cell, and the sets of corners in whose middle the further nodes of the quadratic cells lie.
_CORNERS = {
    "interval": [[0], [1]],
    "triangle": [[0, 0], [1, 0], [0, 1]],
    "quadrilateral": [[0, 0], [1, 0], [1, 1], [0, 1]],
    "tetrahedron": [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "hexahedron": [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]],
}
_RING = [(0, 1), (1, 2), (2, 3), (3, 0)]
_MIDDLES = {
    "interval": [(0, 1)],
    "triangle": [(0, 1), (1, 2), (2, 0)],
    "quadrilateral": [*_RING, (0, 1, 2, 3)],
    "tetrahedron": [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)],
    "hexahedron": [
        *_RING,
        *((a + 4, b + 4) for a, b in _RING),
        *((a, a + 4) for a in range(4)),
        *((0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)),
        tuple(range(8)),
    ],
}


@dataclass(frozen=True)
class VtkCells:
    """``points (n, dim)``, VTK ``cells (m, k)`` of one type, and which points the reference points ``lattice`` of each cell are."""

    points: np.ndarray
    cells: np.ndarray
    cell_type: str
    lattice: np.ndarray
    lattice_points: np.ndarray


def vtk_nodes(cell_type: str, degree: int) -> np.ndarray:
    """Reference coordinates of the nodes of VTK's linear or quadratic cell, in VTK's order: ``(n, tdim)``."""
    corners = np.array(_CORNERS[cell_type], dtype=float)
    if degree == 1:
        return corners
    return np.concatenate([corners, [corners[list(middle)].mean(0) for middle in _MIDDLES[cell_type]]])


def vtk_cells(space: Space, degree: int | None = None, continuous: bool = True) -> VtkCells:
    """VTK cells on which every function of the space is determined by its values at the points.

    Neighbouring cells share points if ``continuous`` and if the space is; otherwise each has its own.

    Args:
        degree: of the VTK cells; that of the element by default.
    """
    mesh = space.mesh
    degree = max(1, space.element.degree) if degree is None else degree
    lattice = vtk_nodes(mesh.cell_type, degree) if degree <= 2 else _node_lattice(space, degree)
    places = positions(mesh, lattice)
    shared = _shared_nodes(space, lattice, places) if continuous else None
    if shared is None:
        points, numbers = places.reshape(-1, mesh.dim), np.arange(places.shape[0] * places.shape[1]).reshape(places.shape[:2])
    else:
        points, numbers = space.points.cpu().double().numpy(), shared
    if degree > 2:
        return VtkCells(points, _pieces(mesh.cell_type, lattice, numbers, points), _SIMPLEX[lattice.shape[1]], lattice, numbers)
    names = _LINEAR if degree == 1 else _QUADRATIC
    return VtkCells(points, _right_handed(corner_points(mesh), lattice, numbers), names[mesh.cell_type], lattice, numbers)


def is_continuous(space: Space) -> bool:
    """Whether the functions of the space are continuous across cells."""
    return space.element.family in ("Lagrange", "Q")


def _shared_nodes(space: Space, lattice: np.ndarray, places: np.ndarray) -> np.ndarray | None:
    """The node of a continuous space at each lattice point of each cell, if there is one at its very place."""
    if not is_continuous(space):
        return None
    table = basis_at(space, lattice)
    if table.shape[0] != table.shape[1] or not np.isin(table, (0.0, 1.0)).all():
        return None
    nodes = space.cell_nodes.cpu().numpy()[:, table.argmax(1)]
    # On a periodic mesh the two sides share nodes, which have but one place.
    size = np.ptp(space.mesh.points, axis=0).max()
    return nodes if np.abs(space.points.cpu().double().numpy()[nodes] - places).max() < 1e-6 * size else None


def _node_lattice(space: Space, degree: int) -> np.ndarray:
    """The element's own nodes if it has some that reach the corners of the cell, else equispaced points."""
    if not space.element.is_nodal:
        return equispaced(space.mesh.cell_type, degree)
    points = space.points.cpu().double().numpy()
    nodes = reference_nodes(points[space.cell_nodes.cpu().numpy()], space.mesh)
    corners = reference_vertices(space.mesh.cell_type)
    gap = np.linalg.norm(nodes[:, None] - corners, axis=-1).min(0).max()
    return nodes if gap < 1e-6 else equispaced(space.mesh.cell_type, degree)


def _pieces(cell_type: str, lattice: np.ndarray, numbers: np.ndarray, points: np.ndarray) -> np.ndarray:
    pieces = numbers[:, subcells(cell_type, lattice)].reshape(-1, CELL_DIMENSION[cell_type] + 1)
    return np.where((_determinants(points[pieces]) < 0)[:, None], pieces[:, [1, 0, *range(2, pieces.shape[1])]], pieces)


def _right_handed(corners: np.ndarray, lattice: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """VTK wants positive volumes, which FIAT's numbering does not promise: a left-handed cell is numbered in the mirror."""
    if lattice.shape[1] == 1:
        return numbers
    mirrored = lattice[:, [1, 0, *range(2, lattice.shape[1])]]
    order = np.linalg.norm(lattice - mirrored[:, None], axis=-1).argmin(1)
    return np.where((_determinants(corners) < 0)[:, None], numbers[:, order], numbers)


def _determinants(vertices: np.ndarray) -> np.ndarray:
    """Of the edges from the first vertex to its neighbours; zero for cells that do not fill their space."""
    dim = vertices.shape[2]
    if vertices.shape[1] == 2**dim and dim > 1:
        # Vertices of a cube in lexicographic order: the neighbours of the first are at powers of two, the last axis first.
        edges = vertices[:, [2 ** (dim - 1 - axis) for axis in range(dim)]] - vertices[:, :1]
    elif vertices.shape[1] == dim + 1:
        edges = vertices[:, 1:] - vertices[:, :1]
    else:
        return np.zeros(len(vertices))
    return np.linalg.det(edges)
