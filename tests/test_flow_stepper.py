"""A SPON that advances the flow past a cylinder: what it is given, what holds for any weights, and the forces it is judged by."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import firedrake as fd
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from thalweg import operators
from thalweg.commands import evaluate, generate, plot, train
from thalweg.errors import InputError
from thalweg.fem import Discretization, SaddleSolver, Smoothing, load
from thalweg.operators import build_operator
from thalweg.operators.export import Recorder
from thalweg.solvers import CylinderFlow
from thalweg.training import BodyForces, BoundaryError, WeakDivergence, rollout
from thalweg.training.metrics.forces import frequency

TAGS = ["inflow", "walls", "cylinder"]
FRAMES = {"spin_up": 0.01, "duration": 0.08, "frames": 9, "dt": 2e-3}


@pytest.fixture(scope="module")
def problem() -> CylinderFlow:
    return CylinderFlow("cylinder_coarse.msh", refinements=1, peak=(0.6, 0.8), modes=0.0, developed=1.0, hierarchy=True, **FRAMES)


@pytest.fixture(scope="module")
def disc(problem: CylinderFlow) -> Discretization:
    return problem.export()


@pytest.fixture(scope="module")
def flow(problem: CylinderFlow) -> dict[str, torch.Tensor]:
    """One trajectory, ``(1, time, dofs)``, and its inflow, ``(1, dofs)``."""
    inputs = problem.random_inputs(np.random.default_rng(0))
    frames = problem.solve(inputs)
    fields = {name: torch.stack([dofs(frame) for frame in frames[name]])[None] for name in ("u", "p")}
    return fields | {"g": dofs(inputs["g"])[None]}


def dofs(function: fd.Function) -> torch.Tensor:
    return torch.from_numpy(function.dat.data_ro.reshape(-1).copy())


def configuration(verb: str, *overrides: str) -> DictConfig:
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose(verb, overrides=list(overrides))


def stepper(disc: Discretization) -> Any:
    nodes = OmegaConf.to_container(configuration("train", "experiment=cylinder_flow").operator, resolve=True)
    torch.manual_seed(0)
    return build_operator(nodes, disc).double()


def test_developed_starts_are_phases_of_one_flow_scaled_to_their_inflow(problem: CylinderFlow):
    first, again, other = (problem.random_inputs(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first["u0"].dat.data_ro, again["u0"].dat.data_ro)
    inflow = problem.spaces["V"].boundary_nodes(1)
    for inputs in (first, other):
        assert inputs["u0"].dat.data_ro[inflow] == pytest.approx(inputs["g"].dat.data_ro[inflow], abs=1e-12)
    speeds = [np.abs(inputs["g"].dat.data_ro).max() for inputs in (first, other)]
    scaled = [inputs["u0"].dat.data_ro / speed for inputs, speed in zip((first, other), speeds, strict=True)]
    assert 1e-3 < np.abs(scaled[0] - scaled[1]).max() < 2
    with pytest.raises(InputError, match=r"developed=0\.5 be 0 or at least 1"):
        CylinderFlow("cylinder_coarse.msh", developed=0.5)


def test_levels_of_the_curved_mesh_share_nodes_and_keep_constants(disc: Discretization):
    S, Q = disc["S"], disc["Q"]
    assert torch.equal(S.points, disc["V"].points)
    wave = lambda x: torch.sin(3 * x[:, 0]) * x[:, 1]  # noqa: E731
    torch.testing.assert_close(disc.transfer("S", "Q")(S.interpolate(wave)), Q.interpolate(wave), atol=1e-12, rtol=0)
    for l in (0, 1):
        P = disc.hierarchy("S", "Q", "Q1").prolongation(l)
        torch.testing.assert_close(P(torch.ones(P.shape[1], dtype=torch.float64)), torch.ones(P.shape[0], dtype=torch.float64))
    # Away from the circle the coarse functions are functions of the fine space.
    x = disc["Q1"].interpolate(lambda x: x[:, 0])
    far = torch.linalg.norm(Q.points - torch.tensor([0.2, 0.2]), dim=1) > 0.15
    torch.testing.assert_close(disc.transfer("Q1", "Q")(x)[far], Q.points[far, 0], atol=1e-12, rtol=0)


def test_the_weak_divergence_is_firedrakes(problem: CylinderFlow, disc: Discretization):
    u = fd.Function(problem.spaces["V"])
    u.dat.data_wo[...] = np.random.default_rng(0).standard_normal(u.dat.data_ro.shape)
    expected = fd.assemble(fd.div(u) * fd.TestFunction(problem.spaces["Q"]) * fd.dx(degree=6))
    torch.testing.assert_close(disc.product("V", "Q")(dofs(u)), dofs(expected), atol=1e-12, rtol=0)


def test_the_encoded_acceleration_represents_the_transport_terms(problem: CylinderFlow, disc: Discretization, flow: dict):
    V = disc["V"]
    encoder = operators.FormEncoder(V, disc.form("transport"), {"viscosity": 1e-3}, TAGS)
    frame = {"u": flow["u"][:, 0]}
    a = encoder(frame)
    assert a.shape == (1, 2, V.num_nodes)
    a = a.transpose(1, 2).flatten(1)[0]
    u, v = fd.Function(problem.spaces["V"]), fd.TestFunction(problem.spaces["V"])
    u.dat.data_wo[...] = frame["u"][0].numpy().reshape(u.dat.data_ro.shape)
    F = dofs(fd.assemble((1e-3 * fd.inner(fd.grad(u), fd.grad(v)) + fd.inner(fd.dot(fd.grad(u), u), v)) * fd.dx(degree=6)))
    free = torch.ones(V.num_dofs, dtype=torch.bool)
    free[V.boundary_dofs(TAGS)] = False
    assert (a[~free] == 0).all()
    torch.testing.assert_close(V.mass(a)[free], F[free], atol=1e-11, rtol=0)
    with pytest.raises(InputError, match="no argument 'nu'"):
        operators.FormEncoder(V, disc.form("transport"), {"nu": 1e-3})
    with pytest.raises(InputError, match="no function of 'V'"):
        operators.FormEncoder(V, disc.form("mean_inflow"))


def test_the_mean_inflow_is_a_constant_channel(problem: CylinderFlow, disc: Discretization):
    encoder = operators.FunctionalEncoder(disc["V"], [disc.form("mean_inflow")])
    g = torch.stack([dofs(problem.parabola(peak)) for peak in (0.9, 1.5)])
    torch.testing.assert_close(encoder({"g": g}), torch.tensor([0.6, 1.0]).double()[:, None, None].expand(2, 1, 2688))
    with pytest.raises(InputError, match="Use a FormEncoder"):
        operators.FunctionalEncoder(disc["V"], [disc.form("transport")])


@pytest.fixture(scope="module")
def solver(disc: Discretization) -> SaddleSolver:
    return SaddleSolver(disc["V"], disc["Q"], disc.product("V", "Q"), tuple(TAGS))


def test_accelerations_and_pressures_satisfy_the_weak_form(disc: Discretization, flow: dict, solver: SaddleSolver):
    V = disc["V"]
    u = flow["u"][:, 4]
    a, p = solver(-disc.form("transport")(u=u, viscosity=1e-3))
    r = disc.form("residual")(z=torch.cat([u, p], dim=1), u_t=a, viscosity=1e-3)[0]
    free = torch.ones(V.num_dofs, dtype=torch.bool)
    free[V.boundary_dofs(TAGS)] = False
    assert r[: V.num_dofs][free].abs().max() < 1e-10
    assert r[V.num_dofs :].abs().max() < 1e-10  # u is without weak divergence
    assert disc.product("V", "Q")(a).abs().max() < 1e-11
    assert (a[:, ~free] == 0).all()
    # The pressure of the discrete equations is that of the frames, up to the first order of their time steps.
    assert (disc["Q"].norm(p - flow["p"][:, 4]) / disc["Q"].norm(p)).item() < 0.02
    torch.testing.assert_close(solver.pressure(-disc.form("transport")(u=u, viscosity=1e-3)), p)


def test_unsmoothed_predictions_are_of_fourth_order(disc: Discretization, flow: dict, solver: SaddleSolver):
    ends = []
    for steps in (1, 2, 4):
        predict = operators.FlowPrediction(solver, disc.form("transport"), interval=4e-3 / steps, viscosity=1e-3)
        u = flow["u"][:, 4]
        for _ in range(steps):
            u = predict({"u": u})["u_predicted"]
        ends.append(u)
    first, second = (disc["V"].norm(u - v).item() for u, v in pairwise(ends))
    assert 12 < first / second < 20
    at_once = operators.FlowPrediction(solver, disc.form("transport"), interval=4e-3, viscosity=1e-3, steps=4)
    torch.testing.assert_close(at_once({"u": flow["u"][:, 4]})["u_predicted"], ends[-1])


def test_smoothed_predictions_are_stable_where_others_are_not(disc: Discretization, flow: dict, solver: SaddleSolver):
    """Steps three times as long as the frames' distance: τ U / 5.66 is 0.0066 for the fastest flow here, 1.25 m/s."""
    V, interval = disc["V"], 0.03
    energies = []
    for length in (0.0, 0.0066):
        smoothed = SaddleSolver(V, disc["Q"], disc.product("V", "Q"), tuple(TAGS), length)
        predict = operators.FlowPrediction(smoothed, disc.form("transport"), interval, viscosity=1e-3)
        u = flow["u"][:, 0]
        assert (u.abs().max() * interval / 5.66).item() < 0.0066
        for _ in range(40):
            u = predict({"u": u})["u_predicted"].nan_to_num(nan=1e3).clamp(-1e3, 1e3)
        energies.append((V.norm(u) / V.norm(flow["u"][:, 0])).item())
    assert energies[0] > 100
    assert 0.9 < energies[1] < 1.1


