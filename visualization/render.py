"""Pictures of fields in three dimensions, by PyVista."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from ..errors import InputError, MissingPackageError
from ..fem import Grid, Mesh, Space
from ..fem.reference_cell import equispaced, positions, reference_vertices, subcells
from ..storage import atomic
from .comparison import bar_label, compared, scale
from .evaluation import magnitude, values
from .figure import INK, colour_scale, decimals
from .grid_fields import magnitude as grid_magnitude
from .vtk_cells import is_continuous, vtk_nodes

Style = Literal["cut", "isosurfaces"]

_TETRAHEDRA = 2_000_000  # in one picture, at most
_PIXELS = (1200, 1000)  # of a picture with one panel or of each of two; more are smaller
_SURFACES = 5
_TEXT = 14, 0.02  # height of numbers at the axes, at least and by a panel's width; larger ones meet at the corners
_NUMBERS = "%.3g"
_ZOOM = 0.8  # leaves room for titles and numbers


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
    body = _body(pv, where, u)
    plotter = _plotter(pv, (1, 1))
    _draw(pv, plotter, where, body, style, limits or _range(body), colours, label)
    _save(plotter, path)


def render_comparison(
    panels: Mapping[str, tuple[Space | Grid, Tensor | np.ndarray]], path: str | os.PathLike, *, columns: int = 3
) -> None:
    """Draw fields in three dimensions side by side, the corner next to the eye taken out, to a PNG file.

    Args:
        panels: for each title, where a field lives and the field. Titles mean what they mean to :func:`plot_comparison`.
        columns: panels in a row, at most.

    Raises:
        InputError, MissingPackageError, FileError: as for :func:`render_field`.
    """
    if not panels:
        raise InputError("There are no fields to compare; pass at least one.")
    pv = _pyvista()
    bodies = {title: _body(pv, where, u) for title, (where, u) in panels.items()}
    rows = -(-len(panels) // columns)
    columns = -(-len(panels) // rows)  # rows of one length, as far as they can be
    plotter = _plotter(pv, (rows, columns))
    for number, (title, body) in enumerate(bodies.items()):
        plotter.subplot(*divmod(number, columns))
        limits, colours = scale(title, [_range(bodies[other]) for other in compared(title, panels)])
        _draw(pv, plotter, panels[title][0], body, "cut", limits, colours, bar_label(title, panels), title)
    _save(plotter, path)


def _plotter(pv: Any, shape: tuple[int, int]) -> Any:
    """A window off the screen with so many rows and columns.

    Raises:
        MissingPackageError: VTK can draw nothing on this machine.
    """
    from vtkmodules.vtkCommonCore import vtkObject

    rows, columns = shape
    smaller = max(1, columns - 1)
    size = (_PIXELS[0] * columns // smaller, _PIXELS[1] * rows // smaller)
    told = vtkObject.GetGlobalWarningDisplay()
    vtkObject.GlobalWarningDisplayOff()  # or VTK tells of every kind of window that it tries in vain
    try:
        plotter = pv.Plotter(off_screen=True, window_size=size, shape=shape, border=False)
        usable = plotter.render_window.SupportsOpenGL()
    finally:
        vtkObject.SetGlobalWarningDisplay(told)
    if not usable:
        raise MissingPackageError(
            "VTK finds no OpenGL on this machine to draw with. Install Mesa, on Debian by apt install libegl1 libosmesa6, or write a VTU "
            "file by write_vtu and draw it elsewhere."
        )
    return plotter


def _draw(
    pv: Any,
    plotter: Any,
    where: Space | Grid,
    body: Any,
    style: Style,
    limits: tuple[float, float],
    colours: str,
    label: str,
    title: str = "",
) -> None:
    """A field into the chosen part of a window."""
    norm = colour_scale(body["u"], limits)
    # Without the last digits, or the number in the middle of a bar is 2.22e-16 where it should be 0.
    low, high = (float(f"{x or 0.0:.9g}") for x in (norm.vmin, norm.vmax))
    plotter.background_color = "white"
    bar = {
        # Bars would be columns of text to VTK. Titles of one window must differ.
        "title": f"{label.strip('|') or ' '}{' ' * len(plotter.scalar_bars)}\n",
        "color": INK,
        "vertical": True,
        "position_x": 0.84,
        "position_y": 0.2,
        "height": 0.6,
        "fmt": _format(high - low),
        "n_labels": 3,
    }
    text = max(_TEXT[0], round(_TEXT[1] * plotter.window_size[0] / plotter.shape[1]))
    bar |= {"unconstrained_font_size": True, "label_font_size": text, "title_font_size": text}
    # Little of the light comes from one side, so that colours are nearly those of the bar.
    look = {"scalars": "u", "cmap": colours, "clim": (low, high), "scalar_bar_args": bar, "ambient": 0.75, "diffuse": 0.3}
    if style == "cut":
        plotter.add_mesh(body.clip_box(_near_corner(body.bounds), invert=True), **look)
    else:
        surfaces = body.contour(np.linspace(low, high, _SURFACES + 2)[1:-1], scalars="u")
        if not surfaces.n_points:
            raise InputError(
                f"The field has no surfaces of equal value between {low:.3g} and {high:.3g}; draw it by style='cut'."
            )
        plotter.add_mesh(surfaces, opacity=0.6, **look)
    edges = body.outline() if isinstance(where, Grid) else _outline(pv, where.mesh)
    if edges.n_points:  # a ball has none
        plotter.add_mesh(edges, color=INK, line_width=2)
    if title:
        plotter.add_text(title, position="upper_edge", color=INK, font_size=12)
    plotter.camera_position = "iso"
    plotter.camera.zoom(_ZOOM)
    plotter.show_bounds(
        bounds=[float(f"{x:.9g}") for x in body.bounds],
        color=INK,
        xtitle="x",
        ytitle="y",
        ztitle="z",
        location="outer",
        ticks="outside",
        n_xlabels=3,
        n_ylabels=3,
        n_zlabels=3,
        use_3d_text=False,
        fmt=_NUMBERS,
        font_size=text,
    )


def _format(size: float) -> str:
    """Of numbers in a range of this size."""
    digits = decimals(size)
    return f"%.{max(digits, 0)}f" if -3 < digits < 6 else _NUMBERS


def _save(plotter: Any, path: str | os.PathLike) -> None:
    with atomic(path) as partial:
        plotter.screenshot(str(partial) + ".png")
        os.replace(str(partial) + ".png", partial)  # noqa: PTH105
    plotter.close()


def _body(pv: Any, where: Space | Grid, u: Tensor | np.ndarray) -> Any:
    return _grid_body(pv, where, u) if isinstance(where, Grid) else _mesh_body(pv, where, u)


def _range(body: Any) -> tuple[float, float]:
    return float(body["u"].min()), float(body["u"].max())


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
    points = [axis.double().numpy() for axis in grid.axes()]
    for axis, (L, wraps) in enumerate(zip(grid.lengths, grid.periodic, strict=True)):
        beyond = [(0, 0)] * found.ndim
        if grid.location == "centre":  # up to the sides of the box
            points[axis], beyond[axis + 1] = np.array([0.0, *points[axis], L]), (1, 1)
            found = np.pad(found, beyond, mode="wrap" if wraps else "edge")
        elif wraps:
            points[axis], beyond[axis + 1] = np.array([*points[axis], L]), (0, 1)
            found = np.pad(found, beyond, mode="wrap")
    body = pv.RectilinearGrid(*points)
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
