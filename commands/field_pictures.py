"""Pictures of a sample's fields, as each of them can be drawn: curves, flat pictures, bodies."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from ..errors import InputError, MissingPackageError
from ..visualization import plot_comparison, plot_lines, render_comparison
from ..visualization.panel import Where, dimension, extent

log = logging.getLogger("thalweg")

FIELDS, RENDER = "fields.png", "render.png"


def draw_fields(panels: Mapping[str, tuple[Where, Tensor]], folder: Path) -> list[str]:
    """Draw one frame of each field; returns the names of the files.

    ``fields.png`` has curves on intervals, fields in the plane, and sections of boxes; ``render.png`` what is on meshes and grids in three
    dimensions, if PyVista can draw here. What is left out is logged.
    """
    by_dimension = {d: {title: panel for title, panel in panels.items() if dimension(panel[0]) == d} for d in (1, 2, 3)}
    drawn = []
    sections = {title: panel for title, panel in panels.items() if is_flat(panel[0])}
    if sections:
        plot_comparison(next(iter(sections.values()))[0], sections, folder / FIELDS, columns=columns_of(sections))
        drawn.append(FIELDS)
    elif by_dimension[1]:
        plot_lines(by_dimension[1], folder / FIELDS)
        drawn.append(FIELDS)
    if by_dimension[3]:
        try:
            render_comparison(by_dimension[3], folder / RENDER)
            drawn.append(RENDER)
        except (InputError, MissingPackageError) as error:
            log.warning("no %s: %s", RENDER, error)
    if not drawn:
        log.warning("the fields live where no picture is made of them; thalweg predict writes them for ParaView")
    return drawn


def is_flat(where: Where) -> bool:
    """Whether a field there can be drawn in the plane, itself or a section of it."""
    return dimension(where) == 2 or (dimension(where) == 3 and not hasattr(where, "mesh"))


def columns_of(panels: Mapping[str, tuple[Where, Tensor]]) -> int:
    """Panels in a row: of long domains two, which would be stripes else, or three where several fields are compared."""
    if sum(title.startswith("reference") for title in panels) > 1:
        return 3
    return 2 if is_long(panels) else 5


def is_long(panels: Mapping[str, tuple[Where, Tensor | np.ndarray]]) -> bool:
    """Whether domains are more than three times as wide as high."""
    width, height = np.max([extent(where) for where, _ in panels.values()], axis=0)
    return bool(width > 3 * height)