def test_one_interval_is_predicted_better_than_by_the_last_frame(disc: Discretization, flow: dict):
    smoothed = SaddleSolver(disc["V"], disc["Q"], disc.product("V", "Q"), tuple(TAGS), length=0.0045)
    predicted = operators.FlowPrediction(smoothed, disc.form("transport"), 0.01, 1e-3)({"u": flow["u"][:, 4]})["u_predicted"]
    error, change = (disc["V"].norm(v - flow["u"][:, 5]).item() for v in (predicted, flow["u"][:, 4]))
    assert error < 0.1 * change


def test_smoothing_solves_its_equation(disc: Discretization):
    V, noise = disc["V"], torch.randn(2, disc["V"].num_dofs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = Smoothing(V, 0.05, tuple(TAGS))(noise)
    fixed = V.boundary_dofs(TAGS)
    residual = V.mass(w - noise) + 0.05**2 * V.stiffness(w)
    residual[:, fixed] = 0
    assert residual.abs().max() < 1e-11
    assert not w[:, fixed].any()
    assert (V.norm(w, "H1") < 0.1 * V.norm(noise, "H1")).all()


def test_projections_keep_boundary_values_and_need_an_outflow(disc: Discretization, flow: dict, solver: SaddleSolver):
    V, noise = disc["V"], torch.randn(1, disc["V"].num_dofs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = solver.project(flow["u"][:, 0] + noise)
    fixed = V.boundary_dofs(TAGS)
    assert torch.equal(u[:, fixed], (flow["u"][:, 0] + noise)[:, fixed])
    assert disc.product("V", "Q")(u).abs().max() < 1e-11
    torch.testing.assert_close(solver.project(u), u, atol=1e-10, rtol=0)
    with pytest.raises(InputError, match="pressures have no level"):
        SaddleSolver(V, disc["Q"], disc.product("V", "Q"), ("inflow", "walls", "cylinder", "outflow"))


def test_any_weights_keep_boundary_values_and_weak_divergence_over_a_rollout(disc: Discretization, flow: dict, tmp_path: Path):
    disc.save(tmp_path / "disc.h5")
    operator = stepper(load(tmp_path / "disc.h5", dtype=torch.float64))
    operator.set_scales(flow)
    start = {"u": flow["u"][:, 0], "p": flow["p"][:, 0], "g": flow["g"]}
    predicted, untrained = operator.prediction(start), operator(start)
    torch.testing.assert_close(untrained["u"], predicted["u_predicted"], atol=1e-10, rtol=0)
    # Its pressure is that of the frame, up to the error of the velocity.
    error = disc["Q"].norm(untrained["p"] - flow["p"][:, 1]) / disc["Q"].norm(flow["p"][:, 1])
    assert error.item() < 0.01
    torch.nn.init.normal_(operator.corrector.processor.project.weight, std=0.1)
    divergence = WeakDivergence(disc["V"], disc["Q"], disc.product("V", "Q"), "u")
    for precision, bound in ((torch.float64, 1e-11), (torch.float32, 1e-5)):
        operator = operator.to(precision)
        with torch.no_grad():
            found = rollout(operator, {name: u.to(precision) for name, u in flow.items()}, ["u", "p"], 8)
        fixed = disc["V"].boundary_dofs(TAGS)
        assert torch.equal(found["u"][:, -1, fixed], flow["g"][:, fixed].to(precision))
        assert not torch.allclose(found["u"][:, 0].double(), untrained["u"], atol=1e-5, rtol=0)
        assert divergence.each({"u": found["u"].double()}, flow)[0, 0] < bound


def test_what_only_the_corrector_reads_is_known_to_be_read(disc: Discretization, flow: dict):
    given = Recorder({"u": flow["u"][:, 0], "p": flow["p"][:, 0], "g": flow["g"], "unused": flow["g"]})
    stepper(disc)(given)
    assert given.asked == {"u", "g"}


def test_corrections_are_never_longer_than_their_part_of_the_step(disc: Discretization, flow: dict):
    operator, start = stepper(disc), {"u": flow["u"][:, 0], "g": flow["g"]}
    predicted = operator.prediction(start)["u_predicted"]
    step = disc["V"].norm(predicted - start["u"]).item()
    for size in (1e-4, 1.0, 1e4):
        operator.corrector.output_scale.fill_(size)
        torch.nn.init.normal_(operator.corrector.processor.project.weight, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            correction = disc["V"].norm(operator(start)["u"] - predicted).item()
        assert 0 < correction < 0.2 * step


def test_increments_have_their_own_scale_and_need_trajectories(disc: Discretization, flow: dict):
    decoder = operators.IncrementDecoder(disc["V"], "u")
    V = disc["V"]
    one = torch.ones(V.num_dofs, dtype=torch.float64)
    expected = (V.inner(flow["u"].diff(dim=1), flow["u"].diff(dim=1)).mean() / V.inner(one, one)).sqrt()
    torch.testing.assert_close(decoder.channel_scales(flow), expected.expand(2, 1))
    with pytest.raises(InputError, match="known from trajectories"):
        decoder.channel_scales({"u": torch.ones(2, V.num_dofs)})


def test_forces_of_stored_frames_are_those_of_the_solver(problem: CylinderFlow, disc: Discretization, flow: dict):
    inputs = problem.random_inputs(np.random.default_rng(0))
    history = problem.force_history(inputs, end=0.09, every=5)
    metric = BodyForces(disc["V"], disc.form("force"), disc.form("mean_inflow"), 1e-3, interval=0.01, diameter=0.1)
    drag, lift = metric.coefficients(flow)[0]
    # Time derivatives of frames 0.01 s apart are not those of the solver's steps.
    inner = slice(1, -1)
    assert drag.numpy()[inner] == pytest.approx(history.drag[inner], rel=5e-3)
    assert lift.numpy()[inner] == pytest.approx(history.lift[inner], abs=0.02)
    more = {"u": flow["u"], "p": flow["p"] + 1.0}  # a constant pressure has no force on a closed curve
    torch.testing.assert_close(metric.coefficients(flow | more), metric.coefficients(flow), atol=1e-9, rtol=0)
    with pytest.raises(InputError, match="three frames or more"):
        metric.coefficients({name: u[:, :2] if u.ndim == 3 else u for name, u in flow.items()})


def test_boundary_values_of_trajectories_are_compared_with_constant_data(disc: Discretization, flow: dict):
    metric = BoundaryError(disc["V"], "u", "g", TAGS)
    two = {name: torch.cat([u, 2 * u]) for name, u in flow.items()}
    moved = two["u"].clone()
    moved[1, 3, disc["V"].boundary_dofs("cylinder")[0]] += 0.25
    torch.testing.assert_close(metric.each({"u": moved}, two), torch.tensor([0.0, 0.25]).double(), atol=1e-12, rtol=0)


def test_frequencies_of_known_signals():
    t = torch.arange(200, dtype=torch.float64) * 0.01
    signals = torch.stack([0.3 + torch.sin(2 * math.pi * f * t) for f in (1.7, 3.0, 0.2)])
    assert frequency(signals, 0.01).tolist() == pytest.approx([1.7, 3.0, 0.0], rel=2e-3)


def test_a_stepper_is_trained_judged_and_drawn(tmp_path: Path):
    small = [
        "experiment=cylinder_flow",
        "problem={refinements: 0, spin_up: 0.01, duration: 0.05, frames: 6, dt: 2.0e-3, developed: 0.0}",
        "data.split={train: 2, valid: 1, test: 1}",
        f"data.folder={tmp_path / 'data'}",
    ]
    run = tmp_path / "run"
    generate.run(configuration("generate", *small, "preview=false"))
    training = [
        "operator.corrector.processor={hierarchy: {_hierarchy_: [S, Q]}, channels: 4, blocks: 1}",
        "training.windows={horizon: 3, stride: 1}",
        "training.objective.horizon=2",
        "training.loop.epochs=1",
    ]
    train.run(configuration("train", *small, *training, "device=cpu", f"folder={run}"))
    result = evaluate.run(configuration("evaluate", f"run={run}", "device=cpu"))
    assert result == json.loads((run / "metrics.json").read_text())
    assert result["steps"] == len(result["velocity_over_time"]) == 5
    assert result["velocity_l2_one_step"] > 0
    assert result["boundary_error"] == 0
    assert max(result["divergence_prediction"], result["divergence_reference"]) < 1e-5
    assert result["error_of_mean_drag"] > 0
    plot.run(configuration("plot", f"run={run}", "device=cpu"))
    assert Image.open(run / "rollout.gif").n_frames == 5
    for name in ("drag", "lift", "error_over_time"):
        assert Image.open(run / f"{name}.png").size[0] > 500
