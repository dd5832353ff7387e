"""Burgers' equation against the solution of Cole and Hopf, a published slope, and the balance of energy."""

from functools import partial
from itertools import pairwise

import firedrake as fd
import numpy as np
import pytest
import torch

from manufactured import evaluate, free, order, tensor
from thalweg.errors import DivergedError, InputError
from thalweg.fem import load
from thalweg.solvers import Burgers, burgers
from thalweg.solvers.exact_burgers import STEEPEST_SLOPE, burgers_error, cole_hopf, steepest_slope
from thalweg.solvers.grid import PeriodicField
from thalweg.solvers.spectral_field import node_points

WAVE = partial(Burgers, refinements=0, final_time=0.5, frames=1, viscosity=0.05)


def initial(problem: Burgers, expression) -> fd.Function:
    return fd.Function(problem.spaces["V"]).interpolate(expression)


def sine_wave(problem: Burgers) -> fd.Function:
    return initial(problem, fd.sin(2 * fd.pi * fd.SpatialCoordinate(problem.spaces["V"].mesh())[0]))


def test_burgers_is_of_second_order_in_time():
    steps = [0.1, 0.05, 0.025]
    assert order([burgers_error(64, 4, dt) for dt in steps], steps) == pytest.approx(2, abs=0.15)


def test_burgers_is_of_third_order_in_space_with_quadratic_elements():
    cells = [8, 16, 32]
    assert order([burgers_error(n, 2, 2.5e-3) for n in cells], [1 / n for n in cells]) > 2.8


def test_the_midpoint_rule_dissipates_exactly_what_viscosity_dissipates():
    problem = WAVE(32, time_step=0.05, frames=10, damped_steps=0)
    frames = problem.solve({"u0": problem.random_inputs(np.random.default_rng(0))["u0"]})["u"]
    for before, after in pairwise(frames):
        mean = (before + after) / 2
        lost = fd.assemble((before**2 - after**2) / 2 * fd.dx)
        assert lost == pytest.approx(0.05 * fd.assemble(0.05 * mean.dx(0) ** 2 * fd.dx), rel=1e-9)
        assert fd.assemble(after * fd.dx) == pytest.approx(fd.assemble(frames[0] * fd.dx), abs=1e-12)


def test_rough_initial_states_do_not_ring_at_the_scale_of_the_mesh():
    last = {}
    for damped in (0, 2):
        for time_step in (0.01, 0.001):
            problem = Burgers(64, refinements=1, final_time=0.1, frames=1, time_step=time_step, damped_steps=damped)
            last[damped, time_step] = problem.solve(problem.random_inputs(np.random.default_rng(0)))["u"][-1].dat.data_ro
    exact = last[2, 0.001]

    def error(damped: int) -> float:
        return float(np.linalg.norm(last[damped, 0.01] - exact) / np.linalg.norm(exact))

    assert error(2) < 0.01
    assert error(0) > 5 * error(2)


def test_the_slope_of_the_steepest_wave_is_the_published_one():
    assert steepest_slope(256) == pytest.approx(STEEPEST_SLOPE, rel=5e-3)


def test_a_plane_wave_across_the_square_is_the_one_dimensional_one():
    """u = ½ φ(x + y, t) (1, 1) where φ solves the equation in one dimension with twice the viscosity."""
    problem = Burgers(12, dim=2, degree=3, refinements=0, viscosity=0.025, final_time=0.2, frames=2, time_step=0.02)
    x, y = fd.SpatialCoordinate(problem.spaces["V"].mesh())
    wave = fd.sin(2 * fd.pi * (x + y)) / 2
    frames = problem.solve({"u0": initial(problem, fd.as_vector([wave, wave]))})["u"]
    exact = cole_hopf(node_points(problem.spaces["V"]).sum(1), 0.2, 0.05) / 2
    assert problem.times == pytest.approx([0, 0.1, 0.2])
    assert np.abs(frames[-1].dat.data_ro - exact[:, None]).max() < 6e-3
    assert np.abs(frames[-1].dat.data_ro - frames[0].dat.data_ro).max() > 0.1


