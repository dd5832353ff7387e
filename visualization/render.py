"""Pictures of fields in three dimensions, by PyVista."""

import os
from importlib import import_module
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from ..errors import InputError, MissingPackageError
from ..fem import Grid, Mesh, Space
from ..fem.reference_cell import equispaced, positions, reference_vertices, subcells
from ..storage import atomic
from .evaluation import magnitude, values
from .figure import INK, colour_scale
from .grid_fields import magnitude as grid_magnitude
from .vtk_cells import is_continuous, vtk_nodes

Style = Literal["cut", "isosurfaces"]

_TETRAHEDRA = 2_000_000  # in one picture, at most
_PIXELS = (1200, 1000)
_SURFACES = 5


def render_field(
    where: Space | Grid,
    u: Tensor | np.ndarray,
    path: str | os.PathLike,
    *,
    style: Style = "cut",
    limits: tuple[float, float] | None = None,
    colours: str = "viridis",
    label: str = "",
) -> None:
    """Draw one field ``(num_dofs,)`` on tetrahedra or hexahedra, or ``(channel, x, y, z)`` on a grid, to a PNG file.

    Cells are refined until the element's polynomial is resolved. Of a vector field the magnitude is drawn.

    Args:
        style: the domain with the corner next to the eye taken out, or surfaces of equal value within its outline.
        limits: the values at the ends of the colour scale; by default those of the field.
        label: what the colours mean.

    Raises:
        InputError: the field is not three-dimensional, not one of the space or not finite, or the style is unknown.
        MissingPackageError: PyVista is not installed.
        FileError: the file cannot be written.
    """
    if style not in get_args(Style):
        raise InputError(f"There is no style {style!r}; choose {' or '.join(get_args(Style))}.")
    pv = _pyvista()
    if isinstance(where, Grid):
        body = _grid_body(pv, where, u)
        outline = body.outline()
    else:
        body, outline = _mesh_body(pv, where, u), _outline(pv, where.mesh)
    scale = colour_scale(body["u"], limits)
    low, high = float(scale.vmin or 0.0), float(scale.vmax or 0.0)
    plotter = pv.Plotter(off_screen=True, window_size=_PIXELS)
    plotter.background_color = "white"
    bar = {
        "title": label or " ",
        "color": INK,
        "vertical": True,
        "position_x": 0.86,
        "position_y": 0.2,
        "height": 0.6,
        "fmt": "%.3g",
    }
    look = {"scalars": "u", "cmap": colours, "clim": (low, high), "scalar_bar_args": bar, "ambient": 0.35}
    if style == "cut":
        plotter.add_mesh(body.clip_box(_near_corner(body.bounds), invert=True), **look)
    else:
        inside = np.linspace(low, high, _SURFACES + 2)[1:-1]
        plotter.add_mesh(body.contour(inside, scalars="u"), opacity=0.6, **look)
    plotter.add_mesh(outline, color=INK, line_width=2)
    plotter.show_bounds(
        color=INK, xtitle="x", ytitle="y", ztitle="z", location="outer", ticks="outside", n_xlabels=3, n_ylabels=3, n_zlabels=3
    )
    plotter.camera_position = "iso"
    with atomic(path) as partial:
        plotter.screenshot(str(partial) + ".png")
        os.replace(str(partial) + ".png", partial)  # noqa: PTH105
    plotter.close()


def _mesh_body(pv: Any, space: Space, u: Tensor | np.ndarray) -> Any:
    """The cells of the space in linear tetrahedra that share their points, unless the field jumps between cells."""
    mesh = space.mesh
    if mesh.cell_type not in ("tetrahedron", "hexahedron"):
        raise InputError(f"render_field is for fields in three dimensions; the mesh has {mesh.cell_type} cells. Use plot_field.")
    lattice = equispaced(mesh.cell_type, _subdivisions(space))
    points, found = positions(mesh, lattice).reshape(-1, 3), magnitude(values(space, u, lattice)).ravel()
    tetrahedra = (subcells(mesh.cell_type, lattice) + len(lattice) * np.arange(mesh.num_cells)[:, None, None]).reshape(-1, 4)
    if is_continuous(space):
        places = np.round(points / (1e-7 * np.ptp(points, axis=0).max())).astype(np.int64)
        _, first, number = np.unique(places, axis=0, return_index=True, return_inverse=True)
        points, found, tetrahedra = points[first], found[first], number.reshape(-1)[tetrahedra]
    body = pv.UnstructuredGrid({pv.CellType.TETRA: tetrahedra}, points)
    body.point_data["u"] = found
    return body


def _grid_body(pv: Any, grid: Grid, u: Tensor | np.ndarray) -> Any:
    found = np.asarray(u.detach().cpu() if isinstance(u, Tensor) else u, dtype=np.float64)
    if grid.dim != 3 or found.shape[1:] != grid.shape:
        raise InputError(f"A field in three dimensions on this grid has shape (channel, x, y, z), but {found.shape} came.")
    if not np.isfinite(found).all():
        raise InputError(f"{int((~np.isfinite(found)).sum())} of the field's {found.size} values are not finite.")
    body = pv.RectilinearGrid(*(axis.double().numpy() for axis in grid.axes()))
    body.point_data["u"] = grid_magnitude(found).ravel(order="F")
    return body.cast_to_unstructured_grid()


def _outline(pv: Any, mesh: Mesh) -> Any:
    """The sharp edges of the surface of a mesh."""
    corners = np.linalg.norm(vtk_nodes(mesh.cell_type, 1)[:, None] - reference_vertices(mesh.cell_type), axis=-1).argmin(1)
    cells = mesh.cells[:, list(mesh.vertices)][:, corners]
    kind = pv.CellType.TETRA if mesh.cell_type == "tetrahedron" else pv.CellType.HEXAHEDRON
    skin = pv.UnstructuredGrid({kind: cells}, mesh.points).extract_surface(algorithm="dataset_surface")
    return skin.compute_normals(consistent_normals=True, split_vertices=False).extract_feature_edges(
        30, manifold_edges=False, non_manifold_edges=False
    )


def _subdivisions(space: Space) -> int:
    degree = max(1, space.element.degree)
    most = np.cbrt(_TETRAHEDRA / (6 * space.mesh.num_cells))
    return 1 if degree == 1 else int(np.clip(most, 1, 2 * degree))


def _near_corner(bounds: tuple[float, ...]) -> list[float]:
    """The box between the middle and the corner that the camera looks at."""
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    middle = (low + high) / 2
    return np.stack([middle, high + (high - low)], axis=1).ravel().tolist()


def _pyvista() -> Any:
    try:
        return import_module("pyvista")
    except ImportError as error:
        raise MissingPackageError('Pictures in three dimensions need PyVista: pip install "thalweg[render]".') from error
