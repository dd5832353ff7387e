"""Unsteady flow past a cylinder: forces, frames, and what happens when a step is too large."""

from pathlib import Path

import firedrake as fd
import numpy as np
import pytest
import torch

from thalweg import data
from thalweg.errors import DivergedError, InputError
from thalweg.solvers import CylinderFlow, ForceHistory, SteadyCylinderFlow
from thalweg.solvers.force_history import maximum


@pytest.fixture(scope="module")
def problem() -> CylinderFlow:
    return CylinderFlow(spin_up=0.005, duration=0.005, frames=3, dt=5e-4)


def test_the_steady_flow_of_dfg_2d_1_stays_and_keeps_its_forces():
    """At Reynolds number 20: C_D = 5.57953523384, C_L = 0.010618948146, Δp = 0.11752016697 (Nabh, 1998)."""
    unsteady = CylinderFlow(dt=2e-3)
    g = unsteady.parabola(0.3)
    steady = SteadyCylinderFlow()
    u0 = fd.Function(unsteady.spaces["V"])
    u0.dat.data_wo[...] = steady.solve({"g": steady.parabola(0.3)})["u"].dat.data_ro
    history = unsteady.force_history({"g": g, "u0": u0}, end=0.1, every=25)
    assert history.times == pytest.approx([0.05, 0.1])
    assert history.drag == pytest.approx(5.57953523384, rel=1e-3)
    assert history.lift == pytest.approx(0.010618948146, rel=5e-3)
    assert history.pressure_difference == pytest.approx(0.11752016697, rel=1e-3)


def test_frames_and_forms_belong_together(problem: CylinderFlow):
    """The exported residual and force, given the state and its rate, are those of the stepper."""
    inputs = problem.random_inputs(np.random.default_rng(0))
    frames = problem.solve(inputs)
    assert problem.times == pytest.approx([0.005, 0.0075, 0.01])
    assert len(frames["u"]) == len(frames["p"]) == 3
    stepper = problem._stepper
    assert np.array_equal(frames["u"][-1].dat.data_ro, stepper.z.subfunctions[0].dat.data_ro)

    disc = problem.export()
    z = torch.cat([torch.from_numpy(frames[name][-1].dat.data_ro.copy()).flatten() for name in ("u", "p")])
    rate = torch.from_numpy(stepper.rate.dat.data_ro.copy()).flatten()
    w = torch.zeros_like(rate)
    w[disc["V"].boundary_dofs("cylinder")[::2]] = 1
    assert w.sum() == len(disc["V"].boundary_dofs("cylinder")) / 2
    drag = disc.form("force")(z=z, u_t=rate, w=w, viscosity=1e-3)
    assert drag.item() == pytest.approx(problem._force(problem.channel.unit_velocity(0)), rel=1e-10)
    r = disc.form("residual")(z=z, u_t=rate, viscosity=1e-3)
    assert -(r[: len(w)] * w).sum() == pytest.approx(drag.item(), rel=1e-10)


def test_the_velocity_is_weakly_free_of_divergence(problem: CylinderFlow):
    frames = problem.solve(problem.random_inputs(np.random.default_rng(1)))
    q = fd.TestFunction(problem.spaces["Q"])
    for u in frames["u"]:
        assert np.abs(fd.assemble(q * fd.div(u) * fd.dx(degree=6)).dat.data_ro).max() < 1e-12


def test_a_trajectory_depends_on_its_inputs_alone(problem: CylinderFlow):
    first, other = (problem.random_inputs(np.random.default_rng(seed)) for seed in (2, 3))
    before = problem.solve(first)["u"][-1].dat.data_ro.copy()
    between = problem.solve(other)["u"][-1].dat.data_ro
    again = problem.solve(first)["u"][-1].dat.data_ro
    assert np.array_equal(before, again)
    assert not np.allclose(before, between, rtol=1e-2)


def test_a_trajectory_that_blows_up_is_started_again_with_half_the_step():
    settings = {"spin_up": 0.05, "duration": 0.05, "frames": 2}
    fast = CylinderFlow(dt=1e-3, halvings=1, **settings)
    inputs = {"g": fast.parabola(1.5)}
    with pytest.raises(DivergedError, match=r"blew up at t = .* every step that was tried, 0\.001 and 0 halvings"):
        CylinderFlow(dt=1e-3, halvings=0, **settings).solve(inputs)
    halved = fast.solve(inputs)
    small = CylinderFlow(dt=5e-4, halvings=0, **settings).solve(inputs)
    assert np.array_equal(halved["u"][-1].dat.data_ro, small["u"][-1].dat.data_ro)


def test_the_inflow_follows_its_period():
    problem = CylinderFlow(spin_up=0.004, duration=0.004, frames=2, dt=5e-4, period=0.016)
    frames = problem.solve({"g": problem.parabola(1.0)})
    inflow = problem.spaces["V"].boundary_nodes(1)
    g = problem.parabola(1.0).dat.data_ro[inflow]
    assert frames["u"][0].dat.data_ro[inflow] == pytest.approx(g, abs=1e-12)
    assert frames["u"][1].dat.data_ro[inflow] == pytest.approx(0 * g, abs=1e-12)


def test_frames_that_no_constant_step_meets_are_refused():
    with pytest.raises(InputError, match=r"spin_up=1\.03 is no multiple of the distance of frames, .* = 0\.25"):
        CylinderFlow(spin_up=1.03, duration=1.0, frames=5)
    with pytest.raises(InputError, match=r"frames=1"):
        CylinderFlow(frames=1)


def test_trajectories_are_generated_with_their_times(problem: CylinderFlow, tmp_path: Path):
    data.generate(problem, tmp_path, num_samples=2)
    stored = data.FieldDataset(tmp_path)
    assert stored.fields["u"].shape == (2, 3, problem.spaces["V"].dof_count)
    assert stored.times == pytest.approx(problem.times)
    V = stored.discretization["V"]
    inflow = V.boundary_dofs("inflow")
    assert torch.equal(stored.fields["u"][:, 1, inflow], stored.fields["g"][:, inflow])


def test_strouhal_number_and_maximum_of_a_known_signal():
    t = np.linspace(0, 4, 401)
    history = ForceHistory(t, np.cos(t - 1), 0.1 + np.sin(2 * np.pi * 1.7 * t), t, shedding_unit=0.1)
    assert history.after(2).strouhal_number() == pytest.approx(0.17, rel=1e-4)
    assert maximum(t, history.drag) == pytest.approx((1, 1), rel=1e-4)
    with pytest.raises(InputError, match="a period needs two"):
        history.after(3.5).strouhal_number()
