"""Pictures of elastic bodies in their deformed shape."""

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation
from torch import Tensor

from ..errors import InputError
from ..fem import Space
from ..fem.reference_cell import equispaced, positions, subcells
from .edges import STEPS, edge_lattice, outline
from .evaluation import magnitude, values
from .figure import INK, colour_scale, require_two_dimensions, save

_PIECES = 8  # of a cell's edge
_OUTLINE = "#d62728"

Field = Tensor | np.ndarray


def plot_deformed(
    space: Space,
    displacements: Mapping[str, Field],
    path: str | os.PathLike,
    *,
    compared: Mapping[str, Field] | None = None,
    names: tuple[str, str] = ("reference", "prediction"),
) -> None:
    """Draw a body in its deformed shapes, below each other, coloured by the length of the displacement, to a PNG file.

    Args:
        space: of the displacements: vectors of Lagrange elements in the plane.
        displacements: one field ``(num_dofs,)`` a panel, by its title.
        compared: for panels of the same titles, another displacement, whose outline is drawn dashed.
        names: what the coloured shapes and the dashed outlines are.

    Raises:
        InputError: there is nothing to draw, or a field is no displacement in the plane.
        FileError: the file cannot be written.
    """
    mesh = space.mesh
    require_two_dimensions(mesh, f"the mesh of space {space.name!r}")
    if not displacements or space.element.block_shape != (2,):
        raise InputError(f"Displacements of vectors in the plane are drawn; got {len(displacements)} fields of {space.element}.")
    lattice = equispaced(mesh.cell_type, _PIECES)
    X = positions(mesh, lattice)
    pieces = (subcells(mesh.cell_type, lattice) + len(lattice) * np.arange(mesh.num_cells)[:, None, None]).reshape(-1, 3)
    found = {title: values(space, u, lattice) for title, u in displacements.items()}
    scale = colour_scale(np.stack([magnitude(u) for u in found.values()]), None)
    low = np.min([(X + u).min((0, 1)) for u in [0, *found.values()]], axis=0)
    high = np.max([(X + u).max((0, 1)) for u in [0, *found.values()]], axis=0)
    margin = 0.04 * (high - low).max()
    width = 7.0
    figure = Figure(
        figsize=(width, len(found) * (0.3 + width * 0.85 * (np.ptp([low, high], axis=0) / (high - low).max())[1])),
        layout="constrained",
    )
    axes = figure.subplots(len(found), 1, squeeze=False, sharex=True)[:, 0]
    drawn = None
    for ax, (title, u) in zip(axes, found.items(), strict=True):
        points = (X + u).reshape(-1, 2)
        drawn = ax.tripcolor(
            Triangulation(points[:, 0], points[:, 1], pieces), magnitude(u).ravel(), shading="gouraud", cmap="viridis", norm=scale
        )
        ax.add_collection(LineCollection(_outline(space, None), colors="#aaaaaa", linewidths=0.8, linestyles=":"))
        ax.add_collection(LineCollection(_outline(space, displacements[title]), colors=INK, linewidths=0.8, label=names[0]))
        if compared and title in compared:
            lines = _outline(space, compared[title])
            ax.add_collection(LineCollection(lines, colors=_OUTLINE, linewidths=1.5, linestyles="--", label=names[1]))
        ax.set(aspect="equal", xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))
        ax.set_title(title, fontsize=9, loc="left")
        ax.set_ylabel("y", rotation=0, labelpad=6, va="center")
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    assert drawn is not None
    if compared:
        axes[0].legend(frameon=False, fontsize=8, loc="upper right", ncols=2, bbox_to_anchor=(1.0, 1.25))
    axes[-1].set_xlabel("x")
    figure.colorbar(drawn, ax=list(axes), label="length of the displacement", shrink=0.8)
    save(figure, path)


def _outline(space: Space, u: Field | None) -> list[np.ndarray]:
    """The edges of the boundary, displaced by u: curves ``(points, 2)``."""
    mesh = space.mesh
    cells, local = outline(mesh)
    lattice = edge_lattice(mesh.cell_type, STEPS)
    flat = lattice.reshape(-1, 2)
    points = positions(mesh, flat)
    moved = points if u is None else points + values(space, u, flat)
    return list(moved.reshape(mesh.num_cells, *lattice.shape[:2], 2)[cells, local])
