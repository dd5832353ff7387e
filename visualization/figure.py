"""What every picture shares: where it is drawn, its axes and outlines, and how it becomes a file."""

import math
import os
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ..errors import InputError
from ..fem import Mesh
from ..fem.mesh import CELL_DIMENSION
from ..storage import atomic
from .edges import edge_curves, outline

INK = "#222222"
_ARROWS = 8, 16  # along the longer side, at least and at most
_ARROWS_PER_INCH = 6
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
    frameless(ax, mesh.points.min(0), mesh.points.max(0))


def frameless(ax: Axes, low: np.ndarray, high: np.ndarray, across: str = "x", up: str = "y") -> None:
    """The same for a box between two corners."""
    margin = 0.03 * float((high - low).min())
    ax.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin), aspect="equal")
    ax.set_xlabel(across)
    ax.set_ylabel(up, rotation=0, labelpad=6, va="center")
    ax.locator_params(nbins=3)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def colour_scale(heights: np.ndarray, limits: tuple[float, float] | None) -> Normalize:
    """The scale between these limits, or those of the values."""
    low, high = limits or (float(heights.min()), float(heights.max()))
    # A constant field would leave the colour scale without extent.
    size = max(abs(low), abs(high))
    margin = (size or 1.0) if high - low <= 1e-12 * size else 0.0
    return Normalize(low - margin, high + margin)


def decimals(size: float) -> int:
    """Of numbers to a hundredth of a range of this size, so that a nearly vanishing one reads 0."""
    return 2 - math.floor(math.log10(size))


def number_decades(ax: Axes, axis: Literal["x", "y"]) -> None:
    """Readable numbers on a logarithmic axis: powers of ten on a long one, 1, 2, 5 on a short one, more of them within a decade."""
    if getattr(ax, f"get_{axis}scale")() != "log":
        return
    low, high = getattr(ax, f"get_{axis}lim")()
    numbered = getattr(ax, f"{axis}axis")
    numbered.set_minor_formatter(NullFormatter())
    if high < 200 * low:
        few = LogLocator(subs=(1, 2, 5) if high > 5 * low else (1, 1.5, 2, 3, 4, 5, 6, 8))
        numbered.set_major_locator(few if high > 2 * low else MaxNLocator(4))
        numbered.set_major_formatter("{x:g}")


def draw_arrows(ax: Axes, points: np.ndarray, vectors: np.ndarray) -> None:
    """One arrow in each box of a regular grid that the domain meets, at the point nearest to the middle of the box."""
    low, extent = points.min(0), np.ptp(points, axis=0)
    figure = ax.get_figure(root=True)
    inches = ax.get_position().width * figure.get_figwidth() if figure else np.inf
    size = extent.max() / np.clip(_ARROWS_PER_INCH * inches, *_ARROWS).round()
    box = np.minimum(np.floor((points - low) / size), np.ceil(extent / size - 1e-9) - 1)
    distance = np.linalg.norm(points - low - (box + 0.5) * size, axis=1)
    order = np.lexsort((distance, box[:, 1], box[:, 0]))
    _, first = np.unique(box[order], axis=0, return_index=True)
    chosen = order[first]
    spacing = np.sqrt(np.prod(extent) / len(points))
    chosen = chosen[distance[chosen] < max(size / 4, 2 * spacing)]
    length = np.linalg.norm(vectors, axis=1).max()
    if length > 0:
        x, v = points[chosen], vectors[chosen]
        ax.quiver(
            *x.T,
            *v.T,
            color="white",
            edgecolor="#222222",
            linewidth=0.3,
            pivot="mid",
            angles="xy",
            scale_units="xy",
            scale=length / (1.1 * size),
            width=0.007,
            headwidth=3.6,
            headlength=4.2,
            headaxislength=3.8,
        )


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Write a PNG file, whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    FigureCanvasAgg(figure)
    with atomic(path) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH, facecolor="white")
