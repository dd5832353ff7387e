"""Problems and random fields against what analysis says of them."""

from pathlib import Path

import firedrake as fd
import numpy as np
import pytest
from scipy.special import k1

from thalweg.errors import InputError
from thalweg.solvers import MaternField, Poisson

TAGS = ("left", "right", "bottom", "top", "notch", "hole")


@pytest.fixture(scope="module")
def samples() -> tuple[np.ndarray, np.ndarray]:
    """800 Matérn fields of length 0.3 on a unit square that is the middle of a larger one, and the nodes there."""
    mesh = fd.RectangleMesh(32, 32, 1.5, 1.5, originX=-0.5, originY=-0.5)
    V = fd.FunctionSpace(mesh, "CG", 1)
    points = fd.Function(fd.VectorFunctionSpace(mesh, "CG", 1)).interpolate(fd.SpatialCoordinate(mesh)).dat.data_ro
    inside = ((points > -0.01) & (points < 1.01)).all(axis=1)
    field = MaternField(V, length=0.3, smoothness=1, deviation=2.0)
    rng = np.random.default_rng(0)
    return points[inside], np.stack([field.sample(rng).dat.data_ro[inside] for _ in range(800)])


def test_matern_fields_have_the_given_deviation(samples: tuple[np.ndarray, np.ndarray]):
    _, fields = samples
    assert abs(fields.mean()) < 0.1
    assert np.sqrt((fields**2).mean()) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("distance", [0.0625, 0.125, 0.25, 0.375])
def test_matern_fields_have_the_matern_covariance(distance: float, samples: tuple[np.ndarray, np.ndarray]):
    points, fields = samples
    offset = points[None, :, :] - points[:, None, :]
    i, j = np.nonzero((np.abs(offset[..., 0] - distance) < 1e-9) & (np.abs(offset[..., 1]) < 1e-9))
    assert len(i) > 100
    correlation = (fields[:, i] * fields[:, j]).mean() / (fields**2).mean()
    kappa_r = np.sqrt(8) / 0.3 * distance
    assert correlation == pytest.approx(kappa_r * k1(kappa_r), abs=0.04)


def test_a_matern_field_depends_on_its_random_numbers_only():
    V = fd.FunctionSpace(fd.UnitSquareMesh(4, 4), "CG", 2)
    field = MaternField(V, 0.3)
    a = field.sample(np.random.default_rng(1)).dat.data_ro.copy()
    b = field.sample(np.random.default_rng(2)).dat.data_ro.copy()
    assert (field.sample(np.random.default_rng(1)).dat.data_ro == a).all()
    assert not np.allclose(a, b)


def test_matern_fields_without_a_whole_power_are_refused():
    V = fd.FunctionSpace(fd.UnitSquareMesh(2, 2), "CG", 1)
    with pytest.raises(InputError, match="fractional power"):
        MaternField(V, 0.3, smoothness=0.5)
    with pytest.raises(InputError, match="positive length"):
        MaternField(V, -1)


def test_poisson_converges_at_the_rates_of_its_elements():
    errors = []
    for refinements in (0, 1, 2):
        problem = Poisson("plate_with_hole.msh", TAGS, degree=2, refinements=refinements)
        V = problem.spaces["V"]
        x, y = fd.SpatialCoordinate(V.mesh())
        exact = fd.sin(2 * x) * fd.exp(y)
        f = fd.Function(V).interpolate(3 * exact)
        u = problem.solve({"f": f, "g": fd.Function(V).interpolate(exact)})["u"]
        errors.append((fd.errornorm(exact, u, "L2"), fd.errornorm(exact, u, "H1")))
    rates = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert (rates[:, 0] > 2.8).all()
    assert (rates[:, 1] > 1.9).all()


def test_poisson_agrees_with_the_published_centre_value(tmp_path: Path):
    """u(½, ½) = 0.0736713532 for f = 1 and u = 0 on the boundary of the unit square."""
    import meshio

    n = 16
    grid = np.linspace(0, 1, n + 1)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    corner = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    triangles = np.concatenate([corner[:, None] + [0, n + 1, n + 2], corner[:, None] + [0, n + 2, 1]])
    sides = [
        np.stack([np.flatnonzero(points[:, d] == v)[:-1], np.flatnonzero(points[:, d] == v)[1:]], 1)
        for d in (0, 1)
        for v in (0, 1)
    ]
    lines = np.concatenate(sides)
    tags = [np.full(len(lines), 7), np.full(len(triangles), 1)]
    mesh = meshio.Mesh(
        points, {"line": lines, "triangle": triangles}, cell_data={"gmsh:physical": tags, "gmsh:geometrical": tags}
    )
    mesh.field_data = {"wall": np.array([7, 1]), "square": np.array([1, 2])}
    meshio.write(tmp_path / "square.msh", mesh, file_format="gmsh22", binary=False)
    problem = Poisson(str(tmp_path / "square.msh"), ["wall"], degree=2, refinements=1)
    V = problem.spaces["V"]
    u = problem.solve({"f": fd.Function(V).assign(1), "g": fd.Function(V)})["u"]
    (centre,) = fd.PointEvaluator(V.mesh(), [[0.5, 0.5]]).evaluate(u)
    assert centre == pytest.approx(0.0736713532, abs=2e-7)


def test_boundary_data_vanish_inside_and_reach_the_solution_exactly():
    problem = Poisson("plate_with_hole.msh", TAGS, refinements=0)
    inputs = problem.random_inputs(np.random.default_rng(0))
    u = problem.solve(inputs)["u"]
    nodes = problem.spaces["V"].boundary_nodes("on_boundary")
    g = inputs["g"].dat.data_ro
    assert (u.dat.data_ro[nodes] == g[nodes]).all()
    assert np.abs(g[nodes]).min() > 0
    assert (np.delete(g, nodes) == 0).all()


def test_natural_conditions_hold_where_no_tag_is_given():
    problem = Poisson("plate_with_hole.msh", ["left"], degree=2, refinements=1)
    V = problem.spaces["V"]
    u = problem.solve({"f": fd.Function(V), "g": fd.Function(V).assign(3)})["u"]
    assert np.abs(u.dat.data_ro - 3).max() < 1e-10
