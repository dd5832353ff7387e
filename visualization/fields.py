"""Pictures of finite-element fields on two-dimensional meshes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.tri import Triangulation
from torch import Tensor

from ..errors import InputError
from ..fem import Space
from ..fem.reference_cell import equispaced, positions, subcells
from .edges import STEPS, edge_lattice, outline, tagged
from .evaluation import magnitude, values
from .figure import colour_scale, draw_arrows, draw_outline, label_axes, require_two_dimensions

_TRIANGLES = 200_000  # in one picture, at most


def plot_field(
    ax: Axes,
    space: Space,
    u: Tensor | np.ndarray,
    *,
    limits: tuple[float, float] | None = None,
    colours: str = "viridis",
    arrows: bool = True,
) -> ScalarMappable:
    """Draw one field ``(num_dofs,)`` on triangles or quadrilaterals, and return what a colour bar needs.

    Every cell is refined until the element's own polynomial is resolved, on curved cells too. Discontinuous fields keep their
    jumps. A vector field is drawn as its magnitude, with arrows for its direction.

    Args:
        limits: the values at the ends of the colour scale; by default those of the field.
        colours: a matplotlib colour map.
        arrows: whether a vector field gets them.

    Raises:
        InputError: the mesh is not two-dimensional, the field is not one of the space or not finite, or its dofs are not values.
    """
    mesh = space.mesh
    require_two_dimensions(mesh, f"the mesh of space {space.name!r}")
    lattice = equispaced(mesh.cell_type, _subdivisions(space))
    points, found = positions(mesh, lattice), values(space, u, lattice)
    heights = magnitude(found)
    pieces = subcells(mesh.cell_type, lattice)
    triangles = (pieces + len(lattice) * np.arange(mesh.num_cells)[:, None, None]).reshape(-1, 3)
    drawn = ax.tripcolor(
        Triangulation(points[..., 0].ravel(), points[..., 1].ravel(), triangles),
        heights.ravel(),
        shading="gouraud",
        cmap=colours,
        norm=colour_scale(heights, limits),
    )
    if found.shape[2:] == (2,) and arrows:
        draw_arrows(ax, points.reshape(-1, 2), found.reshape(-1, 2))
    draw_outline(ax, mesh)
    label_axes(ax, mesh)
    return drawn


def plot_boundary_field(
    ax: Axes,
    space: Space,
    u: Tensor | np.ndarray,
    *,
    tags: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    colours: str = "viridis",
) -> ScalarMappable:
    """Draw the values of one field along the boundary parts with these tags (the whole boundary by default); see :func:`plot_field`.

    Raises:
        InputError: the mesh has no such tag.
    """
    mesh = space.mesh
    require_two_dimensions(mesh, f"the mesh of space {space.name!r}")
    if unknown := sorted(set(tags) - set(mesh.facets)):
        raise InputError(
            f"Unknown boundary tag {', '.join(map(repr, unknown))}; the mesh has {', '.join(map(repr, mesh.facets))}."
        )
    cells, local = tagged(mesh, tags) if tags else outline(mesh)
    lattice = edge_lattice(mesh.cell_type, STEPS)
    flat = lattice.reshape(-1, 2)
    shape = (mesh.num_cells, *lattice.shape[:2])
    points = positions(mesh, flat).reshape(*shape, 2)[cells, local]
    heights = magnitude(values(space, u, flat)).reshape(shape)[cells, local]
    draw_outline(ax, mesh)
    lines = LineCollection(
        list(np.stack([points[:, :-1], points[:, 1:]], axis=2).reshape(-1, 2, 2)),
        array=(heights[:, :-1] + heights[:, 1:]).ravel() / 2,
        cmap=colours,
        norm=colour_scale(heights, limits),
        linewidths=4,
        capstyle="round",
    )
    ax.add_collection(lines)
    label_axes(ax, mesh)
    return lines


def value_range(space: Space, u: Tensor | np.ndarray) -> tuple[float, float]:
    """The smallest and the largest value of a field, or magnitude of a vector field, as far as a picture resolves it."""
    heights = magnitude(values(space, u, equispaced(space.mesh.cell_type, _subdivisions(space))))
    return float(heights.min()), float(heights.max())


def _subdivisions(space: Space) -> int:
    """Pieces of a cell's edge: linear triangles are exact as they are, everything else is refined as far as the picture can show."""
    element = space.element
    if element.degree == 0 or (element.degree == 1 and element.cell == "triangle" and not element.value_shape):
        return 1 if space.mesh.degree == 1 else 4
    return int(np.clip(np.sqrt(_TRIANGLES / (2 * space.mesh.num_cells)), 2, 8))
