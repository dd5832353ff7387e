"""Darcy flow, nonlinear diffusion, waves and creeping flow against analysis: orders, exact solutions, conservation."""

import firedrake as fd
import numpy as np
import pytest
import torch

from manufactured import evaluate, fields, free, order, tensor
from thalweg.errors import DivergedError, InputError
from thalweg.random_numbers import sample_rng
from thalweg.solvers import Darcy, Helmholtz, MixedDarcy, NonlinearDiffusion, Stokes
from thalweg.solvers.continuation import advance_in_steps
from thalweg.solvers.exact_elliptic import (
    centre_value,
    darcy_error,
    helmholtz_error,
    mixed_darcy_errors,
    nonlinear_diffusion_error,
    stokes_errors,
)
from thalweg.solvers.grid import Darcy as GridDarcy
from thalweg.solvers.grid import NeumannField, multiscale_trigonometric, threshold
from thalweg.solvers.helmholtz import helmholtz_form, lowest_modes
from thalweg.solvers.spectral_field import node_points, seed_and_sample

SMOOTH = {"length": 0.5}


def interpolate(V, expression) -> fd.Function:
    return fd.Function(V).interpolate(expression)


def coordinates(V) -> tuple:
    return tuple(fd.SpatialCoordinate(V.mesh()))


# Darcy


@pytest.mark.parametrize("degree", [1, 2])
def test_darcy_converges_at_the_order_of_its_elements(degree: int):
    cells = [4, 8, 16]
    assert order([darcy_error(n, degree) for n in cells], [1 / n for n in cells]) > degree + 0.9


@pytest.mark.parametrize("kind", ["smooth", "rough", "multiscale"])
def test_darcy_has_the_coefficients_of_the_grid_solver(kind: str):
    problem = Darcy(8, kind, coefficient_degree=1, refinements=1)
    a = problem.random_inputs(sample_rng(5, 7))["a"]
    if kind == "multiscale":
        on_grid = multiscale_trigonometric(17, 5, [7], dtype=torch.float64)
    else:
        tau, below = {"smooth": (3, 3), "rough": (5, 2)}[kind]
        on_grid = threshold(NeumannField((16, 16), alpha=2, tau=tau).sample(5, [7], dtype=torch.float64), above=12, below=below)
    i, j = np.rint(16 * node_points(problem.spaces["V"])).astype(int).T
    assert np.allclose(a.dat.data_ro, on_grid[0, 0].numpy()[i, j], rtol=1e-12)
    assert a.dat.data_ro.min() < a.dat.data_ro.max()


def test_darcy_and_the_grid_solver_converge_to_one_solution():
    problem = Darcy(32, "log_normal", refinements=1, log_normal={"length": 0.5, "deviation": 0.5})
    a = problem.random_inputs(np.random.default_rng(2))["a"]
    u = problem.solve({"a": a})["u"].dat.data_ro
    i, j = np.rint(64 * node_points(problem.spaces["V"])).astype(int).T
    on_grid = torch.zeros(1, 1, 65, 65, dtype=torch.float64)
    on_grid[0, 0, i, j] = tensor(a)
    other = GridDarcy((65, 65)).solve(on_grid)[0, 0].numpy()[i, j]
    assert np.abs(u - other).max() < 2e-3 * np.abs(u).max()


def test_a_seed_and_a_sample_number_a_random_function_once():
    rng = sample_rng(5, 7)
    assert seed_and_sample(rng) == (5, 7)
    following = seed_and_sample(rng)
    assert following != (5, 7)
    assert following == seed_and_sample(_drawn_from(sample_rng(5, 7)))
    assert seed_and_sample(np.random.default_rng(1)) == seed_and_sample(np.random.default_rng(1))


def _drawn_from(rng: np.random.Generator) -> np.random.Generator:
    rng.integers(2**32, size=2)
    return rng


