"""A mesh as the exported side sees it: points, cells and tagged facets, plain arrays with no Firedrake behind them."""

from dataclasses import dataclass, field

import numpy as np

#: Topological dimension of each cell type.
CELL_DIMENSION = {"interval": 1, "triangle": 2, "quadrilateral": 2, "tetrahedron": 3, "hexahedron": 3}


@dataclass(frozen=True, eq=False)
class Mesh:
    """Points ``(num_points, dim)``, cells ``(num_cells, nodes_per_cell)`` and boundary facets by tag.

    ``degree`` is that of the coordinate field: 1 for straight cells, 2 for curved ones. Cell nodes are in Firedrake's (FIAT's)
    order, also for higher degrees. ``facets[tag]`` holds the points of the tagged boundary facets,
    ``(num_facets, nodes_per_facet)``; ``markers[tag]`` is the integer by which Firedrake knows the tag. ``vertices`` are the
    columns of ``cells`` that are the corners.
    """

    points: np.ndarray
    cells: np.ndarray
    cell_type: str
    degree: int = 1
    facets: dict[str, np.ndarray] = field(default_factory=dict)
    markers: dict[str, int] = field(default_factory=dict)
    vertices: tuple[int, ...] = ()

    @property
    def dim(self) -> int:
        """Dimension of the space the mesh lies in."""
        return self.points.shape[1]

    @property
    def num_cells(self) -> int:
        return len(self.cells)

    @property
    def num_points(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        tags = ", ".join(self.facets) or "none"
        return f"Mesh({self.num_cells} cells ({self.cell_type}), {self.num_points} points, dim {self.dim}, tags: {tags})"
