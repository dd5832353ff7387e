"""Inputs, reference, prediction and error of one sample, side by side."""

import math
import os
from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ..errors import InputError
from ..fem import Space
from .fields import plot_boundary_field, plot_field, value_range
from .figure import save

_SHARED = ("reference", "prediction")
_WIDTH, _WIDEST = 10.0, 4.0  # inches: of the picture, and of a panel

#: Perceptually uniform for fields; darker for larger errors; white at zero for signed errors.
_FIELD, _ERROR, _SIGNED_ERROR = "viridis", "magma_r", "RdBu_r"


def plot_comparison(
    space: Space,
    fields: Mapping[str, Tensor | np.ndarray | tuple[Space, Tensor | np.ndarray]],
    path: str | os.PathLike,
    *,
    columns: int = 5,
    title: str = "",
) -> None:
    """Draw fields side by side to a PNG file, one panel each, entitled with its name.

    A panel whose name contains "reference" or "prediction" shares its colour scale with the others of that kind. One whose name
    contains "error" has a scale of its own: symmetric about zero when the error has both signs, from zero otherwise. One whose name
    contains "boundary" is drawn along the boundary only.

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
    shared = [value_range(*panel) for name, panel in panels.items() if _is_shared(name)]
    common = (min(low for low, _ in shared), max(high for _, high in shared)) if shared else None
    for i, (ax, (name, (V, u))) in enumerate(zip(axes.flat, panels.items(), strict=False)):
        limits, colours = _scale(name, V, u, common)
        plot = plot_boundary_field if "boundary" in name else plot_field
        drawn = plot(ax, V, u, limits=limits, colours=colours)
        ax.set_title(name, fontsize=10)
        ax.tick_params(labelsize=8)
        ax.xaxis.labelpad = 1
        if i % columns:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
        bar = figure.colorbar(drawn, ax=ax, location="bottom", aspect=18, pad=0.02)
        ticks = np.linspace(*drawn.get_clim(), 3)
        bar.set_ticks(list(ticks), labels=_numbers(ticks))
        bar.set_label(_quantity(name, V, panels), fontsize=8)
        bar.ax.tick_params(labelsize=8, length=2)
        bar.outline.set_visible(False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11)
    save(figure, path)


def _is_shared(name: str) -> bool:
    return any(kind in name for kind in _SHARED)


def _scale(
    name: str, space: Space, u: Tensor | np.ndarray, common: tuple[float, float] | None
) -> tuple[tuple[float, float] | None, str]:
    """Limits and colours of a panel."""
    if "error" not in name:
        return common if _is_shared(name) else None, _FIELD
    low, high = value_range(space, u)
    bound = max(abs(low), abs(high))
    # The interpolant of a magnitude may dip below zero a little.
    return ((0.0, bound), _ERROR) if low >= -0.1 * high else ((-bound, bound), _SIGNED_ERROR)


def _numbers(ticks: np.ndarray) -> list[str]:
    """To a hundredth of their range, so that a nearly vanishing one reads 0."""
    decimals = 2 - math.floor(math.log10(np.ptp(ticks)))
    return [f"{round(x, decimals) + 0.0:.4g}".replace("-", "\N{MINUS SIGN}") for x in ticks]


def _quantity(name: str, space: Space, panels: Iterable[str]) -> str:
    """What a colour bar measures: the symbol that ends a name, as in "source f"; panels on a shared scale share theirs."""
    names = [name, *(other for other in panels if _is_shared(other))] if _is_shared(name) else [name]
    symbols = [words[-1] for words in map(str.split, names) if len(words) > 1 and len(words[-1]) <= 2]
    if space.element.value_shape:
        return f"|{symbols[0]}|" if symbols else "magnitude"
    return symbols[0] if symbols else name
