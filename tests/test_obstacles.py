"""Obstacles in a channel: placing, meshing, and the penalty against a mesh around them."""

import firedrake as fd
import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.solvers.obstacle_flow import ObstacleFlow
from thalweg.solvers.obstacles import Channel, Disc, obstacle_mesh

DISC = Disc(1.0, 0.5, 0.12)


@pytest.fixture(scope="module")
def problem() -> ObstacleFlow:
    return ObstacleFlow(cells=16)


@pytest.fixture(scope="module")
def outside() -> np.ndarray:
    """Points of the channel outside the disc."""
    x, y = np.meshgrid(np.linspace(0.02, 3.98, 100), np.linspace(0.02, 0.98, 25))
    points = np.column_stack([x.ravel(), y.ravel()])
    return points[DISC.distance(*points.T) > 0.01]


def at(u: fd.Function, points: np.ndarray) -> np.ndarray:
    return fd.PointEvaluator(u.function_space().mesh(), points).evaluate(u)


def test_the_penalised_flow_tends_to_that_around_the_obstacle(problem: ObstacleFlow, outside: np.ndarray):
    around = at(problem.body_fitted([DISC], size=0.1, near=0.02)["u"], outside)

    def error(coarse_or_fine: ObstacleFlow) -> float:
        u = coarse_or_fine.solve({"chi": coarse_or_fine.indicator([DISC])})["u"]
        return float(np.linalg.norm(at(u, outside) - around) / np.linalg.norm(around))

    coarse, fine = error(problem), error(ObstacleFlow(cells=24))
    assert coarse < 0.03
    assert fine < 0.02
    assert fine < coarse


def test_fluid_seeps_through_the_obstacle_by_darcys_law(problem: ObstacleFlow):
    """u = −(K/ν) ∇p in the medium: a hundredth of the inflow at this coarse size."""
    flow = problem.solve({"chi": problem.indicator([DISC])})
    permeability = problem.PERMEABILITY / 16**2
    ends = np.array([[DISC.x - 0.03, DISC.y], [DISC.x + 0.03, DISC.y]])
    left, right = at(flow["p"], ends)
    seepage = at(flow["u"], np.array([[DISC.x, DISC.y]]))[0, 0]
    assert seepage == pytest.approx(permeability / problem.viscosity * (left - right) / 0.06, rel=0.3)
    assert seepage < 0.02


def test_a_channel_without_obstacles_carries_poiseuille_flow_exactly(problem: ObstacleFlow):
    flow = problem.body_fitted([], size=0.25)
    y = fd.SpatialCoordinate(flow["u"].function_space().mesh())[1]
    assert fd.errornorm(fd.as_vector([4 * y * (1 - y), 0]), flow["u"]) < 1e-12


def test_the_mesh_around_obstacles_leaves_them_out():
    discs = [DISC, Disc(2.0, 0.3, 0.1), Disc(2.0, 0.7, 0.1)]
    mesh = obstacle_mesh(Channel(), discs, size=0.1, near=0.01)
    area = fd.assemble(fd.Constant(1.0) * fd.dx(domain=mesh))
    assert area == pytest.approx(4 - np.pi * sum(disc.radius**2 for disc in discs), rel=1e-3)
    rims = fd.assemble(fd.Constant(1.0) * fd.ds(mesh.boundary_names["obstacles"], domain=mesh))
    assert rims == pytest.approx(2 * np.pi * sum(disc.radius for disc in discs), rel=1e-2)
    assert set(mesh.boundary_names) == {"inflow", "outflow", "walls", "obstacles"}


def test_random_obstacles_are_in_the_channel_and_apart(problem: ObstacleFlow):
    numbers = set()
    for seed in range(200):
        discs = problem.random_discs(np.random.default_rng(seed))
        problem.channel.check([Disc(disc.x, disc.y, disc.radius + 0.049) for disc in discs])
        numbers.add(len(discs))
    assert numbers == {1, 2, 3}
    first, again = (problem.random_inputs(np.random.default_rng(7))["chi"].dat.data_ro for _ in range(2))
    assert np.array_equal(first, again)
    assert first.max() == 1
    assert first.min() == 0


@pytest.mark.parametrize(
    ("discs", "message"),
    [
        ([DISC, Disc(1.1, 0.4, 0.1)], r"Obstacles 0 and 1, .* overlap by 0\.0786"),
        ([DISC, Disc(2.0, 0.95, 0.1)], r"Obstacle 1, .* reaches 0\.05 beyond the channel \[0, 4\] × \[0, 1\]"),
        ([Disc(4.5, 0.5, 0.1)], r"Obstacle 0, .* reaches 0\.6 beyond"),
        ([Disc(1.0, 0.5, 0.0)], r"needs a positive radius"),
    ],
)
def test_obstacles_that_overlap_or_leave_the_channel_are_refused(problem: ObstacleFlow, discs: list[Disc], message: str):
    with pytest.raises(InputError, match=message):
        problem.indicator(discs)
    with pytest.raises(InputError, match=message):
        obstacle_mesh(problem.channel, discs, size=0.1)


def test_obstacles_that_find_no_place_are_refused():
    with pytest.raises(InputError, match=r"No place was found for 30 obstacles"):
        ObstacleFlow(cells=4, number=(30, 30)).random_discs(np.random.default_rng(0))
    with pytest.raises(InputError, match=r"range of 1 or more, not 0 to 2"):
        ObstacleFlow(cells=4, number=(0, 2))
