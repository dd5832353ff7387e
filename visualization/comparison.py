"""Inputs, reference, prediction and error of one sample, side by side."""

import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import InputError
from .colour_bars import draw_bars
from .figure import save
from .panel import Values, Where, draw, drawn_range, extent, is_vector

Panel = tuple[Where, Values]

#: Limits and the name of a colour map.
Scale = tuple[tuple[float, float], str]

_COMPARED = ("reference", "prediction", "uncontrolled", "controlled", "wanted")
_WIDTH, _HIGHEST = 8.5, 4.0  # inches: of the picture, whose letters are read at a page's width, and of a panel
_LETTER = 0.085  # inches: of a title; panels are wider than their titles

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
    bare "prediction" does with the first reference; what follows "by", as in "prediction u by MgNO", tells whose it is. A name with
    "error" in it has a scale symmetric about zero if the error has both signs, from zero otherwise; errors share it where one field is
    compared. A name with "boundary" in it is drawn along the boundary only. Neighbours with one scale have one colour bar.

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
    everything = [drawn_range(*panel) for panel in panels.values()] if one_scale else []
    scales = {name: scale(name, everything) if one_scale else common_scale(name, panels) for name in panels}
    figure, axes = arrange(panels, columns, title)
    drawn = {}
    for name, ax in axes.items():
        limits, colours = scales[name]
        drawn[name] = draw(ax, *panels[name], None if "boundary" in name else limits, colours, boundary="boundary" in name)
    labels = {name: bar_label(name, panels) for name in panels}
    if one_scale and len(set(labels.values())) > 1:
        labels = dict.fromkeys(labels, "")  # the titles tell
    draw_bars(figure, axes, drawn, labels)
    _show_same_section(list(axes.values()))
    save(figure, path)


def _show_same_section(axes: Sequence[Axes]) -> None:
    """Domains of about one size, as shape optimisation has them, are drawn to one scale."""
    low, high = np.array([[(ax.get_xlim()[i], ax.get_ylim()[i]) for i in (0, 1)] for ax in axes]).swapaxes(0, 1)
    sizes = high - low
    if (sizes.max(0) < 2 * sizes.min(0)).all():
        for ax in axes:
            ax.set(xlim=(low[:, 0].min(), high[:, 0].max()), ylim=(low[:, 1].min(), high[:, 1].max()))


def arrange(panels: Mapping[str, Panel], columns: int, title: str = "") -> tuple[Figure, dict[str, Axes]]:
    """A figure with axes for each panel in rows, entitled, only the first of a row with numbers on the left."""
    rows = _rows(list(panels), columns)
    columns = max(map(len, rows))
    aspect = max(size[1] / size[0] for size in (extent(where) for where, _ in panels.values()))
    width = max(min(_WIDTH / columns, _HIGHEST / min(aspect, 1)), _LETTER * max(map(len, panels)))
    height = (width - 0.35) * aspect + 1.15 + 0.07 * width
    figure = Figure(figsize=(columns * width, len(rows) * height + (0.3 if title else 0)), layout="constrained")
    axes = {}
    for row, places in zip(rows, figure.subplots(len(rows), columns, squeeze=False), strict=True):
        axes |= dict(zip(row, places, strict=False))
        for ax in places[len(row) :]:
            ax.set_axis_off()
    for name, ax in axes.items():
        first = any(row[0] == name for row in rows)
        ax.set_title(name, fontsize=10)
        ax.tick_params(labelsize=8)
        ax.xaxis.labelpad = 1
        ax.yaxis.label.set_visible(first)
        ax.tick_params(labelleft=first)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, axes


def _rows(names: Sequence[str], columns: int) -> list[list[str]]:
    """Names row by row: of one length, as far as they can be, or where several fields are compared, a new row for each of them."""
    several = len({_symbol(name, names) for name in names if _is_compared(name)}) > 1
    if not several:
        columns = -(-len(names) // -(-len(names) // columns))
    rows: list[list[str]] = [[]]
    for name in names:
        if len(rows[-1]) == columns or (several and name.startswith("reference") and rows[-1]):
            rows.append([])
        rows[-1].append(name)
    return rows


def common_scale(name: str, panels: Mapping[str, Panel]) -> Scale:
    """Limits and colours of a panel, shared by those that are compared of one field."""
    return scale(name, [drawn_range(*panels[other]) for other in compared(name, panels)])


def compared(name: str, panels: Iterable[str]) -> list[str]:
    """The panels that share a scale with this one, itself among them."""
    names = list(panels)
    if "error" in name and len({_symbol(other, names) for other in names if _is_compared(other)}) == 1:
        return [other for other in names if "error" in other]
    alike = [other for other in names if _is_compared(name) and _symbol(other, names) == _symbol(name, names)]
    return alike or [name]


def bar_label(name: str, panels: Mapping[str, Panel]) -> str:
    """What the colours of a panel mean."""
    symbol = "error" if "error" in name and len(compared(name, panels)) > 1 else _symbol(name, panels)
    if not is_vector(*panels[name]):
        return symbol
    return f"|{symbol}|" if symbol not in (name, "error") else "magnitude"


def _is_compared(name: str) -> bool:
    return "error" not in name and any(kind in name for kind in _COMPARED)


def _symbol(name: str, panels: Iterable[str]) -> str:
    """What a panel shows: u of "reference u", the same of a bare "prediction", f of "source f"; the whole name of an error."""
    if not _is_compared(name):
        last = name.split()[-1:]
        return last[0] if last and len(last[0]) <= 2 and last[0].isidentifier() and "error" not in name else name
    rest = [
        " ".join(word for word in other.partition(" by ")[0].split() if word not in _COMPARED)
        for other in (name, *panels)
        if _is_compared(other)
    ]
    return next(filter(None, rest), "value")


def scale(name: str, ranges: Sequence[tuple[float, float]]) -> Scale:
    """Limits and colours that suit fields with all these ranges."""
    low, high = min(a for a, _ in ranges), max(b for _, b in ranges)
    if "error" not in name:
        return (low, high), _FIELD
    bound = max(abs(low), abs(high)) or 1.0
    # The interpolant of a magnitude may dip below zero a little.
    return ((0.0, bound), _ERROR) if low >= -0.1 * high else ((-bound, bound), _SIGNED_ERROR)
