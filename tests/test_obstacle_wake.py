"""Unsteady flow past random obstacles: forces on each of them, meshes that follow from the seed, and samples whose steps blow up."""

from functools import partial
from pathlib import Path

import firedrake as fd
import numpy as np
import pytest
import torch

from thalweg import data
from thalweg.errors import InputError
from thalweg.solvers import Disc, ObstacleWake, OnRandomObstacles
from thalweg.solvers.navier_stokes import NEWTON_LU, newton, steady_residual

SHORT = {"spin_up": 0.04, "duration": 0.04, "frames": 3, "dt": 0.01, "size": 0.25, "near": 0.08}
TWO = [Disc(0.8, 0.3, 0.1), Disc(1.4, 0.65, 0.12)]


def steady(flow: ObstacleWake, g: fd.Function, viscosity: float) -> fd.Function:
    """The velocity of the steady flow by Newton's method."""
    z = fd.Function(flow.channel.Z)
    nu = fd.Constant(viscosity)
    problem = fd.NonlinearVariationalProblem(steady_residual(z, nu), z, flow.channel.conditions(z.function_space().sub(0), g))
    newton(fd.NonlinearVariationalSolver(problem, solver_parameters=NEWTON_LU), z, nu, "steady")
    return z.subfunctions[0].copy(deepcopy=True)


def test_the_steady_flow_past_one_obstacle_stays_and_has_the_drag_of_dfg_2d_1():
    """C_D = 5.57953523384, C_L = 0.010618948146, Δp = 0.11752016697 (Nabh, 1998) in the benchmark's channel, on gmsh's mesh."""
    flow = ObstacleWake([(0.2, 0.2, 0.05)], (2.2, 0.41), viscosity=1e-3, **SHORT | {"size": 0.07, "near": 0.01})
    g = flow.parabola(0.3)
    history = flow.force_history({"g": g, "u0": steady(flow, g, 1e-3)}, end=0.1, every=5)
    assert history.times == pytest.approx([0.05, 0.1])
    assert history.drag == pytest.approx(5.57953523384, rel=1e-3)
    assert history.lift == pytest.approx(0.010618948146, rel=2e-2)
    assert history.pressure_difference == pytest.approx(0.11752016697, rel=5e-3)


def test_each_obstacle_has_its_own_force_that_of_the_stress_on_its_rim():
    """∫ pn − ν ∂u/∂n over one circle, to the accuracy of that integral, and all of them together are the force on all obstacles."""
    flow = ObstacleWake(TWO, viscosity=5e-3, **SHORT | {"size": 0.12, "near": 0.03})
    x, n = fd.SpatialCoordinate(flow.channel.mesh), fd.FacetNormal(flow.channel.mesh)
    rims = fd.ds(flow.channel.mesh.boundary_names["obstacles"])
    for body, on_rim in enumerate((fd.conditional(x[0] < 1.1, 1, 0), fd.conditional(x[0] > 1.1, 1, 0))):
        history = flow.force_history({"g": flow.parabola(0.3)}, 0.3, every=30, body=body)
        u, p = flow._stepper.z.subfunctions
        traction = p * n - 5e-3 * fd.dot(fd.grad(u), n)
        scale = 2 / (0.2**2 * 2 * TWO[body].radius)
        assert history.drag[0] == pytest.approx(scale * fd.assemble(on_rim * traction[0] * rims), rel=0.02)
    for i in (0, 1):
        parts = [flow.channel.unit_velocity(i, body).dat.data_ro for body in (0, 1)]
        assert np.array_equal(sum(parts), flow.channel.unit_velocity(i).dat.data_ro)
    with pytest.raises(InputError, match=r"no body 2 in the channel; it has 2"):
        flow.force_history({"g": flow.parabola(0.3)}, 0.1, body=2)


def test_members_follow_from_the_seed_and_their_meshes_leave_the_obstacles_out():
    family = OnRandomObstacles(partial(ObstacleWake, **SHORT))
    first, again, other = family.member(3, 1), family.member(3, 1), family.member(3, 2)
    assert first.channel.bodies == again.channel.bodies != other.channel.bodies
    assert np.array_equal(first.channel.mesh.coordinates.dat.data_ro, again.channel.mesh.coordinates.dat.data_ro)
    for flow in (first, other):
        discs = sum(np.pi * disc.radius**2 for disc in flow.channel.bodies)
        assert fd.assemble(fd.Constant(1.0) * fd.dx(domain=flow.channel.mesh)) == pytest.approx(4 - discs, rel=1e-4)
    with pytest.raises(InputError, match=r"ranges of numbers from 1 on"):
        OnRandomObstacles(number=(0, 2))
    with pytest.raises(InputError, match="needs one at least"):
        ObstacleWake([])
    with pytest.raises(InputError, match=r"Obstacles 0 and 1, .* overlap"):
        ObstacleWake([(1.0, 0.5, 0.2), (1.1, 0.5, 0.2)])


def test_trajectories_are_generated_on_each_mesh_and_a_flow_that_blows_up_is_drawn_again(tmp_path: Path):
    """Where no step is short enough for an inflow, the sample is another one, and the shard says so."""
    family = OnRandomObstacles(partial(ObstacleWake, **SHORT | {"peak": (0.2, 2.0), "halvings": 0}), number=(1, 2))
    folder = data.generate_family(family, tmp_path, 2, 3, attempts=10, preview=False)
    failed = []
    for k in range(2):
        stored = data.FieldDataset(folder / f"mesh-{k:03d}")
        V = stored.discretization["V"]
        assert stored.fields["u"].shape == (3, 3, V.num_dofs)
        assert not stored.fields["u"][..., V.boundary_dofs("obstacles")].any()
        inflow = V.boundary_dofs("inflow")
        assert torch.equal(stored.fields["u"][:, 1, inflow], stored.fields["g"][:, inflow])
        shard = data.dataset.shards(folder / f"mesh-{k:03d}")[0]
        failed += data.shards.read_provenance(shard).failed
    assert failed
    assert all("blew up" in draw.reason for draw in failed)


def test_a_spin_up_that_blows_up_is_made_with_a_smaller_step():
    """The states from which samples start are those of the step that was short enough."""
    flow, fine = (
        ObstacleWake(TWO, **SHORT | {"dt": dt, "halvings": halvings, "developed": 1.0, "modes": 0.0})
        for dt, halvings in ((0.02, 2), (0.005, 0))
    )
    ours, theirs = (problem.random_inputs(np.random.default_rng(5))["u0"].dat.data_ro for problem in (flow, fine))
    assert np.array_equal(ours, theirs)
