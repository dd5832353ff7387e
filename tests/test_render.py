"""Pictures in three dimensions show the body, its field and nothing else."""

from pathlib import Path

import firedrake as fd
import numpy as np
import pytest
import torch
from PIL import Image

from thalweg import fem
from thalweg.errors import InputError
from thalweg.visualization import render_field

pytest.importorskip("pyvista")


def colours(path: Path) -> np.ndarray:
    """The pixels that are neither white nor grey, ``(n, 3)``."""
    pixels = np.asarray(Image.open(path).convert("RGB"), float).reshape(-1, 3)
    return pixels[np.ptp(pixels, axis=1) > 30]


@pytest.mark.parametrize(("hexahedral", "degree"), [(False, 2), (True, 1)])
def test_a_cut_body_shows_its_inside(tmp_path: Path, hexahedral: bool, degree: int):
    """A ball's indicator vanishes on the surface, so its colours come from the faces of the cut alone."""
    mesh = fd.UnitCubeMesh(4, 4, 4, hexahedral=hexahedral)
    V = fem.export({"V": fd.FunctionSpace(mesh, "CG", degree)})["V"]
    r = (V.points.double() - 0.5).norm(dim=1)
    u = torch.where(r < 0.3, 1.0, 0.0)
    render_field(V, u, tmp_path / "cut.png", label="u")
    yellow = colours(tmp_path / "cut.png")[:, :2].min(1) > 200
    assert yellow.sum() > 500
    render_field(V, torch.zeros(V.num_dofs), tmp_path / "zero.png")
    assert len(np.unique(colours(tmp_path / "zero.png"), axis=0)) < 2000


def test_isosurfaces_of_a_vector_on_a_grid(tmp_path: Path):
    grid = fem.Grid((12, 12, 12), location="centre")
    x = grid.coordinates()
    render_field(grid, x - 0.5, tmp_path / "surfaces.png", style="isosurfaces", label="|x|")
    assert len(colours(tmp_path / "surfaces.png")) > 10_000


def test_flat_fields_are_sent_to_the_flat_pictures(tmp_path: Path):
    V = fem.export({"V": fd.FunctionSpace(fd.UnitSquareMesh(2, 2), "CG", 1)})["V"]
    with pytest.raises(InputError, match="plot_field"):
        render_field(V, torch.zeros(9), tmp_path / "u.png")
    with pytest.raises(InputError, match="cut or isosurfaces"):
        render_field(V, torch.zeros(9), tmp_path / "u.png", style="wire")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="channel, x, y, z"):
        render_field(fem.Grid((3, 3)), torch.zeros(1, 3, 3), tmp_path / "u.png")
