"""Pictures in three dimensions show the body, its field and nothing else."""

import logging
import sys
from pathlib import Path

import firedrake as fd
import numpy as np
import pytest
import torch
from PIL import Image

from thalweg import fem
from thalweg.commands.field_pictures import draw_fields
from thalweg.errors import InputError
from thalweg.visualization import render, render_comparison, render_field

pv = pytest.importorskip("pyvista")


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


def test_bodies_side_by_side_share_their_scale(tmp_path: Path):
    """Half of the values is half way between the colours of the ends, not at one of them."""
    mesh = fd.UnitCubeMesh(2, 2, 2)
    V = fem.export({"V": fd.FunctionSpace(mesh, "CG", 1)})["V"]
    one = torch.ones(V.num_dofs)
    x = V.points.double()[:, 0]
    panels = {"reference u": (V, x), "prediction u": (V, 0.5 * one), "error of u": (V, 0.5 - x)}
    render_comparison(panels, tmp_path / "u.png")
    picture = np.asarray(Image.open(tmp_path / "u.png").convert("RGB"), float)
    middle = picture[:, picture.shape[1] // 3 : picture.shape[1] * 2 // 3]
    teal = np.abs(middle - [33, 144, 141]).max(-1) < 60  # viridis at 1/2, shaded
    assert teal.sum() > 2000


@pytest.mark.parametrize("installed", [True, False])
def test_what_is_drawn_of_a_body_and_what_is_said_without_pyvista(
    tmp_path: Path, installed: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    if not installed:
        monkeypatch.setitem(sys.modules, "pyvista", None)
    V = fem.export({"V": fd.FunctionSpace(fd.UnitCubeMesh(2, 2, 2), "CG", 1)})["V"]
    u = V.points.double()[:, 0]
    with caplog.at_level(logging.WARNING):
        drawn = draw_fields({"reference u": (V, u), "prediction u": (V, u)}, tmp_path)
    assert drawn == (["render.png"] if installed else [])
    assert installed or "no render.png: Pictures in three dimensions need PyVista" in caplog.text
    grid = fem.Grid((6, 6, 6))
    assert draw_fields({"input a": (grid, grid.coordinates()[:1])}, tmp_path) == ["fields.png", *drawn]


def test_flat_fields_are_sent_to_the_flat_pictures(tmp_path: Path):
    V = fem.export({"V": fd.FunctionSpace(fd.UnitSquareMesh(2, 2), "CG", 1)})["V"]
    with pytest.raises(InputError, match="plot_field"):
        render_field(V, torch.zeros(9), tmp_path / "u.png")
    with pytest.raises(InputError, match="cut or isosurfaces"):
        render_field(V, torch.zeros(9), tmp_path / "u.png", style="wire")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="channel, x, y, z"):
        render_field(fem.Grid((3, 3)), torch.zeros(1, 3, 3), tmp_path / "u.png")


def test_bodies_on_grids_reach_the_sides_of_their_box():
    for grid in (fem.Grid((4, 5, 6), (1.0, 2.0, 3.0), location="centre"), fem.Grid((4, 5, 6), (1.0, 2.0, 3.0), periodic=True)):
        u = grid.coordinates()[:1]
        body = render._body(pv, grid, u)
        assert body.bounds == (0, 1, 0, 2, 0, 3)
        low, high = (body["u"][body.points[:, 0] == x] for x in (0, 1))
        if grid.location == "centre":
            assert (low.min(), high.max()) == (u.min(), u.max())
        else:
            assert (low == high).all()


def test_a_body_without_edges_is_drawn_and_one_without_surfaces_is_not(tmp_path: Path):
    V = fem.export({"V": fd.FunctionSpace(fd.UnitBallMesh(0), "CG", 1)})["V"]
    render_field(V, V.points[:, 0], tmp_path / "ball.png", style="isosurfaces")
    assert (tmp_path / "ball.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="no surfaces of equal value"):
        render_field(V, torch.ones(V.num_dofs), tmp_path / "constant.png", style="isosurfaces")
