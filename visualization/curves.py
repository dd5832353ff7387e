"""The course of a training run: losses, validation errors and the learning rate against the epoch."""

import math
import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..errors import InputError
from ..storage import read_rows
from .figure import number_decades, save
from .mesh import TAG_COLOURS

_CLOCKS = ("step", "epoch", "seconds", "seconds_cpu", "time", "seconds_data", "gradient_norm")
_RATE = "lr"
_INSIDE = 4  # curves of which the legend has room beside them


def plot_losses(metrics: str | os.PathLike, path: str | os.PathLike) -> None:
    """Draw the losses and errors that a run's ``metrics.jsonl`` logs, on a logarithmic axis, to a PNG file.

    The abscissa is the epoch, or the step where several rows belong to one epoch. Training curves are dashed; the learning rate has
    an axis of its own below.

    Raises:
        FileError: the log is missing or damaged, or the picture cannot be written. A row cut off at the end is left out.
        InputError: the log has no rows with numbers.
    """
    rows = read_rows(metrics)
    names = list(dict.fromkeys(key for row in rows for key, value in row.items() if key not in _CLOCKS and _is_number(value)))
    curves = {name: _curve(rows, name, _clock(rows)) for name in names}
    if not curves:
        raise InputError(f"{metrics} has no numbers to draw yet; let the run finish an epoch.")
    has_rate = _RATE in curves
    shown = [name for name in names if name != _RATE]
    legend_rows = -(-len(shown) // 2) if len(shown) > _INSIDE else 0
    figure = Figure(figsize=(7, (4.4 if has_rate else 3.6) + 0.2 * legend_rows), layout="constrained")
    axes = figure.subplots(1 + has_rate, 1, sharex=True, squeeze=False, height_ratios=[4, 1][: 1 + has_rate])[:, 0]
    for number, name in enumerate(shown):
        again, colour = divmod(number, len(TAG_COLOURS))
        _draw(axes[0], *curves[name], name, TAG_COLOURS[colour], marker="os^"[again % 3])
    axes[0].set_ylabel("loss, relative error")
    if legend_rows:
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    elif axes[0].lines:
        axes[0].legend(frameon=False, fontsize=9)
    if has_rate:
        _draw(axes[1], *curves[_RATE], _RATE, "#555555")
        axes[1].set_ylabel("learning rate")
        figure.align_ylabels()
    axes[-1].set_xlabel(_clock(rows))
    axes[-1].xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    for ax in axes:
        number_decades(ax, "y")
    save(figure, path)


def _clock(rows: list[dict]) -> str:
    epochs = [row["epoch"] for row in rows if "epoch" in row]
    one_row_each = len(epochs) > 0 and len(set(epochs)) == len(epochs)
    return "epoch" if one_row_each or not any("step" in row for row in rows) else "step"


def _curve(rows: list[dict], name: str, clock: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(row.get(clock, i), row[name]) for i, row in enumerate(rows, start=1) if _is_number(row.get(name))]
    x, y = np.array(points, dtype=float).T
    return x, y


def _draw(ax: Axes, x: np.ndarray, y: np.ndarray, name: str, colour: str, marker: str = "o") -> None:
    label = quantity(name)
    if not (y > 0).any():
        label += " (zero throughout)" if (y == 0).all() else " (not positive)"
    style = "--" if name.startswith("train") else "-"
    every = max(1, len(x) // 30)
    dots = marker if len(x) <= 30 or marker != "o" else None
    ax.plot(
        x, np.where(y > 0, y, np.nan), style, color=colour, label=label, linewidth=1.5, marker=dots, markersize=3, markevery=every
    )
    if (y > 0).any():
        ax.set_yscale("log")
    ax.grid(visible=True, color="#dddddd", linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def quantity(name: str) -> str:
    """``valid_relative_l2`` as "validation: relative L2"."""
    for prefix, phase in (("valid_", "validation: "), ("train_", "training: "), ("test_", "test: ")):
        name = name.replace(prefix, phase, 1) if name.startswith(prefix) else name
    words = name.replace("_", " ").split()
    return " ".join(word.upper() if word in ("l2", "h1", "mse", "rmse") else word for word in words)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
