"""A picture of a data set's first samples, drawn beside it."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import InputError
from ..fem import Space
from ..fem.uniform_grid import Grids
from ..storage import atomic
from .dataset import FieldDataset
from .shards import require_shards

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PREVIEW = "preview.png"

log = logging.getLogger("thalweg")


def write_preview(folder: str | os.PathLike, samples: int = 3) -> Path | None:
    """Draw every field of a few samples, trajectories at their first and last frame, into ``preview.png``.

    Where fields cannot be drawn, as on meshes in three dimensions, there is no picture, and the log says why.
    """
    folder = Path(folder)
    first = require_shards(folder)[0]
    data = FieldDataset(folder, range(first.first, min(first.first + samples, first.last)))
    path = folder / PREVIEW
    try:
        if isinstance(data.discretization, Grids):
            _draw_grids(data, path)
        elif max(mesh.dim for mesh in data.discretization.meshes) == 1:
            _draw_lines(data, path)
        else:
            _draw_spaces(data, path)
    except InputError as error:
        log.info("no preview of %s: %s", folder, error)
        return None
    return path


def _panels(data: FieldDataset) -> dict[str, tuple[str, Tensor]]:
    """For each title, the space and the values of one frame of one sample; samples are rows."""
    panels = {}
    for row, sample in enumerate(data.samples):
        for name, values in data.fields.items():
            if name in data.trajectories and data.times is not None:
                for frame in (0, -1):
                    panels[f"{name} of sample {sample}, t = {data.times[frame]:g}"] = (data.spaces[name], values[row, frame])
            else:
                panels[f"{name} of sample {sample}"] = (data.spaces[name], values[row])
    return panels


def _draw_spaces(data: FieldDataset, path: Path) -> None:
    from ..visualization import plot_comparison

    panels = {title: (data.discretization[space], values) for title, (space, values) in _panels(data).items()}
    first = next(iter(panels.values()))[0]
    plot_comparison(first, panels, path, columns=len(panels) // len(data))  # pyright: ignore[reportArgumentType]


def _draw_lines(data: FieldDataset, path: Path) -> None:
    """Dofs on an interval over their points."""
    panels = _panels(data)
    figure = _figure(2.8, 1.6, len(panels) // len(data), len(data))
    for ax, (title, (name, values)) in zip(figure.axes, panels.items(), strict=True):
        space = data.discretization[name]
        assert isinstance(space, Space)
        x = space.dof_points[:, 0].numpy()
        order = x.argsort()
        ax.plot(x[order], values.numpy()[order])
        _entitle(ax, title)
    _save(figure, path)


def _draw_grids(data: FieldDataset, path: Path) -> None:
    """One channel a panel, vectors by their magnitude."""
    panels = _panels(data)
    assert isinstance(data.discretization, Grids)
    boxes = [data.discretization[name].lengths for name in data.spaces.values()]
    aspect = min(2.0, max(box[1] / box[0] if len(box) > 1 else 0.6 for box in boxes))
    figure = _figure(2.8, 2.1 * aspect + 0.5, len(panels) // len(data), len(data))
    for ax, (title, (name, values)) in zip(figure.axes.copy(), panels.items(), strict=True):
        grid = data.discretization[name]
        shown = (values[0] if len(values) == 1 else values.square().sum(0).sqrt()).numpy()
        if grid.dim == 1:
            ax.plot(grid.axes()[0].numpy(), shown)
        else:
            middle = shown if grid.dim == 2 else shown[..., shown.shape[-1] // 2]
            image = ax.imshow(middle.T, origin="lower", extent=(0, grid.lengths[0], 0, grid.lengths[1]))
            figure.colorbar(image, ax=ax, aspect=15).ax.tick_params(labelsize=7)
        _entitle(ax, title)
    _save(figure, path)


def _figure(width: float, height: float, columns: int, rows: int) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.subplots(rows, columns, squeeze=False)
    return figure


def _entitle(ax: "Axes", title: str) -> None:
    ax.set_title(title, fontsize=8)
    ax.tick_params(labelsize=7)


def _save(figure: "Figure", path: Path) -> None:
    with atomic(path) as partial:
        figure.savefig(partial, format="png", dpi=110, bbox_inches="tight")
