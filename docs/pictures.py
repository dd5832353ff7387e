"""The pictures of the documentation that need no training: a mesh with named boundaries, fields of several elements on it, a body.

python docs/pictures.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import firedrake as fd
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

import thalweg
from thalweg import fem, visualization
from thalweg.visualization.figure import save
from thalweg.visualization.render import Style

IMAGES = Path(__file__).parent / "images"
PLATE = Path(thalweg.__file__).parent / "data" / "meshes" / "plate_with_hole.msh"


def main(folder=IMAGES):
    mesh = fem.read_mesh(PLATE)
    x, y = fd.SpatialCoordinate(mesh)
    spaces = {
        "P2": fd.FunctionSpace(mesh, "Lagrange", 2),
        "DG1": fd.FunctionSpace(mesh, "DG", 1),
        "RT1": fd.FunctionSpace(mesh, "RT", 1),
        "P2_vector": fd.VectorFunctionSpace(mesh, "Lagrange", 2),
    }
    disc = fem.export(spaces)

    bumps = fd.sin(7 * x) * fd.cos(6 * y)
    rotation = fd.as_vector([0.5 - y, x - 0.5])
    fields = {
        "Lagrange": ("P2", bumps),
        "along the boundary": ("P2", bumps),
        "discontinuous": ("DG1", fd.conditional(x + y < 1, bumps, 1 + x * y)),
        "vectors": ("P2_vector", rotation),
        "Raviart-Thomas": ("RT1", fd.grad(bumps)),
    }
    panels = {}
    for title, (name, expression) in fields.items():
        u = fd.Function(spaces[name])
        u.interpolate(expression) if disc[name].element.is_nodal else u.project(expression)
        panels[title] = (disc[name], torch.from_numpy(u.dat.data_ro.reshape(-1).copy()))
    visualization.plot_mesh(disc["P2"].mesh, Path(folder) / "mesh.png")
    visualization.plot_comparison(disc["P2"], panels, Path(folder) / "elements.png")
    draw_body(Path(folder))


def draw_body(folder):
    """A field on tetrahedra, cut and by its surfaces, side by side."""
    space = fem.export({"V": fd.FunctionSpace(fd.UnitCubeMesh(6, 6, 6), "Lagrange", 2)})["V"]
    x, y, z = space.points.double().T
    u = torch.cos(5 * x) + torch.cos(4 * y) + torch.cos(3 * z)
    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    with TemporaryDirectory() as scratch:
        for ax, style in zip(figure.subplots(1, 2), get_args(Style), strict=True):
            path = Path(scratch) / f"{style}.png"
            visualization.render_field(space, u, path, style=style, label="u")
            ax.imshow(without_margins(imread(path)))
            ax.set_axis_off()
        save(figure, folder / "bodies.png")


def without_margins(picture):
    """The part that is not white, and a little more."""
    shown = (picture[..., :3] < 1).any(2)
    rows, columns = (np.flatnonzero(shown.any(axis)) for axis in (1, 0))
    return picture[max(rows[0] - 20, 0) : rows[-1] + 20, max(columns[0] - 20, 0) : columns[-1] + 20]


if __name__ == "__main__":
    main()
