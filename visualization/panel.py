"""One panel of a picture, whatever the field lives on: a finite-element space or a uniform grid."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from torch import Tensor

from ..fem import Grid, Space
from ..fem.mesh import CELL_DIMENSION
from .fields import plot_boundary_field, plot_field, value_range
from .grid_fields import magnitude, plane, plot_grid_field

Values = Tensor | np.ndarray

#: Where a field lives.
Where = Space | Grid


def draw(
    ax: Axes, where: Where, u: Values, limits: tuple[float, float] | None = None, colours: str = "viridis", boundary: bool = False
) -> ScalarMappable:
    """Draw one field, or its values along the boundary only; see :func:`plot_field` and :func:`plot_grid_field`."""
    if isinstance(where, Grid):
        return plot_grid_field(ax, where, u, limits=limits, colours=colours)
    if boundary:
        return plot_boundary_field(ax, where, u, limits=limits, colours=colours)
    return plot_field(ax, where, u, limits=limits, colours=colours)


def drawn_range(where: Where, u: Values) -> tuple[float, float]:
    """The smallest and the largest value that :func:`draw` shows."""
    if isinstance(where, Space):
        return value_range(where, u)
    shown = magnitude(plane(where, u)[0])
    return float(shown.min()), float(shown.max())


def extent(where: Where) -> np.ndarray:
    """Width and height of what is drawn."""
    if isinstance(where, Space):
        return np.ptp(where.mesh.points, axis=0)[:2]
    return np.array(where.lengths[:2])


def is_vector(where: Where, u: Values) -> bool:
    """Whether a magnitude is drawn."""
    return bool(where.element.value_shape) if isinstance(where, Space) else len(u) > 1


def dimension(where: Where) -> int:
    """1 of intervals, 2 of what can be drawn flat, 3 of bodies; 0 of curves and surfaces that are bent."""
    if isinstance(where, Grid):
        return where.dim
    mesh = where.mesh
    return mesh.dim if mesh.dim == CELL_DIMENSION[mesh.cell_type] else 0
