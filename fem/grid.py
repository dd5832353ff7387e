"""Data on uniform grids, as other neural operators and measurements have them, brought into finite-element spaces."""

from collections.abc import Sequence
from functools import reduce
from itertools import product as corners

import numpy as np
import scipy.sparse

from ..errors import InputError
from .space import Space
from .sparse import SparseMatrix

#: How far outside the grid's box a point may lie, as a part of the box, by rounding.
ROUNDING = 1e-9


def bounding_box(space: Space) -> np.ndarray:
    """Lowest and highest coordinates of the mesh of a space, ``(2, dim)``."""
    return np.stack([space.mesh.points.min(0), space.mesh.points.max(0)])


def grid_interpolation(space: Space, shape: Sequence[int], box: Sequence[Sequence[float]] | None = None) -> SparseMatrix:
    """Matrix from values on a uniform grid to dofs: the interpolant of the grid's piecewise multilinear function.

    Args:
        space: any space that functions can be interpolated into.
        shape: grid points along x, y, z, those on the box's sides included. Columns are ordered as the flattened array of shape
            ``(components, *shape)``, without the first axis for scalars.
        box: lowest and highest corner of the grid; the bounding box of the mesh if not given.

    Raises:
        InputError: the grid has another dimension than the mesh, or the mesh reaches beyond it.
    """
    low, high = np.asarray(bounding_box(space) if box is None else box, dtype=float)
    dim, components = space.mesh.dim, space.element.value_size
    if len(shape) != dim or len(low) != dim or min(shape) < 2:
        raise InputError(
            f"A mesh in {dim} dimensions needs a grid of {dim} axes with at least 2 points each, not {tuple(shape)}."
        )
    points = space.dual_points.cpu().double().numpy()
    along = [_linear(points[:, i], low[i], high[i], n) for i, n in enumerate(shape)]
    rows = np.arange(len(points))
    scalar = scipy.sparse.csr_matrix((len(points), int(np.prod(shape))))
    for corner in corners((0, 1), repeat=dim):
        index = np.ravel_multi_index([axis[0] + side for axis, side in zip(along, corner, strict=True)], tuple(shape))
        weight = reduce(np.multiply, [axis[1] if side else 1 - axis[1] for axis, side in zip(along, corner, strict=True)])
        scalar += scipy.sparse.csr_matrix((weight, (rows, index)), shape=scalar.shape)
    scalar.data[abs(scalar.data) < ROUNDING] = 0
    scalar.eliminate_zeros()
    values = scipy.sparse.csr_matrix(scipy.sparse.kron(np.eye(components), scalar))
    innermost = np.arange(len(points) * components).reshape(components, -1).T.ravel()
    return SparseMatrix(space.dual_matrix() @ values[innermost], space.mass.val.dtype)


def _linear(x: np.ndarray, low: float, high: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Interval of each coordinate on ``n`` points from ``low`` to ``high``, and its place in it from 0 to 1."""
    place = (x - low) / (high - low) * (n - 1)
    if place.min() < -ROUNDING * n or place.max() > (n - 1) * (1 + ROUNDING):
        raise InputError(f"The mesh reaches from {x.min():g} to {x.max():g}, beyond the grid from {low:g} to {high:g}.")
    interval = np.clip(np.floor(place).astype(np.int64), 0, n - 2)
    return interval, np.clip(place - interval, 0, 1)