def test_the_solution_of_darcy_has_no_residual_and_the_least_energy():
    problem = Darcy("plate_with_hole.msh", "log_normal", 0, ["left", "hole"], 2, 0, SMOOTH, SMOOTH, {"length": 0.3})
    inputs = problem.random_inputs(np.random.default_rng(0))
    given = fields(inputs | problem.solve(inputs))
    disc = problem.export()
    V = disc["V"]
    mask, residual = free(V.num_dofs, V.boundary_dofs(["left", "hole"])), disc.form("residual")
    assert evaluate(residual, given)[mask].abs().max() < 1e-12
    assert evaluate(residual, given | {"u": 1.01 * given["u"]})[mask].abs().max() > 1e-5
    assert torch.equal(given["u"][~mask], given["g"][~mask])
    assert (given["g"][mask] == 0).all()
    nearby = given["u"] + 1e-3 * mask * torch.randn(
        5, V.num_dofs, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    assert (evaluate(disc.form("energy"), given | {"u": nearby}) > evaluate(disc.form("energy"), given)).all()


def test_the_unit_square_has_the_published_centre_value():
    assert centre_value(32) == pytest.approx(0.0736713532, abs=2e-7)


def test_wrong_coefficients_are_refused():
    with pytest.raises(InputError, match=r"kind 'smoth'; choose one of smooth, rough, multiscale, log_normal"):
        Darcy(4, "smoth")
    with pytest.raises(InputError, match="unit square"):
        Darcy("cylinder_channel.msh", "rough", dirichlet=["inflow"], refinements=0)
    with pytest.raises(InputError, match="Settings of a log-normal field"):
        Darcy(4, "rough", log_normal=SMOOTH)
    with pytest.raises(InputError, match="'lid'; it has 'left', 'right', 'bottom', 'top'"):
        Darcy(4, dirichlet=["lid"])
    with pytest.raises(InputError, match="up to a constant"):
        Darcy(4, dirichlet=[])
    with pytest.raises(InputError, match="degree 3"):
        Darcy(4, coefficient_degree=3)
    with pytest.raises(InputError, match="median"):
        Darcy(4, "log_normal", log_normal={"median": -1, "length": 0.3})
    problem = Darcy(4, refinements=0)
    with pytest.raises(InputError, match="least value is -1"):
        problem.solve({"a": fd.Function(problem.spaces["V"]).assign(-1)})


# Mixed Darcy


@pytest.mark.parametrize("degree", [1, 2])
def test_mixed_darcy_converges_at_the_order_of_its_elements(degree: int):
    cells = [4, 8, 16]
    errors = np.array([mixed_darcy_errors(n, degree) for n in cells])
    for field in range(2):
        assert order(errors[:, field], [1 / n for n in cells]) > degree - 0.1


def test_mixed_darcy_conserves_mass_in_every_cell():
    problem = MixedDarcy(8, "rough", {"left": -1.0, "top": 0.5}, degree=2, source={"length": 0.3}, pressure={"length": 0.3})
    inputs = problem.random_inputs(np.random.default_rng(1))
    sigma = problem.solve(inputs)["sigma"]
    cells = fd.FunctionSpace(sigma.function_space().mesh(), "DG", 0)
    lost = fd.assemble((fd.div(sigma) - inputs["f"]) * fd.TestFunction(cells) * fd.dx).dat.data_ro
    assert np.abs(lost).max() < 1e-13
    assert np.abs(inputs["f"].dat.data_ro).max() > 1


def test_the_given_fluxes_flow():
    problem = MixedDarcy(8, "log_normal", {"left": -1.0, "bottom": 0.0, "top": 0.25}, source=0.0, log_normal=SMOOTH)
    outputs = problem.solve(problem.random_inputs(np.random.default_rng(1)))
    n = fd.FacetNormal(problem.spaces["S"].mesh())
    through = [fd.assemble(fd.dot(outputs["sigma"], n) * fd.ds(side)) for side in (1, 2, 3, 4)]
    assert through == pytest.approx([-1.0, 0.75, 0.0, 0.25], abs=1e-12)
    assert fd.assemble((fd.dot(outputs["sigma"], n) + 1) ** 2 * fd.ds(1)) < 1e-24


def test_the_compiled_residual_of_mixed_darcy_vanishes_at_the_solution():
    problem = MixedDarcy(4, "smooth", {"left": -1.0}, source={"length": 0.3}, pressure={"length": 0.3})
    inputs = problem.random_inputs(np.random.default_rng(1))
    outputs = problem.solve(inputs)
    disc, z = problem.export(), tensor(outputs["sigma"], outputs["p"])
    torch.testing.assert_close(disc.derivative("S", "Q")(tensor(outputs["sigma"])), tensor(inputs["f"]), atol=1e-11, rtol=0)
    mask = free(len(z), disc["S"].boundary_dofs("left"))
    assert evaluate(disc.form("residual"), fields(inputs) | {"z": z})[mask].abs().max() < 1e-13
    assert evaluate(disc.form("residual"), fields(inputs) | {"z": 1.01 * z})[mask].abs().max() > 1e-4


def test_a_flux_on_the_whole_boundary_is_refused():
    with pytest.raises(InputError, match="undetermined"):
        MixedDarcy(4, flux=dict.fromkeys(("left", "right", "bottom", "top"), 0.0))
    with pytest.raises(InputError, match="degree 1 or more"):
        MixedDarcy(4, degree=0)
    with pytest.raises(InputError, match="'inflow'"):
        MixedDarcy(4, flux={"inflow": 1.0})


# Nonlinear diffusion


def test_nonlinear_diffusion_is_poisson_after_kirchhoffs_transform():
    cells = [8, 16, 32]
    assert order([nonlinear_diffusion_error(n) for n in cells], [1 / n for n in cells]) > 2.8


def test_random_nonlinear_diffusion_satisfies_its_equation():
    problem = NonlinearDiffusion("plate_with_hole.msh", ["left", "hole"], refinements=0)
    inputs = problem.random_inputs(np.random.default_rng(0))
    given, disc = fields(inputs | problem.solve(inputs)), problem.export()
    mask = free(disc["V"].num_dofs, disc["V"].boundary_dofs(["left", "hole"]))
    assert evaluate(disc.form("residual"), given)[mask].abs().max() < 1e-9
    assert evaluate(disc.form("residual"), given | {"u": 1.01 * given["u"]})[mask].abs().max() > 1e-3


def test_a_load_is_raised_in_steps_where_one_is_too_large():
    state, tried = fd.Function(fd.FunctionSpace(fd.UnitIntervalMesh(1), "CG", 1)), []

    def solve(start: float, stop: float) -> None:
        tried.append((start, stop))
        state.assign(stop)
        if stop - start > 0.3 or (start == 0.5 and stop - start > 0.1):
            state.assign(np.nan)
            raise DivergedError("too far")

    assert advance_in_steps(solve, state) == 6
    assert tried[:3] == [(0, 1), (0, 0.5), (0, 0.25)]
    assert (state.dat.data_ro == 1).all()
    with pytest.raises(DivergedError, match=r"No step of 0\.25 of the way could be made at 0\.5 of it\. too far"):
        advance_in_steps(solve, state, smallest=0.2)
    assert (state.dat.data_ro == 0.5).all()


# Helmholtz


def test_helmholtz_converges_to_the_exact_field_of_the_window():
    """One wave speed, k = 10: second order with bilinear elements."""
    cells = [20, 40, 80]
    errors = [helmholtz_error(n) for n in cells]
    assert errors[-1] < 0.02
    assert order(errors, [1 / n for n in cells]) == pytest.approx(2, abs=0.2)


def test_the_helmholtz_form_converges_with_a_variable_speed():
    errors, cells = [], [8, 16, 32]
    for n in cells:
        mesh = fd.UnitSquareMesh(n, n, quadrilateral=True)
        V = fd.FunctionSpace(mesh, "CG", 1)
        x, y = fd.SpatialCoordinate(mesh)
        c, exact = 2 + x * y, fd.cos(fd.pi * x) * fd.cos(2 * fd.pi * y)
        v, u = fd.TestFunction(V), fd.Function(V)
        f = -fd.div(fd.grad(exact)) - 49 / c**2 * exact
        fd.solve(helmholtz_form(fd.TrialFunction(V), v, c, 7.0) == f * v * fd.dx, u)
        errors.append(fd.errornorm(exact, u, "L2"))
    assert order(errors, [1 / n for n in cells]) > 1.9


def test_wave_speeds_are_the_published_ones():
    field = lowest_modes(100, 2.0, 3.0)
    assert int((field.eigenvalues > 0).sum()) == 100
    assert field.eigenvalues[0, 0] == 0
    assert field.eigenvalues[1, 0] == pytest.approx((np.pi**2 + 9) ** -2)
    squares = torch.stack(field.modes).square().sum(0)
    assert squares[field.eigenvalues > 0].max() <= squares[(field.eigenvalues == 0) & (squares > 0)].min()


def test_the_compiled_residual_of_helmholtz_vanishes_at_the_solution():
    problem = Helmholtz(20, refinements=0)
    inputs = problem.random_inputs(np.random.default_rng(0))
    given, disc = fields(inputs | problem.solve(inputs)), problem.export()
    assert evaluate(disc.form("residual"), given).abs().max() < 1e-13
    assert evaluate(disc.form("residual"), given | {"u": 1.01 * given["u"]}).abs().max() > 1e-4
    assert 19 < given["c"].min() < given["c"].max() < 21


def test_impossible_waves_are_refused():
    with pytest.raises(InputError, match="positive frequency"):
        Helmholtz(4, frequency=-1.0)
    with pytest.raises(InputError, match=r"mean > \|spread\|"):
        Helmholtz(4, mean=1.0, spread=-2.0)
    problem = Helmholtz(4, refinements=0)
    with pytest.raises(InputError, match="'c' must be positive"):
        problem.solve({"c": fd.Function(problem.spaces["V"])})


# Stokes


def test_stokes_converges_at_the_orders_of_taylor_and_hood():
    """Order 3 in the velocity and 2 in the pressure, whose mean is zero."""
    cells = [4, 8, 16]
    velocity, pressure, mean = zip(*(stokes_errors(n) for n in cells), strict=True)
    assert order(velocity, [1 / n for n in cells]) > 2.9
    assert order(pressure, [1 / n for n in cells]) > 1.9
    assert max(mean) < 1e-13


def test_random_creeping_flows_satisfy_their_equations():
    problem = Stokes(8)
    inputs = problem.random_inputs(np.random.default_rng(0))
    outputs = problem.solve(inputs)
    disc, z = problem.export(), tensor(outputs["u"], outputs["p"])
    boundary = disc["V"].boundary_dofs("on_boundary")
    residual = disc.form("residual")(z=z, f=tensor(inputs["f"]))
    assert residual[free(len(z), boundary)].abs().max() < 1e-11
    assert torch.equal(tensor(outputs["u"])[boundary], tensor(inputs["g"])[boundary])
    g = inputs["g"].dat.data_ro
    assert np.abs(g[:, 1]).max() == 0
    assert g[:, 0].max() > 0.3
    assert np.abs(g[node_points(problem.spaces["V"])[:, 1] < 1 - 1e-9]).max() == 0


def test_impossible_containers_are_refused():
    with pytest.raises(InputError, match="viscosity must be positive, not -1"):
        Stokes(4, viscosity=-1.0)
    with pytest.raises(InputError, match="not straight"):
        Stokes("plate_with_hole.msh", lid="hole")
    with pytest.raises(InputError, match="'lid'"):
        Stokes(4, lid="lid")
    problem = Stokes(4)
    V = problem.spaces["V"]
    with pytest.raises(InputError, match="more flow out than in"):
        problem.solve({"f": fd.Function(V), "g": interpolate(V, fd.SpatialCoordinate(V.mesh()))})
