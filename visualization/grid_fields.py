"""Pictures of fields on uniform grids: planes as they are, boxes by a section."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.patches import Rectangle
from torch import Tensor

from ..errors import InputError
from ..fem import Grid
from .figure import colour_scale, draw_arrows, frameless

#: An axis, 0 to 2, and the place along it, 0 to 1, of the section through a box that is drawn.
Section = tuple[int, float]

MIDDLE: Section = (2, 0.5)


def plot_grid_field(
    ax: Axes,
    grid: Grid,
    u: Tensor | np.ndarray,
    *,
    limits: tuple[float, float] | None = None,
    colours: str = "viridis",
    arrows: bool = True,
    section: Section = MIDDLE,
) -> ScalarMappable:
    """Draw one field ``(channel, x, y)``, or the section of one ``(channel, x, y, z)``, and return what a colour bar needs.

    Several channels are a vector: its magnitude, with arrows for its components in the plane.

    Args:
        limits: the values at the ends of the colour scale; by default those of the field.
        section: of a box: the axis across it and the place along that, by default the middle of z.

    Raises:
        InputError: the grid has one axis, the field another shape, or it is not finite.
    """
    vectors, axes = plane(grid, u, section)
    lengths = [grid.lengths[axis] for axis in axes]
    values = magnitude(vectors)
    pixels, extent = _pixels(grid, values, axes)
    drawn = ax.imshow(
        pixels.T,
        origin="lower",
        extent=extent,
        cmap=colours,
        norm=colour_scale(values, limits),
        interpolation="nearest" if grid.location == "centre" else "bilinear",
    )
    drawn.set_clip_path(Rectangle((0, 0), lengths[0], lengths[1], transform=ax.transData))
    if arrows and len(vectors) >= grid.dim and len(vectors) > 1:
        places = [grid.axes()[axis].double().numpy() for axis in axes]
        points = np.stack(np.meshgrid(*places, indexing="ij"), -1).reshape(-1, 2)
        draw_arrows(ax, points, np.stack([vectors[axis].ravel() for axis in axes], -1))
    frameless(ax, np.zeros(2), np.array(lengths), "xyz"[axes[0]], "xyz"[axes[1]])
    return drawn


def plane(grid: Grid, u: Tensor | np.ndarray, section: Section = MIDDLE) -> tuple[np.ndarray, tuple[int, int]]:
    """The values ``(channel, ., .)`` that are drawn, and the two axes they lie along.

    Raises:
        InputError: see :func:`plot_grid_field`.
    """
    values = np.asarray(u.detach().cpu() if isinstance(u, Tensor) else u, dtype=np.float64)
    if grid.dim < 2:
        raise InputError("A field on a grid of one axis is a curve; draw it by plot_over_time or matplotlib's plot.")
    if values.ndim != grid.dim + 1 or values.shape[1:] != grid.shape:
        raise InputError(
            f"One field on this grid has shape (channel, {', '.join(map(str, grid.shape))}), but {values.shape} came. "
            "Choose one sample and time of a batch."
        )
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} of the field's {values.size} values are not finite.")
    if grid.dim == 2:
        return values, (0, 1)
    across, place = section
    index = min(int(place * grid.shape[across]), grid.shape[across] - 1)
    first, second = (axis for axis in range(3) if axis != across)
    return np.take(values, index, axis=across + 1), (first, second)


def _pixels(grid: Grid, values: np.ndarray, axes: tuple[int, int]) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Pixels with their middles at the grid's points, the first ones again at the end of a period; and their sides."""
    sides: list[float] = []
    for number, axis in enumerate(axes):
        h, first = grid.spacings[axis], float(grid.axes()[axis][0])
        if grid.periodic[axis]:
            values = np.concatenate([values, np.take(values, [0], number)], number)
        sides += [first - h / 2, first + (values.shape[number] - 0.5) * h]
    return values, (sides[0], sides[1], sides[2], sides[3])


def magnitude(vectors: np.ndarray) -> np.ndarray:
    """A scalar as it is, the Euclidean norm of several channels: ``(channel, ...) -> (...)``."""
    return np.asarray(vectors[0]) if len(vectors) == 1 else np.sqrt((vectors**2).sum(0))
