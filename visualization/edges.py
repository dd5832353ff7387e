"""The edges of a two-dimensional mesh: those of its outline, those that carry a tag, and the curves they are."""

from collections.abc import Iterable

import numpy as np

from ..fem import Mesh
from ..fem.reference_cell import positions, reference_vertices

#: Edges of the reference cells, by vertex.
_EDGES = {"triangle": ((0, 1), (0, 2), (1, 2)), "quadrilateral": ((0, 1), (0, 2), (1, 3), (2, 3))}

#: Straight pieces in which a curved edge is drawn.
STEPS = 8


def edge_lattice(cell_type: str, steps: int) -> np.ndarray:
    """Reference points along every edge of a cell: ``(num_edges, steps + 1, tdim)``."""
    ends = reference_vertices(cell_type)[np.array(_EDGES[cell_type])]
    weight = np.linspace(0, 1, steps + 1)[:, None]
    return (1 - weight) * ends[:, :1] + weight * ends[:, 1:]


def edge_curves(mesh: Mesh, cells: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Points along the edges ``local`` of the cells ``cells``: ``(num_edges, steps + 1, dim)``."""
    lattice = edge_lattice(mesh.cell_type, STEPS if mesh.degree > 1 else 1)
    points = positions(mesh, lattice.reshape(-1, lattice.shape[-1]))
    return points.reshape(mesh.num_cells, *lattice.shape[:2], mesh.dim)[cells, local]


def outline(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Cells and local numbers of the edges that belong to one cell only."""
    used, vertex = np.unique(mesh.cells[:, list(mesh.vertices)], return_inverse=True)
    # The points of a periodic mesh are repeated in every cell; only their coordinates tell which edges are shared.
    size = np.ptp(mesh.points, axis=0).max()
    _, place = np.unique(np.round(mesh.points[used] / size, 9), axis=0, return_inverse=True)
    codes = _codes(place.reshape(-1)[vertex].reshape(mesh.num_cells, -1), mesh.cell_type, mesh.num_points)
    _, which, count = np.unique(codes, return_inverse=True, return_counts=True)
    cells, local = np.nonzero((count[which] == 1).reshape(codes.shape))
    return cells, local


def tagged(mesh: Mesh, tags: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Cells and local numbers of the edges with one of the tags."""
    vertices = mesh.cells[:, list(mesh.vertices)]
    is_vertex = np.zeros(mesh.num_points, dtype=bool)
    is_vertex[vertices] = True
    ends = [facets[is_vertex[facets]].reshape(-1, 2) for facets in (mesh.facets[tag] for tag in tags)]
    wanted = np.sort(np.concatenate([np.zeros((0, 2), dtype=np.int64), *ends]), axis=1) @ [mesh.num_points, 1]
    cells, local = np.nonzero(np.isin(_codes(vertices, mesh.cell_type, mesh.num_points), wanted))
    return cells, local


def _codes(vertices: np.ndarray, cell_type: str, base: int) -> np.ndarray:
    """One number for each pair of vertices ``(num_cells, num_edges)``, whatever their order."""
    ends = np.sort(vertices[:, np.array(_EDGES[cell_type])], axis=-1)
    return ends[..., 0] * base + ends[..., 1]
