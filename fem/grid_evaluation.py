"""Finite-element fields at the points of a uniform grid, from the exported space alone: how grid networks see functions on meshes."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
import scipy.spatial
import torch
from torch import Tensor

from ..errors import InputError
from .grid import bounding_box
from .reference_cell import basis_at, corner_points, pull_back
from .space import Space
from .sparse import SparseMatrix

#: How far outside a cell a point may lie and still be evaluated, in the coordinates of the reference cell.
ON_BOUNDARY = 1e-8

_NEAREST = 16  # cells with the nearest centres are looked at first
_BLOCK = 1 << 22  # pairs of points and cells compared at once


def grid_evaluation(
    space: Space, shape: Sequence[int], box: Sequence[Sequence[float]] | None = None
) -> tuple[SparseMatrix, Tensor]:
    """Matrix from dofs to values on a uniform grid, and which of its points lie in the domain, a mask ``(*shape)``.

    Inside the domain the values are those of the finite-element function, exactly where cells are straight. A point outside takes the
    value at the nearest node, so that fields go on smoothly enough for a network of convolutions or Fourier modes, and a field that
    vanishes on the boundary vanishes outside.

    Args:
        space: nodal elements: Lagrange, continuous or not, also vector-valued.
        shape: grid points along x, y, z, those on the box's sides included. Rows are ordered as the flattened array of shape
            ``(components, *shape)``, without the first axis for scalars.
        box: lowest and highest corner of the grid; the bounding box of the mesh if not given.

    Raises:
        InputError: the grid has another dimension than the mesh, or dofs are not values at points.
    """
    if not space.element.is_nodal:
        raise InputError(
            f"Fields of {space.name!r} ({space.element}) cannot be sampled from their nodes. Transfer them to a Lagrange space first."
        )
    if len(shape) != space.mesh.dim or min(shape) < 2:
        raise InputError(
            f"A mesh in {space.mesh.dim} dimensions needs a grid of {space.mesh.dim} axes with at least 2 points each, "
            f"not {tuple(shape)}."
        )
    low, high = np.asarray(bounding_box(space) if box is None else box, dtype=float)
    axes = [np.linspace(a, b, n) for a, b, n in zip(low, high, shape, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))
    cells, xi = locate(space, points)
    inside = cells >= 0
    nodes = space.cell_nodes.cpu().numpy()
    rows = np.flatnonzero(inside)
    values = basis_at(space, xi[inside])
    scalar = scipy.sparse.csr_matrix(
        (values.ravel(), (rows.repeat(nodes.shape[1]), nodes[cells[inside]].ravel())), shape=(len(points), space.num_nodes)
    )
    outside = np.flatnonzero(~inside)
    nearest = np.asarray(scipy.spatial.KDTree(space.points.cpu().double().numpy()).query(points[outside])[1], dtype=np.int64)
    scalar += scipy.sparse.csr_matrix((np.ones(len(outside)), (outside, nearest)), shape=scalar.shape)
    block = space.element.block_size
    matrix = scipy.sparse.csr_matrix(scipy.sparse.kron(scalar, np.eye(block)))
    innermost = np.arange(len(points) * block).reshape(-1, block).T.ravel()
    return SparseMatrix(matrix[innermost], space.mass.val.dtype), torch.from_numpy(inside.reshape(shape))


def locate(space: Space, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each point ``(n,)``, -1 outside the mesh, and its reference coordinates there ``(n, dim)``."""
    corners = corner_points(space.mesh)
    cells, xi = np.full(len(points), -1), np.zeros_like(points)

    def look(which: np.ndarray, candidates: np.ndarray) -> None:
        """Take for points ``which`` (m,) the cells ``candidates`` (m,) where they contain them."""
        place = pull_back(corners[candidates], points[which][:, None], space.mesh.cell_type)[:, 0]
        found = _contains(place, space.mesh.cell_type)
        cells[which[found]], xi[which[found]] = candidates[found], place[found]

    nearest = scipy.spatial.KDTree(corners.mean(1)).query(points, k=min(_NEAREST, len(corners)))[1].reshape(len(points), -1)
    for column in nearest.T:
        left = np.flatnonzero(cells < 0)
        look(left, column[left])
    # Where cells are of very different sizes, the nearest centre is not that of the cell: compare bounding boxes.
    low, high = corners.min(1), corners.max(1)
    slack = ON_BOUNDARY * (high - low).max()
    left = np.flatnonzero(cells < 0)
    for block in np.array_split(left, max(1, len(left) * len(corners) // _BLOCK)):
        x = points[block][:, None]
        point, cell = np.nonzero(((x >= low - slack) & (x <= high + slack)).all(-1))
        look(block[point], cell)
    return cells, xi


def _contains(xi: np.ndarray, cell_type: str) -> np.ndarray:
    """Whether reference coordinates ``(n, dim)`` lie in the reference cell."""
    simplex = cell_type not in ("quadrilateral", "hexahedron")
    highest = xi.sum(-1) if simplex else xi.max(-1)
    return np.logical_and(xi.min(-1) >= -ON_BOUNDARY, highest <= 1 + ON_BOUNDARY)
