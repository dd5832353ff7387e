"""Steady flow past a cylinder against the DFG benchmark, and as a problem whose data are generated."""

from pathlib import Path

import firedrake as fd
import numpy as np
import pytest
import torch

from small import configuration
from thalweg.commands import generate
from thalweg.data import FieldDataset
from thalweg.solvers import SteadyCylinderFlow


@pytest.fixture(scope="module")
def problem() -> SteadyCylinderFlow:
    return SteadyCylinderFlow()


@pytest.fixture(scope="module")
def benchmark(problem: SteadyCylinderFlow) -> dict:
    return problem.solve({"g": problem.parabola(0.3)})


def test_drag_and_lift_agree_with_dfg_2d_1(problem: SteadyCylinderFlow, benchmark: dict):
    """Nabh (1998), by a spectral method: C_D = 5.57953523384, C_L = 0.010618948146."""
    drag, lift = problem.force_coefficients(benchmark, mean_inflow=0.2)
    assert drag == pytest.approx(5.57953523384, rel=1e-3)
    assert lift == pytest.approx(0.010618948146, rel=1e-3)


def test_pressure_difference_agrees_with_dfg_2d_1(problem: SteadyCylinderFlow, benchmark: dict):
    front, back = fd.PointEvaluator(problem.spaces["Q"].mesh(), [[0.15, 0.2], [0.25, 0.2]]).evaluate(benchmark["p"])
    assert front - back == pytest.approx(0.11752016697, rel=1e-3)


def test_the_cylinder_is_round(problem: SteadyCylinderFlow):
    mesh = problem.spaces["V"].mesh()
    area = fd.assemble(fd.Constant(1.0) * fd.dx(domain=mesh))
    assert area == pytest.approx(2.2 * 0.41 - np.pi * 0.05**2, rel=1e-7)


def test_inflow_data_vanish_at_the_walls_and_away_from_the_inflow(problem: SteadyCylinderFlow):
    g = problem.random_inputs(np.random.default_rng(3))["g"]
    x, y = fd.Function(problem.spaces["V"]).interpolate(fd.SpatialCoordinate(g.function_space().mesh())).dat.data_ro.T
    assert np.abs(g.dat.data_ro[x > 1e-12]).max() == 0
    assert np.abs(g.dat.data_ro[(y < 1e-12) | (y > 0.41 - 1e-12)]).max() < 1e-15
    assert g.dat.data_ro[:, 0].max() > 0.05


def test_the_compiled_residual_vanishes_at_the_solution(problem: SteadyCylinderFlow, benchmark: dict):
    disc = problem.export()
    residual = disc.form("residual")
    z = torch.cat([torch.from_numpy(benchmark[name].dat.data_ro.copy()).flatten() for name in ("u", "p")])
    r, away = residual(z=z[None], viscosity=1e-3)[0], residual(z=1.01 * z[None], viscosity=1e-3)[0]
    velocity = disc["V"]
    free = torch.ones(len(z), dtype=torch.bool)
    free[velocity.boundary_dofs(["inflow", "walls", "cylinder"])] = False
    assert r[free].abs().max() < 1e-10
    assert away[free].abs().max() > 1e3 * r[free].abs().max()


def test_generated_flows_satisfy_their_boundary_values(tmp_path: Path):
    generate.run(configuration("generate", tmp_path, "problem=steady_cylinder", "num_samples=2"))
    data = FieldDataset(tmp_path / "data")
    V = data.discretization["V"]
    u, g = data.fields["u"], data.fields["g"]
    inflow, solid = V.boundary_dofs("inflow"), V.boundary_dofs(["walls", "cylinder"])
    assert torch.equal(u[:, inflow], g[:, inflow])
    assert (u[:, solid] == 0).all()
    assert data.fields["p"].shape == (2, data.discretization["Q"].num_dofs)
