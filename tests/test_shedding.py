"""Vortex shedding at a wanted frequency: the frequency, the change of the inflow, the residual under it, and the control."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module

from test_examples import example
from thalweg import control
from thalweg.commands import control as control_command
from thalweg.commands import generate, train
from thalweg.errors import InputError
from thalweg.operators import Decomposition, DilatedResNet, NeuralStagger, WithDerivatives
from thalweg.solvers.grid import StaggeredResidual
from thalweg.solvers.grid.problems import InflowChannel

f64 = torch.float64

CHANNEL = {"cells": (24, 12), "length": 2.0, "viscosity": 5e-3, "disc": (0.5, 0.5, 0.17), "interval": 0.04, "dt": 0.02}


def channel(**options) -> InflowChannel:
    problem = InflowChannel(**{**CHANNEL, "start": 0.2, "frames": 3, **options})
    problem.dtype = f64
    return problem


@pytest.mark.parametrize("f", [1.3, 1.7, 2.13])
def test_the_expected_frequency_of_an_oscillation_is_its_frequency(f):
    t = 0.05 * torch.arange(200, dtype=f64)
    assert control.expected_frequency(3 + torch.cos(2 * torch.pi * f * t + 0.4), 0.05).item() == pytest.approx(f, rel=1e-6)
    both = torch.cos(2 * torch.pi * f * t) + 0.5 * torch.cos(6 * torch.pi * f * t)
    assert control.expected_frequency(both, 0.05).item() == pytest.approx((f + 0.25 * 3 * f) / 1.25, rel=1e-3)
    with pytest.raises(InputError, match="8 values"):
        control.expected_frequency(t[:7], 0.05)


def test_spectra_are_shares_and_their_peak_is_at_the_frequency():
    t = 0.05 * torch.arange(200, dtype=f64)
    f, power = control.power_spectrum(torch.cos(3 * torch.pi * t), 0.05)
    assert power.sum().item() == pytest.approx(1)
    assert f[power.argmax()].item() == pytest.approx(1.5)


def test_samples_of_an_inflow_channel_are_the_solutions_of_their_inflows():
    problem = channel()
    inputs = problem.random_inputs(0, range(3))
    psi = problem.solve(inputs)["psi"]
    assert psi.shape == (3, 4, 1, 25, 13)
    speeds = inputs["inflow"][:, 0, 0, 0]
    assert ((speeds > 0.7) & (speeds < 1.3)).all()
    flux = speeds * (1 + 1 / (2 * 12**2))  # of the parabola by the midpoint rule
    torch.testing.assert_close(psi[..., 0, -1], flux[:, None, None].expand(3, 4, 1), atol=1e-8, rtol=0)
    assert psi[..., 0].abs().max() < 1e-8
    alone = channel().solve(channel().random_inputs(0, [2]))["psi"]
    torch.testing.assert_close(alone[0], psi[2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("pressure", ["curl", "projection"])
def test_held_sides_give_the_residual_of_each_sample_s_own_inflow(pressure):
    problem, speeds = channel(), torch.tensor([0.8, 1.2], dtype=f64)
    own = StaggeredResidual(problem.flow(speeds), 0.04, pressure=pressure)
    frames = problem.flow(speeds).solve(problem.wake(speeds), 0.04, 1, dt=0.02)
    before, after = (tuple(w[:, i] for w in frames) for i in (0, 1))
    held = StaggeredResidual(problem.flow(), 0.04, pressure=pressure, held=True)
    for a, b in zip(held(before, after), own(before, after), strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=0)
    if pressure == "projection":
        flows = StaggeredResidual(problem.flow(), 0.04, pressure=pressure)
        assert flows(before, after)[0].abs().max() > 0.1


def untrained(problem: InflowChannel) -> NeuralStagger:
    torch.manual_seed(0)
    network = partial(DilatedResNet, width=8, blocks=1, dilations=(1, 2, 1), padding_mode="replicate")
    operator = NeuralStagger(
        network,
        Decomposition((2, 2), 2, "replicate"),
        {"psi": 1},
        inputs={"free": 1, "solid": 1, "inflow": 1},
        held={"psi": "free"},
        weights="shared",
    ).double()
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return operator


def test_surrogate_and_solver_start_from_the_same_flow_after_the_change_of_the_inflow():
    problem = channel()
    shedding = control.Shedding(problem, untrained(problem), 0.8, 0.0)
    for speed in (0.8, 1.0, 1.25):
        m = torch.tensor(speed, dtype=f64)
        with torch.no_grad():
            surrogate, reference = shedding.surrogate(m), shedding.reference(m)
        assert surrogate.shape == reference.shape == (11, 13, 7)
        torch.testing.assert_close(surrogate[0], reference[0], atol=1e-8, rtol=0)
        assert (surrogate[1] - surrogate[0]).abs().max() > 1e-3


def test_the_probe_sees_the_transverse_velocity():
    problem = channel()
    shedding = control.Shedding(problem, untrained(problem), 0.8, 0.16, probe=(1.0, 0.5))
    x = torch.arange(13, dtype=f64)[:, None] * 2 / 12
    torch.testing.assert_close(shedding.signal((0.3 * x**2).expand(11, 13, 7)), torch.full((9,), -0.6, dtype=f64))


def test_the_gradient_through_the_rollout_passes_the_taylor_test():
    problem = channel()
    shedding = control.Shedding(problem, untrained(problem), 0.8, 0.0)
    functional = control.TorchFunctional(shedding.objective(2.0), [control.Control("inflow", 1.0)], f64)
    at, along = {"inflow": np.array(1.1)}, {"inflow": np.array(1.0)}
    assert control.taylor_test(functional, at, along, steps=(1e-2, 5e-3, 2.5e-3)).min() > 1.9


def test_a_network_is_given_the_derivatives_of_a_stream_function():
    x = torch.linspace(0, 1, 65, dtype=f64)[:, None].expand(65, 65)
    psi = (x**2 * x.T + x.T**2)[None, None]
    given = []
    network = WithDerivatives(lambda in_channels, out_channels: torch.nn.Identity(), 1, 1, 64, scales=(1.0, 2.0, 4.0))
    network.network.register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    network(psi)
    u, v, w = x**2 + 2 * x.T, -2 * x * x.T, -2 * x.T - 2
    expected = torch.stack([psi[0, 0], u, v, w / 2, v * -2 / 4])
    torch.testing.assert_close(given[0][0, :, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-9, rtol=0)
    with pytest.raises(InputError, match="positive"):
        WithDerivatives(torch.nn.Conv2d, 1, 1, 0.0)


TINY = [
    "experiment=neuralstagger_channel",
    "problem={cells: [32, 16], disc: [0.5, 0.5, 0.16], viscosity: 2.0e-3, start: 5.0, interval: 0.04, dt: 0.02, frames: 60}",
    "operator.network={points: 8, network: {width: 16}}",
    "data.split={train: 8, valid: 1, test: 1}",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on a coarse channel."""
    folder = tmp_path_factory.mktemp("channel")
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        own = [*TINY, f"data.folder={folder / 'data'}", "device=cpu"]
        made = compose("generate", overrides=[*own, "preview=false"])
        run = compose("train", overrides=[*own, f"folder={folder / 'run'}", "training.loop.epochs=4"])
    generate.run(made)
    train.run(run)
    return folder / "run"


