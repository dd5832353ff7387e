"""What every picture shares: where it is drawn, its axes and outlines, and how it becomes a file."""

import os

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ..errors import InputError
from ..fem import Mesh
from ..fem.mesh import CELL_DIMENSION
from ..storage import atomic
from .edges import edge_curves, outline

INK = "#222222"
DOTS_PER_INCH = 200  # a ten-inch figure is sharp at README width on a dense screen


def require_two_dimensions(mesh: Mesh, what: str) -> None:
    """Refuse to draw what is not flat.

    Raises:
        InputError: the mesh is not a two-dimensional one in the plane.
    """
    if mesh.dim != 2 or CELL_DIMENSION[mesh.cell_type] != 2:
        raise InputError(
            f"Only two-dimensional meshes can be drawn; {what} has {mesh.cell_type} cells in {mesh.dim} dimensions. "
            "Write a field on it with write_vtu and open that in ParaView."
        )


def draw_outline(ax: Axes, mesh: Mesh, width: float = 0.8) -> None:
    """The edge of the domain and of its holes."""
    ax.add_collection(LineCollection(list(edge_curves(mesh, *outline(mesh))), colors=INK, linewidths=width, capstyle="round"))


def label_axes(ax: Axes, mesh: Mesh) -> None:
    """Equal scales, names, few numbers, and no frame: the outline of the domain is the frame."""
    low, high = mesh.points.min(0), mesh.points.max(0)
    margin = 0.03 * float((high - low).max())
    ax.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin), aspect="equal")
    ax.set_xlabel("x")
    ax.set_ylabel("y", rotation=0, labelpad=6, va="center")
    ax.locator_params(nbins=3)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Write a PNG file, whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    FigureCanvasAgg(figure)
    with atomic(path) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH, facecolor="white")
