"""Flow through bent pipes: exact where it is known, conservative, and the same as on the moved mesh."""

import firedrake as fd
import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.solvers.navier_stokes import NEWTON_LU, taylor_hood
from thalweg.solvers.pipe_flow import PipeFlow

CELLS = (40, 8)


@pytest.fixture(scope="module")
def pipe() -> PipeFlow:
    return PipeFlow(CELLS)


@pytest.fixture(scope="module")
def bent(pipe: PipeFlow) -> dict:
    """A random pipe and the flow through it."""
    inputs = pipe.random_inputs(np.random.default_rng(1))
    return inputs | pipe.solve(inputs)


def test_a_straight_pipe_carries_poiseuille_flow_exactly(pipe: PipeFlow):
    flow = pipe.solve({"d": pipe.displacement(np.zeros_like)})
    X = fd.SpatialCoordinate(pipe.spaces["V"].mesh())
    assert fd.errornorm(fd.as_vector([4 * X[1] * (1 - X[1]), 0]), flow["u"]) < 1e-9
    assert fd.errornorm(8 * 0.005 * (10 - X[0]), flow["p"]) < 1e-9


def test_the_flow_through_every_slab_of_a_bent_pipe_is_that_at_the_inflow(pipe: PipeFlow, bent: dict):
    """Tested with the linear pressures that depend on X₁ alone, ∇·u = 0 says that the mean flow of all slabs of cells is one number."""
    mesh = pipe.spaces["V"].mesh()
    cells = fd.FunctionSpace(mesh, "DQ", 0)
    slab = fd.Function(cells).interpolate(fd.SpatialCoordinate(mesh)[0] * CELLS[0] / 10).dat.data_ro.astype(int)
    through = fd.assemble(bent["u"][0] * fd.TestFunction(cells) * fd.dx).dat.data_ro
    flows = np.bincount(slab, through) * CELLS[0] / 10
    assert flows.shape == (CELLS[0],)
    assert np.abs(flows - 2 / 3).max() < 1e-12
    assert np.ptp(bent["d"].dat.data_ro[:, 1]) > 1


def test_the_pulled_back_flow_is_that_on_the_moved_mesh(pipe: PipeFlow, bent: dict):
    V = pipe.spaces["V"]
    moved = fd.Mesh(fd.Function(V).interpolate(fd.SpatialCoordinate(V.mesh()) + bent["d"]))
    _, _, Z = taylor_hood(moved)
    z = fd.Function(Z)
    u, p = fd.split(z)
    v, q = fd.TestFunctions(Z)
    F = (0.005 * fd.inner(fd.grad(u), fd.grad(v)) + fd.inner(fd.dot(fd.grad(u), u), v)) * fd.dx(degree=8)
    F -= (p * fd.div(v) + q * fd.div(u)) * fd.dx(degree=8)
    inflow = fd.Function(Z.sub(0).collapse())
    inflow.dat.data_wo[...] = fd.Function(V).interpolate(parabola(V.mesh())).dat.data_ro
    bcs = [fd.DirichletBC(Z.sub(0), inflow, 1), fd.DirichletBC(Z.sub(0), fd.Constant((0, 0)), (3, 4))]
    fd.solve(F == 0, z, bcs, solver_parameters=NEWTON_LU)
    assert z.subfunctions[0].dat.data_ro == pytest.approx(bent["u"].dat.data_ro, abs=1e-9)
    assert z.subfunctions[1].dat.data_ro == pytest.approx(bent["p"].dat.data_ro, abs=1e-9)


def parabola(mesh) -> fd.Function:
    y = fd.SpatialCoordinate(mesh)[1]
    return fd.as_vector([4 * y * (1 - y), 0])


def test_centre_lines_are_four_cubic_pieces_in_range(pipe: PipeFlow):
    d = pipe.random_inputs(np.random.default_rng(5))["d"]
    x = np.linspace(0, 10, 401)
    line = fd.PointEvaluator(d.function_space().mesh(), np.column_stack([x, np.full_like(x, 0.5)])).evaluate(d)[:, 1]
    assert np.abs(line[::100]).max() <= 2
    for start in range(0, 400, 100):
        piece = slice(start, start + 101)
        fit = np.polynomial.Polynomial.fit(x[piece], line[piece], 3)
        # Displacements are quadratic on each cell, 2.5e-1 long.
        assert np.abs(fit(x[piece]) - line[piece]).max() < 2e-3


def test_the_compiled_residual_knows_the_geometry(pipe: PipeFlow, bent: dict):
    disc = pipe.export()
    z = torch.cat([torch.from_numpy(bent[name].dat.data_ro.copy()).flatten() for name in ("u", "p")])
    d = torch.from_numpy(bent["d"].dat.data_ro.copy()).flatten()
    residual = disc.form("residual")
    free = torch.ones(len(z), dtype=torch.bool)
    free[disc["V"].boundary_dofs(["inflow", "bottom", "top"])] = False
    assert residual(z=z, d=d, viscosity=0.005)[free].abs().max() < 1e-10
    assert residual(z=z, d=0.9 * d, viscosity=0.005)[free].abs().max() > 1e-4


def test_a_pipe_that_folds_is_refused(pipe: PipeFlow):
    d = fd.Function(pipe.spaces["V"]).interpolate(fd.as_vector([-2 * fd.SpatialCoordinate(pipe.spaces["V"].mesh())[0], 0]))
    with pytest.raises(InputError, match=r"folds the pipe: det\(I \+ ∂d/∂X\) falls to -1"):
        pipe.solve({"d": d})