def test_random_states_are_those_of_the_grid():
    problem = Burgers(16, refinements=1, final_time=0.1, frames=1)
    u0 = problem.random_inputs(np.random.default_rng(np.random.SeedSequence((3, 4))))["u0"]
    on_grid = PeriodicField((32,), alpha=2, tau=5, sigma=25).sample(3, [4], dtype=torch.float64)[0, 0].numpy()
    x = 32 * node_points(problem.spaces["V"])[:, 0]
    at_vertices = np.abs(x - x.round()) < 1e-9
    assert at_vertices.sum() == 32
    assert np.allclose(u0.dat.data_ro[at_vertices], on_grid[x[at_vertices].round().astype(int) % 32], atol=1e-12)


def test_the_states_at_the_ends_stay():
    problem = Burgers(16, ends=(1.0, 3.0), periodic=False, refinements=1, final_time=0.2, frames=2)
    x = fd.SpatialCoordinate(problem.spaces["V"].mesh())[0]
    frames = problem.solve({"u0": initial(problem, x)})["u"]
    ends = problem.spaces["V"].boundary_nodes("on_boundary")
    assert sorted(frames[-1].dat.data_ro[ends]) == [1, 3]
    assert np.abs(problem.random_inputs(np.random.default_rng(0))["u0"].dat.data_ro[ends]).max() < 1e-12


def test_the_compiled_residual_vanishes_for_every_step(tmp_path):
    problem = Burgers(16, periodic=False, refinements=1, final_time=0.1, frames=2, time_step=0.05, damped_steps=0)
    frames = problem.solve(problem.random_inputs(np.random.default_rng(1)))["u"]
    problem.export().save(tmp_path / "discretization.h5")
    disc = load(tmp_path / "discretization.h5", dtype=torch.float64)
    states = torch.stack([tensor(frame) for frame in frames])
    given = {"u": states[1:], "u_previous": states[:-1], "dt": 0.05, "viscosity": 0.1}
    mask = free(disc["V"].num_dofs, disc["V"].boundary_dofs())
    assert evaluate(disc.form("residual"), given)[:, mask].abs().max() < 1e-10
    assert evaluate(disc.form("residual"), given | {"dt": 0.1})[:, mask].abs().max() > 1e-4
    assert list(disc.spaces) == ["V", "V1", "V2"]


def test_a_time_step_that_newton_cannot_make_is_halved(monkeypatch: pytest.MonkeyPatch):
    problem, solve = WAVE(16, time_step=0.5, damped_steps=0), burgers.solve_or_explain
    steps = []

    def only_short_steps(solver, what: str) -> None:
        steps.append(float(problem._dt))
        if steps[-1] > 0.2:
            raise DivergedError("too long")
        solve(solver, what)

    monkeypatch.setattr(burgers, "solve_or_explain", only_short_steps)
    halved = problem.solve({"u0": sine_wave(problem)})["u"][-1]
    assert steps[:3] == [0.5, 0.25, 0.125]
    monkeypatch.undo()
    quarter = WAVE(16, time_step=0.125, damped_steps=0)
    wanted = quarter.solve({"u0": sine_wave(quarter)})["u"][-1]
    assert np.allclose(halved.dat.data_ro, wanted.dat.data_ro, atol=1e-9)
    assert float(problem._dt) == 0.5


def test_impossible_settings_are_refused():
    with pytest.raises(InputError, match=r"must be positive: viscosity = -0\.1"):
        Burgers(viscosity=-0.1)
    with pytest.raises(InputError, match="time_step = 0"):
        Burgers(time_step=0)
    with pytest.raises(InputError, match="not 3"):
        Burgers(dim=3)
    with pytest.raises(InputError, match="positive length"):
        Burgers(ends=(1.0, 0.0))
