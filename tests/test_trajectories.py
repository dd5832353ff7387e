"""Pictures and files of trajectories, fields on grids, histories, spectra and orders."""

import math
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from xml.etree import ElementTree

import firedrake as fd
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from thalweg.commands.plot import _draw_film
from thalweg.commands.run import Run
from thalweg.errors import InputError
from thalweg.fem import Grid, export
from thalweg.visualization import (
    animate,
    energy_spectrum,
    plot_comparison,
    plot_convergence,
    plot_grid_field,
    plot_over_time,
    plot_spectra,
    read_vtu,
    write_pvd,
)

GRID = Grid((24, 16), (3.0, 2.0), location="centre")
TIMES = np.linspace(0, 1, 5)


def wave(grid: Grid = GRID) -> torch.Tensor:
    """A wave that moves to the right, ``(time, 1, x, y)``."""
    x = grid.coordinates()[0]
    return torch.stack([torch.sin(2 * (x - float(t))) for t in TIMES])[:, None]


def test_a_grid_is_drawn_with_x_to_the_right_and_y_up():
    ax = Figure().subplots()
    u = torch.zeros(1, 24, 16)
    u[0, -1, 0] = 1
    drawn = plot_grid_field(ax, GRID, u)
    image = drawn.get_array()
    assert image.shape == (16, 24)
    assert image[0, -1] == 1
    assert drawn.get_extent() == [0, 3, 0, 2]
    assert drawn.origin == "lower"


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("location", ["vertex", "centre"])
def test_the_middles_of_pixels_are_the_points_of_the_grid(location: str, periodic: bool):
    grid = Grid((9, 6), (1.5, 1.0), location=location, periodic=(periodic, False))
    drawn = plot_grid_field(Figure().subplots(), grid, grid.coordinates()[:1])
    left, right, low, high = drawn.get_extent()
    rows, columns = drawn.get_array().shape
    assert columns == 9 + periodic  # up to the end of the period
    for first, last, n, points in ((left, right, columns, grid.axes()[0]), (low, high, rows, grid.axes()[1])):
        middles = first + (np.arange(n) + 0.5) * (last - first) / n
        np.testing.assert_allclose(middles[: len(points)], points, atol=1e-6)


def test_vectors_are_drawn_by_their_magnitude_and_boxes_by_a_section():
    ax = Figure().subplots()
    vector = torch.stack([torch.full((24, 16), 3.0), torch.full((24, 16), -4.0)])
    assert np.allclose(plot_grid_field(ax, GRID, vector).get_array(), 5)
    assert ax.collections  # arrows
    box = Grid((4, 5, 6))
    u = box.coordinates()[1:2]
    ax = Figure().subplots()
    drawn = plot_grid_field(ax, box, u, section=(0, 0.5))
    assert np.allclose(drawn.get_array(), u[0, 2].T)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("y", "z")


def test_grids_and_spaces_stand_side_by_side_on_one_scale(tmp_path: Path):
    V = export({"V": fd.FunctionSpace(fd.UnitSquareMesh(4, 4), "CG", 2)})["V"]
    u = V.interpolate(lambda x: x[:, 0])
    grid = Grid((9, 9))
    plot_comparison(V, {"reference u": u, "prediction u": (grid, 1.5 * grid.coordinates()[:1])}, tmp_path / "both.png")
    assert Image.open(tmp_path / "both.png").size[0] > 1000


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_a_trajectory_moves_frame_by_frame(tmp_path: Path, suffix: str):
    path = tmp_path / f"wave.{suffix}"
    animate({"reference u": (GRID, wave()), "prediction u": (GRID, 0.5 * wave())}, TIMES, path, per_second=5)
    if suffix == "mp4":
        from imageio_ffmpeg import get_ffmpeg_exe

        ffmpeg = shutil.which("ffmpeg") or get_ffmpeg_exe()
        subprocess.run([ffmpeg, "-v", "error", "-i", path, tmp_path / "frame%d.png"], check=True)
        frames = [np.asarray(Image.open(tmp_path / f"frame{i}.png").convert("L"), float) for i in range(1, 6)]
        assert not (tmp_path / "frame6.png").exists()
    else:
        gif = Image.open(path)
        assert gif.n_frames == 5
        assert gif.info["duration"] == 200
        frames = []
        for i in range(5):
            gif.seek(i)
            frames.append(np.asarray(gif.convert("L"), float))
    changes = [np.abs(a - b).mean() for a, b in pairwise(frames)]
    assert min(changes) > 1