def test_the_frequency_found_through_a_surrogate_is_that_of_the_solver(tmp_path: Path, trained: Path):
    result = example("shedding_frequency")["main"](
        str(trained), target=1.1, searches=2, duration=5.0, skip=1.0, folder=str(tmp_path)
    )
    assert result["taylor"] > 1.9
    assert abs(result["uncontrolled, reference"] - 1.1) > 0.1
    assert result["controlled, reference"] == pytest.approx(1.1, rel=0.03)
    assert (tmp_path / "shedding_frequency.png").stat().st_size > 20_000


def test_the_configured_search_for_a_frequency_finds_what_the_example_finds_first(tmp_path: Path, trained: Path):
    own = ["experiment=shedding_frequency", f"folder={tmp_path}", f"run={trained}", "case.target=1.1", "optimizer.iterations=3"]
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("control", overrides=own)
    result = control_command.run(config)
    uncontrolled, surrogate, reference = (result[row] for row in ("uncontrolled", "surrogate", "reference"))
    assert uncontrolled["off by"] > 0.1
    assert surrogate["expected frequency"] == pytest.approx(1.1, rel=0.01)
    assert reference["off by"] < 0.5 * uncontrolled["off by"]
    assert (tmp_path / "fields.png").stat().st_size > 10_000
    assert (tmp_path / "history.png").stat().st_size > 10_000


def test_the_gradient_through_the_solver_passes_the_taylor_test():
    case = control.SheddingFrequency(channel(), 2.0, duration=0.4, skip=0.1)
    assert case.uncontrolled["inflow"] == 1.0
    at, along = {"inflow": np.array(1.1)}, {"inflow": np.array(1.0)}
    assert control.taylor_test(case.functional("torch"), at, along, steps=(1e-2, 5e-3, 2.5e-3)).min() > 1.9
    with pytest.raises(InputError, match="no operator to advance"):
        case.quantities(at, "operator")
    with pytest.raises(InputError, match="must be positive"):
        control.SheddingFrequency(channel(), 0.0)
