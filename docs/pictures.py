"""The pictures of the documentation that need no training: a mesh and its boundaries, fields of several elements, a body, a film, curves.

python docs/pictures.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import firedrake as fd
import numpy as np
import torch
from indexed_colours import shrink
from matplotlib.figure import Figure
from matplotlib.image import imread

import thalweg
from thalweg import fem, visualization
from thalweg.fem import Grid
from thalweg.solvers.grid import VorticityEquation
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
    shrink(Path(folder) / "elements.png")
    draw_body(Path(folder))
    draw_trajectories(Path(folder))
    draw_convergence(Path(folder))


def draw_trajectories(folder):
    """Two vortices that merge, on 96² points and on fewer: a film, the error over time, and spectra."""
    fine, interval, frames, sizes = 96, 0.15, 27, (16, 24, 32, 48)
    grids = {points: Grid((points, points), periodic=(True, True)) for points in (*sizes, fine)}
    x, y = grids[fine].coordinates(torch.float64)
    w = sum(8 * torch.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.07**2) for a, b in ((0.41, 0.46), (0.59, 0.54)))

    def trajectory(points):
        start = w[None, None, :: fine // points, :: fine // points]
        equation = VorticityEquation((points, points), viscosity=2e-4, dtype=torch.float64)
        return equation.solve(start - start.mean(), interval, frames, dt=0.01)[0]

    reference, found = trajectory(fine), {points: trajectory(points) for points in sizes}
    at = {points: reference[..., :: fine // points, :: fine // points] for points in sizes}
    times = interval * torch.arange(frames + 1)
    film = {"reference w": at[48], "prediction w": found[48], "error of w": found[48] - at[48]}
    visualization.animate({name: (grids[48], u) for name, u in film.items()}, times.tolist(), folder / "rollout.gif")
    errors = {n: grids[n].norm(found[n] - at[n], "L2") / grids[n].norm(at[n], "L2") for n in sizes}
    curves = {f"{points}² points": (times[1:], error[1:]) for points, error in errors.items()}
    visualization.plot_over_time(curves, folder / "error_over_time.png", label="relative L² error of w", logarithmic=True)
    last = {"reference, 96² points": (fine, reference[-1])} | {f"{n}² points": (n, found[n][-1]) for n in sizes}
    spectra = {name: visualization.energy_spectrum(grids[n], u) for name, (n, u) in last.items()}
    visualization.plot_spectra(spectra, folder / "spectra.png")


def draw_convergence(folder):
    """Interpolation by elements of several degrees."""
    cells, curves = (4, 8, 16, 32), {}
    for degree in (1, 2, 3):
        errors = []
        for n in cells:
            V = fd.FunctionSpace(fd.UnitSquareMesh(n, n), "Lagrange", degree)
            x, y = fd.SpatialCoordinate(V.mesh())
            u = fd.sin(4 * x) * fd.cos(3 * y)
            errors.append(fd.errornorm(u, fd.Function(V).interpolate(u)) / fd.norm(u))
        curves[f"degree {degree}"] = ([1 / n for n in cells], errors)
    visualization.plot_convergence(curves, folder / "convergence.png", error="relative L² error")


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