def test_a_series_is_one_file_a_time_and_an_index(tmp_path: Path):
    mesh = fd.UnitSquareMesh(3, 3)
    disc = export({"V": fd.VectorFunctionSpace(mesh, "CG", 2), "Q": fd.FunctionSpace(mesh, "CG", 1)})
    u = torch.randn(5, disc["V"].num_dofs)
    p = torch.randn(5, disc["Q"].num_dofs)
    write_pvd(tmp_path / "flow.pvd", disc["V"], {"u": u, "p": (disc["Q"], p)}, TIMES)
    sets = ElementTree.parse(tmp_path / "flow.pvd").getroot().findall("Collection/DataSet")
    assert [float(entry.attrib["timestep"]) for entry in sets] == TIMES.tolist()
    last = read_vtu(tmp_path / sets[-1].attrib["file"])
    assert last.cells[0].type == "triangle6"
    assert np.isclose(np.abs(last.point_data["u"]).max(), u[-1].abs().max())
    with pytest.raises(InputError, match="one frame for each of the 5 times"):
        write_pvd(tmp_path / "flow.pvd", disc["V"], {"u": u[:4]}, TIMES)
    with pytest.raises(InputError, match=r"something\.pvd"):
        write_pvd(tmp_path / "flow.vtu", disc["V"], {"u": u}, TIMES)


@pytest.mark.parametrize("shape", [(16,), (16, 12), (8, 12, 10)])
def test_shells_of_the_spectrum_add_up_to_the_energy(shape: tuple[int, ...]):
    grid = Grid(shape, tuple(range(1, len(shape) + 1)), True)
    u = torch.randn(3, 2, *shape, generator=torch.Generator().manual_seed(0))
    _, E = energy_spectrum(grid, u)
    mean = u.double().square().sum(1).flatten(1).mean(1) / 2
    assert torch.allclose(E.sum(-1), mean)


def test_a_mode_is_in_the_shell_of_its_wave_number():
    grid = Grid((32, 32), periodic=True)
    x, y = grid.coordinates(torch.float64)
    k, E = energy_spectrum(grid, torch.sin(2 * math.pi * (3 * x + 4 * y))[None])
    assert E.argmax() == 5
    assert k[5] == 5
    assert E[5] == pytest.approx(0.25)
    with pytest.raises(InputError, match="periodic along each axis"):
        energy_spectrum(GRID, wave())


def test_orders_are_fitted(tmp_path: Path):
    h = np.array([0.2, 0.1, 0.05])
    orders = plot_convergence({"linear": (h, 3 * h**2), "quadratic": (h, h**3)}, tmp_path / "orders.png")
    assert orders == pytest.approx({"linear": 2, "quadratic": 3})
    with pytest.raises(InputError, match="positive sizes and errors"):
        plot_convergence({"none": (h, 0 * h)}, tmp_path / "orders.png")


def test_histories_and_spectra_become_pictures(tmp_path: Path):
    plot_over_time({"reference drag": (TIMES, TIMES**2), "drag": (TIMES, TIMES)}, tmp_path / "drag.png", label="drag coefficient")
    k = np.arange(20.0)
    plot_spectra({"reference": (k, np.maximum(k, 1) ** -3)}, tmp_path / "spectrum.png", slopes={"k⁻³": -3})
    for name in ("drag", "spectrum"):
        assert Image.open(tmp_path / f"{name}.png").size == (1400, 760)
    with pytest.raises(InputError, match="no curves"):
        plot_over_time({}, tmp_path / "none.png", label="nothing")
    with pytest.raises(InputError, match="not finite"):
        plot_over_time({"u": (TIMES, np.full(5, np.nan))}, tmp_path / "none.png", label="nothing")


def test_wrong_input_is_explained(tmp_path: Path):
    with pytest.raises(InputError, match=r"\(channel, 24, 16\)"):
        plot_grid_field(Figure().subplots(), GRID, wave())
    with pytest.raises(InputError, match="is a curve"):
        plot_grid_field(Figure().subplots(), Grid((5,)), torch.zeros(1, 5))
    with pytest.raises(InputError, match="one frame for each of the 5 times"):
        animate({"u": (GRID, wave()[:3])}, TIMES, tmp_path / "u.gif")
    with pytest.raises(InputError, match=r"something\.gif or something\.mp4"):
        animate({"u": (GRID, wave())}, TIMES, tmp_path / "u.avi")


def test_films_show_inputs_that_begin_before_the_prediction_at_its_times(tmp_path: Path):
    grid = Grid((9, 9))
    moving = torch.linspace(0, 1, 5).view(5, 1, 1, 1).expand(5, 1, 9, 9)
    panels = {"input f": (grid, moving), "reference u": (grid, moving[2:]), "prediction u": (grid, moving[2:])}
    run = cast(Run, SimpleNamespace(folder=tmp_path))
    assert _draw_film(run, panels, np.array([0.2, 0.3, 0.4]), "gif") == ["rollout.gif"]
    with Image.open(tmp_path / "rollout.gif") as film:
        assert getattr(film, "n_frames", 1) == 3
