"""Inputs, reference, prediction and error of one sample, side by side."""

import math
import os
from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import Tensor

from ..errors import InputError
from ..fem import Space
from .fields import plot_boundary_field, plot_field, value_range
from .figure import save

_Field = tuple[Space, Tensor | np.ndarray]

_COMPARED = ("reference", "prediction")
_WIDTH, _WIDEST = 10.0, 4.0  # inches: of the picture, and of a panel

#: Perceptually uniform for fields; darker for larger errors; white at zero for signed errors.
_FIELD, _ERROR, _SIGNED_ERROR = "viridis", "magma_r", "RdBu_r"


def plot_comparison(
    space: Space,
    fields: Mapping[str, Tensor | np.ndarray | _Field],
    path: str | os.PathLike,
    *,
    columns: int = 5,
    title: str = "",
) -> None:
    """Draw fields side by side to a PNG file, one panel each, entitled with its name.

    Names carry meaning. "reference u" and "prediction u" share a colour scale, and so does a bare "prediction" with the first
    reference. A name with "error" in it has a scale symmetric about zero if the error has both signs, from zero otherwise. A name
    with "boundary" in it is drawn along the boundary only.

    Args:
        fields: one field ``(num_dofs,)`` a panel, or a pair of another space and a field of that.
        columns: panels in a row, at most.

    Raises:
        InputError: there are no fields, or as for :func:`plot_field`.
        FileError: the file cannot be written.
    """
    if not fields:
        raise InputError("There are no fields to compare; pass at least one.")
    panels = {name: field if isinstance(field, tuple) else (space, field) for name, field in fields.items()}
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    extents = [np.ptp(V.mesh.points, axis=0) for V, _ in panels.values()]
    width = min(_WIDTH / columns, _WIDEST)
    height = (width - 0.35) * max(extent[1] / extent[0] for extent in extents) + 1.15 + 0.07 * width
    figure = Figure(figsize=(columns * width, rows * height + (0.3 if title else 0)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    symbols = {name: _symbol(name, panels) for name in panels}
    for i, (ax, (name, (V, u))) in enumerate(zip(axes.flat, panels.items(), strict=False)):
        if "boundary" in name:
            drawn = plot_boundary_field(ax, V, u, colours=_FIELD)
        else:
            alike = [panels[other] for other in panels if _is_compared(name) and symbols[other] == symbols[name]]
            limits, colours = _scale(name, alike or [(V, u)])
            drawn = plot_field(ax, V, u, limits=limits, colours=colours)
        ax.set_title(name, fontsize=10)
        ax.tick_params(labelsize=8)
        ax.xaxis.labelpad = 1
        if i % columns:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
        symbol = symbols[name]
        length = f"|{symbol}|" if symbol != name else "magnitude"
        _draw_bar(figure, ax, drawn, length if V.element.value_shape else symbol)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11)
    save(figure, path)


def _draw_bar(figure: Figure, ax: Axes, drawn: ScalarMappable, label: str) -> None:
    bar = figure.colorbar(drawn, ax=ax, location="bottom", aspect=18, pad=0.02)
    ticks = np.linspace(*drawn.get_clim(), 3)
    # To a hundredth of their range, so that a nearly vanishing one reads 0.
    decimals = 2 - math.floor(math.log10(np.ptp(ticks)))
    numbers = [f"{round(x, decimals) + 0.0:.4g}".replace("-", "\N{MINUS SIGN}") for x in ticks]
    bar.set_ticks(list(ticks), labels=numbers)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_visible(False)


def _is_compared(name: str) -> bool:
    return "error" not in name and any(kind in name for kind in _COMPARED)


def _symbol(name: str, panels: Iterable[str]) -> str:
    """What a panel shows: u of "reference u", the same of a bare "prediction", f of "source f"; the whole name of an error."""
    if not _is_compared(name):
        last = name.split()[-1:]
        return last[0] if last and len(last[0]) <= 2 and last[0].isidentifier() and "error" not in name else name
    rest = [" ".join(word for word in other.split() if word not in _COMPARED) for other in (name, *panels) if _is_compared(other)]
    return next(filter(None, rest), "value")


def _scale(name: str, fields: Iterable[_Field]) -> tuple[tuple[float, float], str]:
    """Limits and colours that suit all these fields."""
    ranges = [value_range(V, u) for V, u in fields]
    low, high = min(a for a, _ in ranges), max(b for _, b in ranges)
    if "error" not in name:
        return (low, high), _FIELD
    bound = max(abs(low), abs(high)) or 1.0
    # The interpolant of a magnitude may dip below zero a little.
    return ((0.0, bound), _ERROR) if low >= -0.1 * high else ((-bound, bound), _SIGNED_ERROR)
