"""Uniform grids: norms of multilinear functions, exact and convergent, and files."""

import math
from pathlib import Path

import pytest
import torch

from thalweg.errors import FileError, FingerprintError, InputError
from thalweg.fem import Grid, Grids, load_grids
from thalweg.training import RelativeNorm


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("location", ["vertex", "centre"])
def test_norms_converge_to_those_of_the_function(location: str, periodic: bool):
    errors = []
    for n in (16, 32):
        grid = Grid((n + (location == "vertex" and not periodic), 2 * n), (1.0, 2.0), (periodic, True), location)
        x, y = grid.coordinates(torch.float64)
        u = (torch.sin(2 * math.pi * x) * torch.cos(math.pi * y))[None]
        l2, h1 = grid.norm(u).item() ** 2, grid.norm(u, "H1").item() ** 2
        errors.append((abs(l2 - 0.5), abs(h1 - (0.5 + 0.5 * 5 * math.pi**2))))
    for coarse, fine in zip(*errors, strict=True):
        assert fine < 1e-12 or math.log2(coarse / fine) > 1.9


@pytest.mark.parametrize("shape", [(5,), (5, 4), (3, 4, 5)])
def test_norms_of_linear_functions_are_exact(shape: tuple[int, ...]):
    grid = Grid(shape, tuple(range(1, len(shape) + 1)))
    volume = math.factorial(len(shape))
    u = grid.coordinates(torch.float64)[:1]
    # u = x on the unit interval times the other sides
    assert grid.norm(u).item() ** 2 == pytest.approx(volume / 3, rel=1e-14)
    assert grid.norm(u, "H1").item() ** 2 == pytest.approx(volume / 3 + volume, rel=1e-14)
    assert grid.integral(u).item() == pytest.approx(volume / 2, rel=1e-14)


def test_norms_on_vertices_are_those_of_firedrakes_q1_elements():
    import firedrake as fd

    mesh = fd.RectangleMesh(6, 4, 3.0, 1.0, quadrilateral=True)
    V = fd.FunctionSpace(mesh, "Q", 1)
    points = fd.Function(fd.VectorFunctionSpace(mesh, "Q", 1)).interpolate(fd.SpatialCoordinate(mesh)).dat.data_ro
    grid = Grid((7, 5), (3.0, 1.0))
    u = torch.randn(1, 7, 5, dtype=torch.float64)
    i, j = (torch.from_numpy(points / grid.spacings).round().long()).T
    function = fd.Function(V)
    function.dat.data_wo[:] = u[0, i, j].numpy()
    for norm in ("L2", "H1"):
        assert grid.norm(u, norm).item() == pytest.approx(fd.norm(function, norm), rel=1e-12)


def test_vertex_and_periodic_grids_share_the_points_they_have_in_common():
    closed, wrapped = Grid((9, 9)), Grid((8, 8), periodic=True)
    assert torch.equal(closed.coordinates()[:, :8, :8], wrapped.coordinates())
    assert closed.refined(2).shape == (17, 17)
    assert wrapped.refined(2).shape == (16, 16)


def test_leading_axes_are_a_batch_and_channels_are_summed():
    grid = Grid((4, 6), location="centre")
    u = torch.randn(3, 2, 2, 4, 6)
    assert torch.allclose(grid.norm(u) ** 2, (u**2).sum((-1, -2, -3)) / 24)
    metric = RelativeNorm(grid, "u", "L2")
    assert torch.allclose(metric.each({"u": 1.5 * u}, {"u": u}), torch.tensor(0.5))


def test_grids_come_back_from_their_file(tmp_path: Path):
    grids = Grids({"centres": Grid((8, 4), (2.0, 1.0), (True, False), "centre"), "vertices": Grid((9, 5), (2.0, 1.0))})
    grids.save(tmp_path / "grids.h5")
    again = load_grids(tmp_path / "grids.h5")
    assert again.grids == grids.grids
    assert again.fingerprint == grids.fingerprint
    with pytest.raises(FingerprintError, match="belongs to other grids"):
        Grids({"centres": Grid((8, 4))}).require_fingerprint(grids.fingerprint, "data")
    with pytest.raises(FileError, match="does not exist"):
        load_grids(tmp_path / "none.h5")


def test_wrong_input_is_explained():
    for bad in ({"shape": (1, 4)}, {"shape": (4, 4), "lengths": (1.0,)}, {"shape": (4, 4), "lengths": (1.0, -1.0)}):
        with pytest.raises(InputError, match="one to three axes"):
            Grid(**bad)
    with pytest.raises(InputError, match="one value of periodic"):
        Grid((4, 4, 4), periodic=(True, False))
    with pytest.raises(InputError, match="vertex"):
        Grid((4, 4), location="corner")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"\(\.\.\., channel, 4, 4\), not \(4, 4\)"):
        Grid((4, 4)).norm(torch.zeros(4, 4))
    with pytest.raises(InputError, match="choose L2 or H1"):
        Grid((4, 4)).norm(torch.zeros(1, 4, 4), "Hdiv")
    with pytest.raises(InputError, match=r"no grid 'faces'"):
        Grids({"centres": Grid((4, 4))})["faces"]
