"""Curves of numbers: over time, over wave numbers, over mesh sizes."""

import os
from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from ..errors import InputError
from .figure import INK, number_decades, save
from .mesh import TAG_COLOURS

_ROUNDING = 1e-13  # shares of the energy below it are not drawn: single precision has no more digits

#: Abscissae and ordinates of a curve.
Curve = tuple[ArrayLike, ArrayLike]


def plot_over_time(
    curves: Mapping[str, Curve], path: str | os.PathLike, *, label: str, logarithmic: bool = False, time: str = "time"
) -> None:
    """Draw quantities over time, drag, lift, energy or the error of a rollout, to a PNG file.

    A curve with "reference" in its name is black and dashed. Names stand above the curves, which may be anywhere; one that is the label
    of the ordinate needs none.

    Args:
        curves: times and values by name.
        label: of the ordinate, with its unit.

    Raises:
        InputError: no curves, lengths that differ, values that are not finite.
        FileError: the file cannot be written.
    """
    figure, ax = _axes()
    for name, (x, y), colour in _numbered(curves):
        reference = "reference" in name
        ax.plot(x, y, "--" if reference else "-", color=INK if reference else colour, linewidth=1.5, label=name)
    if logarithmic:
        ax.set_yscale("log")
    ax.set(xlabel=time, ylabel=label)
    ax.margins(x=0)
    if all((np.asarray(x) % 1 == 0).all() for x, _ in curves.values()):
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    _finish(figure, ax, path, above=True)


def plot_spectra(curves: Mapping[str, Curve], path: str | os.PathLike, *, slopes: Mapping[str, float] | None = None) -> None:
    """Draw energy spectra over the wave number, both axes logarithmic, to a PNG file.

    Args:
        curves: wave numbers and energies by name; see :func:`thalweg.visualization.energy_spectrum`.
        slopes: named exponents that are drawn for comparison, such as ``{"k⁻³": -3}``.

    Raises:
        InputError, FileError: as for :func:`plot_over_time`.
    """
    figure, ax = _axes()
    for name, (x, y), colour in _numbered(curves):
        shown = (x > 0) & (y > 0)
        reference = "reference" in name
        ax.plot(x[shown], y[shown], "--" if reference else "-", color=INK if reference else colour, linewidth=1.5, label=name)
    k, E = (np.asarray(part, dtype=float) for part in next(iter(curves.values())))
    for name, slope in (slopes or {}).items():
        ends = np.array([k[k > 0].min() * 2, k.max() / 2])
        height = np.interp(ends[0], k, E) * 3
        ax.plot(ends, height * (ends / ends[0]) ** slope, ":", color="#777777", linewidth=1.2, label=name)
    ax.set(xscale="log", yscale="log", xlabel="wave number", ylabel="energy")
    ax.set_ylim(bottom=max(ax.get_ylim()[0], _ROUNDING * float(E.max())))
    _finish(figure, ax, path)


def plot_convergence(
    curves: Mapping[str, Curve], path: str | os.PathLike, *, size: str = "mesh size h", error: str = "relative error"
) -> dict[str, float]:
    """Draw errors over mesh sizes or time steps, both axes logarithmic, to a PNG file; the legend has the fitted orders.

    Returns:
        The order of each curve, the slope of the least-squares line.

    Raises:
        InputError, FileError: as for :func:`plot_over_time`; or errors that are not positive.

    Example:
        >>> h = np.array([0.1, 0.05, 0.025])
        >>> round(plot_convergence({"u": (h, 3 * h**2)}, "orders.png")["u"], 6)
        2.0
    """
    figure, ax = _axes()
    orders = {}
    for name, (x, y), colour in _numbered(curves):
        if len(x) < 2 or (x <= 0).any() or (y <= 0).any():
            raise InputError(f"{name!r} needs two or more positive sizes and errors to have an order.")
        orders[name] = float(np.polyfit(np.log(x), np.log(y), 1)[0])
        ax.plot(x, y, "o-", color=colour, linewidth=1.5, markersize=5, label=f"{name}, order {orders[name]:.2f}")
    ax.set(xscale="log", yscale="log", xlabel=size, ylabel=error)
    sizes = sorted({float(h) for x, _ in curves.values() for h in np.asarray(x)})
    if len(sizes) <= 8:
        ax.set_xticks(sizes, labels=[f"{h:.3g}" for h in sizes])
        ax.xaxis.set_minor_formatter(NullFormatter())
    _finish(figure, ax, path)
    return orders


def _numbered(curves: Mapping[str, Curve]):
    """Curves as arrays with their colours."""
    if not curves:
        raise InputError("There are no curves to draw; pass at least one.")
    for (name, (x, y)), colour in zip(curves.items(), cycle(TAG_COLOURS)):
        xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        if xs.shape != ys.shape or xs.ndim != 1 or not len(xs):
            raise InputError(
                f"Curve {name!r} has abscissae of shape {xs.shape} and ordinates of shape {ys.shape}; they must agree."
            )
        if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
            raise InputError(f"Curve {name!r} has values that are not finite.")
        yield name, (xs, ys), colour


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    return figure, figure.subplots()


def _finish(figure: Figure, ax: Axes, path: str | os.PathLike, above: bool = False) -> None:
    number_decades(ax, "y")
    ax.grid(visible=True, color="#dddddd", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    names = [line.get_label() for line in ax.lines]
    if above and names != [ax.get_ylabel()]:
        figure.legend(loc="outside upper left", ncols=min(4, len(names)), frameon=False, fontsize=9)
    elif not above:
        ax.legend(frameon=False, fontsize=9)
    save(figure, path)
