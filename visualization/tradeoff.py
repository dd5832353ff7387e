"""Error against time: what a faster operator costs in accuracy, and where the solver stands."""

import os
from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from ..errors import InputError
from .curves import quantity
from .figure import INK, number_decades, save
from .labels import label_points
from .mesh import TAG_COLOURS

#: Name, seconds per sample, error, and deviation of the error.
Point = tuple[str, float, float, float]

_MARKERS = "osD^vP*X"


def plot_tradeoff(
    operators: Sequence[Point], solvers: Sequence[Point], path: str | os.PathLike, *, error: str, reference: float | None = None
) -> None:
    """Draw operators as points, the solver at several resolutions as a line, both axes logarithmic, to a PNG file.

    Args:
        operators, solvers: ``(name, seconds per sample, error, deviation of the error)``.
        error: the metric's name.
        reference: seconds per sample of the solver that made the data, whose error is zero by definition: a vertical line.

    Raises:
        InputError: there is nothing to draw: a logarithmic axis has no place for errors of zero.
        FileError: the file cannot be written.
    """
    shown = [
        [point for point in points if point[1] > 0 and point[2] > 0 and np.isfinite(point[2])] for points in (operators, solvers)
    ]
    if not any(shown):
        raise InputError("There are no positive errors to draw against time.")
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    ax = figure.subplots()
    for (name, seconds, value, deviation), colour, marker in zip(shown[0], cycle(TAG_COLOURS), cycle(_MARKERS)):
        ax.plot(seconds, value, marker, color=colour, markersize=8, label=name, zorder=4)
        if deviation:
            low = min(deviation, 0.9 * value)  # a bar to zero has no end on a logarithmic axis
            ax.errorbar(seconds, value, yerr=[[low], [deviation]], fmt="none", ecolor=colour, capsize=3)
    levels = [(name, seconds, value) for name, seconds, value, _ in sorted(shown[1], key=lambda point: point[2])]
    if levels:
        ax.plot(*zip(*((s, e) for _, s, e in levels), strict=True), "-o", color=INK, linewidth=1, markersize=4, label="solver")
    if reference:
        ax.axvline(reference, color=INK, linewidth=1, linestyle=":", label="solver of the data")
    ax.set(xscale="log", yscale="log", xlabel="seconds per sample", ylabel=quantity(error))
    ax.margins(0.15)
    ax.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    number_decades(ax, "x")
    number_decades(ax, "y")
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    label_points(ax, levels, [(seconds, value) for _, seconds, value, _ in shown[0]])
    save(figure, path)
