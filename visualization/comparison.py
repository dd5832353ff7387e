"""Inputs, reference, prediction and error of one sample, side by side."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from ..errors import InputError
from .figure import save
from .panel import Values, Where, draw, drawn_range, extent, is_vector

Panel = tuple[Where, Values]

_COMPARED = ("reference", "prediction", "uncontrolled", "controlled", "wanted")
_WIDTH, _WIDEST = 10.0, 4.0  # inches: of the picture, and of a panel

#: Perceptually uniform for fields; darker for larger errors; white at zero for signed errors.
_FIELD, _ERROR, _SIGNED_ERROR = "viridis", "magma_r", "RdBu_r"


def plot_comparison(
    space: Where,
    fields: Mapping[str, Values | Panel],
    path: str | os.PathLike,
    *,
    columns: int = 5,
    title: str = "",
    one_scale: bool = False,
) -> None:
    """Draw fields side by side to a PNG file, one panel each, entitled with its name.

    Names carry meaning. "reference u" and "prediction u" share a colour scale, "uncontrolled u", "controlled u" and "wanted u" do, and a
    bare "prediction" does with the first reference. A name with "error" in it has a scale symmetric about zero if the error has both
    signs, from zero otherwise. A name with "boundary" in it is drawn along the boundary only.

    Args:
        space: a finite-element space or a grid.
        fields: one field ``(num_dofs,)`` or ``(channel, x, y)`` a panel, or a pair of another space or grid and a field of that.
        columns: panels in a row, at most.
        one_scale: whether all panels share one scale, whatever their names.

    Raises:
        InputError: there are no fields, or as for :func:`plot_field`.
        FileError: the file cannot be written.

    Example:
        >>> from thalweg.fem import Grid
        >>> grid = Grid((65, 65))
        >>> x, y = grid.coordinates().numpy()
        >>> u = np.sin(3 * x) * y
        >>> plot_comparison(grid, {"reference u": u[None], "prediction u": u[None] + 0.1, "error of u": u[None] * 0 + 0.1}, "u.png")
    """
    if not fields:
        raise InputError("There are no fields to compare; pass at least one.")
    panels = {name: field if isinstance(field, tuple) else (space, field) for name, field in fields.items()}
    figure, axes = arrange(panels, columns, title)
    everything = [drawn_range(*panel) for panel in panels.values()] if one_scale else []
    scales = {name: scale(name, everything) if one_scale else common_scale(name, panels) for name in panels}
    for ax, (name, (where, u)) in zip(axes, panels.items(), strict=True):
        limits, colours = scales[name]
        drawn = draw(ax, where, u, None if "boundary" in name else limits, colours, boundary="boundary" in name)
        draw_bar(figure, ax, drawn, bar_label(name, panels))
    _show_same_section(axes)
    save(figure, path)


def _show_same_section(axes: Sequence[Axes]) -> None:
    """Domains of about one size, as shape optimisation has them, are drawn to one scale."""
    low, high = np.array([[(ax.get_xlim()[i], ax.get_ylim()[i]) for i in (0, 1)] for ax in axes]).swapaxes(0, 1)
    sizes = high - low
    if (sizes.max(0) < 2 * sizes.min(0)).all():
        for ax in axes:
            ax.set(xlim=(low[:, 0].min(), high[:, 0].max()), ylim=(low[:, 1].min(), high[:, 1].max()))


def arrange(panels: Mapping[str, Panel], columns: int, title: str = "") -> tuple[Figure, list[Axes]]:
    """A figure with axes for each panel in rows, entitled, only the first of a row with numbers on the left."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    columns = -(-len(panels) // rows)  # rows of one length, as far as they can be
    width = min(_WIDTH / columns, _WIDEST)
    height = (
        (width - 0.35) * max(size[1] / size[0] for size in (extent(where) for where, _ in panels.values())) + 1.15 + 0.07 * width
    )
    figure = Figure(figsize=(columns * width, rows * height + (0.3 if title else 0)), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for i, (ax, name) in enumerate(zip(axes, panels, strict=False)):
        ax.set_title(name, fontsize=10)
        ax.tick_params(labelsize=8)
        ax.xaxis.labelpad = 1
        ax.yaxis.label.set_visible(i % columns == 0)
        ax.tick_params(labelleft=i % columns == 0)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, axes[: len(panels)]


def common_scale(name: str, panels: Mapping[str, Panel]) -> tuple[tuple[float, float], str]:
    """Limits and colours of a panel, shared by those that are compared of one field."""
    return scale(name, [drawn_range(*panels[other]) for other in compared(name, panels)])


def compared(name: str, panels: Iterable[str]) -> list[str]:
    """The panels that share a scale with this one, itself among them."""
    names = list(panels)
    alike = [other for other in names if _is_compared(name) and _symbol(other, names) == _symbol(name, names)]
    return alike or [name]


def bar_label(name: str, panels: Mapping[str, Panel]) -> str:
    """What the colours of a panel mean."""
    symbol = _symbol(name, panels)
    if not is_vector(*panels[name]):
        return symbol
    return f"|{symbol}|" if symbol != name else "magnitude"


def draw_bar(figure: Figure, ax: Axes, drawn: ScalarMappable, label: str) -> None:
    """A colour bar below, with three numbers."""
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


def scale(name: str, ranges: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], str]:
    """Limits and colours that suit fields with all these ranges."""
    low, high = min(a for a, _ in ranges), max(b for _, b in ranges)
    if "error" not in name:
        return (low, high), _FIELD
    bound = max(abs(low), abs(high)) or 1.0
    # The interpolant of a magnitude may dip below zero a little.
    return ((0.0, bound), _ERROR) if low >= -0.1 * high else ((-bound, bound), _SIGNED_ERROR)
