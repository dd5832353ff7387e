"""Fields on an interval, as curves side by side."""

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ..errors import InputError
from ..fem import Grid, Space
from ..fem.reference_cell import equispaced, positions
from .comparison import compared
from .evaluation import values
from .figure import save

Where = Space | Grid

_PIECES = 8  # of a cell


def plot_lines(panels: Mapping[str, tuple[Where, Tensor | np.ndarray]], path: str | os.PathLike, *, columns: int = 4) -> None:
    """Draw fields on an interval side by side to a PNG file, one panel each, entitled with its name.

    Names mean what they mean to :func:`plot_comparison`. Discontinuous fields keep their jumps, of vectors each component is a curve.

    Args:
        panels: for each title a space on an interval and a field ``(num_dofs,)``, or a grid of one axis and a field ``(channel, x)``.
        columns: panels in a row, at most.

    Raises:
        InputError: there is nothing to draw, or a field is no finite one on an interval.
        FileError: the file cannot be written.
    """
    if not panels:
        raise InputError("There are no fields to draw; pass at least one.")
    curves = {title: _curve(*panel) for title, panel in panels.items()}
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(4.0, 2.6 * columns), 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax, (title, (x, u)) in zip(axes.flat, curves.items(), strict=False):
        ax.plot(x, u, linewidth=1.2)
        alike = [curves[other][1] for other in compared(title, panels)]
        low, high = (float(f([f(y[np.isfinite(y)]) for y in alike])) for f in (np.min, np.max))
        size = max(abs(low), abs(high)) or 1.0
        margin = max(0.05 * (high - low), 0.05 * size if high - low <= 1e-9 * size else 0.0)
        ax.set_ylim(low - margin, high + margin)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("x")
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    save(figure, path)


def _curve(where: Where, u: Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places ``(n,)`` and values ``(n, components)``, with gaps between the cells of a mesh."""
    if isinstance(where, Grid):
        found = np.asarray(u.detach().cpu() if isinstance(u, Tensor) else u, dtype=np.float64)
        if where.dim != 1 or found.shape[1:] != where.shape or not np.isfinite(found).all():
            raise InputError(f"A finite field (channel, {where.shape[0]}) on a grid of one axis is expected, not {found.shape}.")
        return where.axes()[0].double().numpy(), found.T
    if where.mesh.cell_type != "interval" or where.mesh.dim != 1:
        raise InputError(f"Curves are drawn of fields on an interval, not on {where.mesh.cell_type} cells.")
    lattice = equispaced("interval", _PIECES)
    x, found = positions(where.mesh, lattice)[..., 0], values(where, u, lattice)
    order = np.argsort(x, axis=1)
    x, found = np.take_along_axis(x, order, 1), np.take_along_axis(found.reshape(*x.shape, -1), order[..., None], 1)
    cells = np.argsort(x.min(1))
    gap = np.full((len(cells), 1, found.shape[2]), np.nan)
    return np.concatenate([x, x[:, -1:]], 1)[cells].ravel(), np.concatenate([found, gap], 1)[cells].reshape(-1, found.shape[2])
