"""Pictures of meshes and of their named boundary parts."""

import os
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ..fem import Mesh
from .edges import edge_curves, tagged
from .figure import draw_outline, label_axes, require_two_dimensions, save

#: Distinct also for colour-blind readers (Okabe and Ito), most needed first.
TAG_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")

_CELL_EDGES = "#aab2bd"


def plot_mesh(mesh: Mesh, path: str | os.PathLike, title: str = "") -> None:
    """Draw a two-dimensional mesh, each tagged boundary part in its colour, to a PNG file.

    Raises:
        InputError: the mesh is not two-dimensional.
        FileError: the file cannot be written.
    """
    figure = Figure(figsize=(6.4, 5), layout="constrained")
    ax = figure.subplots()
    draw_mesh(ax, mesh)
    ax.set_title(title or f"{mesh.num_cells} {mesh.cell_type}s, {mesh.num_points} points", fontsize=10)
    save(figure, path)


def draw_mesh(ax: Axes, mesh: Mesh) -> None:
    """The same as :func:`plot_mesh`, on axes of the caller's."""
    require_two_dimensions(mesh, "this one")
    num_edges = len(mesh.vertices)
    cells, local = np.divmod(np.arange(mesh.num_cells * num_edges), num_edges)
    ax.add_collection(LineCollection(list(edge_curves(mesh, cells, local)), colors=_CELL_EDGES, linewidths=0.5))
    draw_outline(ax, mesh)
    for tag, colour in zip(mesh.facets, cycle(TAG_COLOURS)):
        curves = edge_curves(mesh, *tagged(mesh, [tag]))
        ax.add_collection(LineCollection(list(curves), colors=colour, linewidths=2.5, capstyle="round", label=tag))
    label_axes(ax, mesh)
    if mesh.facets:
        ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, title="boundary", alignment="left")
