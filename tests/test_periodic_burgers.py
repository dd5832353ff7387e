"""Burgers' equation on periodic grids against Cole and Hopf, its orders and budgets; the published small case composes and learns."""

import json
from math import pi
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from thalweg.commands import evaluate, generate, train
from thalweg.configuration import build
from thalweg.errors import DivergedError, InputError
from thalweg.fem.uniform_grid import Grid
from thalweg.operators.baselines import DeepONet
from thalweg.solvers.exact_burgers import cole_hopf
from thalweg.solvers.grid import ARK436, ARS443, BurgersEquation, PeriodicField
from thalweg.solvers.grid.problems import PeriodicBurgers

f64 = torch.float64


def sine(points: int, length: float = 1.0) -> torch.Tensor:
    return torch.sin(2 * pi * torch.arange(points, dtype=f64) / points)[None, None] * length


def random_waves(points: int, samples=range(2)) -> torch.Tensor:
    return PeriodicField((points,), alpha=2, tau=5, sigma=25).sample(0, samples, dtype=f64)


def test_the_wave_is_that_of_cole_and_hopf():
    x = np.arange(256) / 256
    u = BurgersEquation(256, viscosity=0.01, dtype=f64).solve(sine(256), 0.1, 5, dt=1e-3)[0, :, 0]
    for frame in range(6):
        np.testing.assert_allclose(u[frame].numpy(), cole_hopf(x, 0.1 * frame, 0.01), atol=1e-8)


def test_a_longer_interval_is_another_unit_of_length():
    """u(x, t) on the unit interval is that of L u on the interval of length L, with viscosity L² ν."""
    unit = BurgersEquation(64, viscosity=0.05, dtype=f64).solve(sine(64), 0.5, 1, dt=5e-3)
    stretched = BurgersEquation(64, 3.0, viscosity=0.45, dtype=f64).solve(sine(64, 3.0), 0.5, 1, dt=5e-3)
    torch.testing.assert_close(stretched, 3 * unit, atol=1e-12, rtol=0)


@pytest.mark.parametrize("scheme", [ARS443, ARK436])
def test_the_order_in_time_is_that_of_the_scheme(scheme):
    equation, u = BurgersEquation(32, viscosity=0.02, dtype=f64), sine(32)
    exact = equation.solve(u, 0.5, 1, dt=1 / 1280)[:, 1]
    errors = [(equation.solve(u, 0.5, 1, dt=dt, scheme=scheme)[:, 1] - exact).norm() for dt in (1 / 80, 1 / 160)]
    assert float((errors[0] / errors[1]).log2()) > scheme.order - 0.2


def test_viscosity_alone_takes_energy_and_nothing_takes_the_mean():
    equation = BurgersEquation(96, 2 * pi, viscosity=1e-2, dtype=f64)
    u = equation.solve(1 + random_waves(96), 0.01, 1, dt=1e-3)[:, 1]
    rate = equation.rate(u)
    slope = torch.fft.irfft(1j * torch.arange(49) * torch.fft.rfft(u), n=96)
    torch.testing.assert_close((u * rate).mean(-1), -1e-2 * slope.square().mean(-1))
    assert rate.mean(-1).abs().max() < 1e-13


def test_what_is_published_is_converged_at_the_configured_step_and_points():
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        node = OmegaConf.to_container(compose("generate", overrides=["experiment=burgers"]).problem, resolve=True)
    problem, finer = build(node), build(node | {"points": 2048, "every": 16, "dt": 1e-3})
    u, exact = (p.solve(p.random_inputs(0, range(4)))["u"] for p in (problem, finer))
    assert (u - exact).norm() < 1e-5 * exact.norm()


def test_samples_are_functions_of_their_numbers():
    problem = PeriodicBurgers(lambda shape: PeriodicField(shape, alpha=2, tau=5, sigma=25), points=128, every=4, dt=0.02)
    assert problem.grid == Grid((32,), (2 * pi,), (True,))
    together, alone = problem.random_inputs(3, range(4)), problem.random_inputs(3, [2])
    torch.testing.assert_close(together["u0"][2:3], alone["u0"])
    assert problem.stored(alone)["u0"].shape == problem.solve(alone)["u"].shape == (1, 1, 32)


def test_what_is_wrong_is_said():
    equation = BurgersEquation(64, viscosity=1e-3)
    with pytest.raises(DivergedError, match="stable up to"):
        equation.solve(sine(64).float(), 1.0, 1, dt=0.5)
    with pytest.raises(InputError, match=r"expected \(batch, 1, 64\)"):
        equation.solve(sine(32).float(), 1.0, 1, dt=0.01)
    with pytest.raises(InputError, match=r"is torch\.float64, the equation torch\.float32"):
        equation.solve(sine(64), 1.0, 1, dt=0.01)
    with pytest.raises(InputError, match="positive length and viscosity"):
        BurgersEquation(64, viscosity=0.0)
    with pytest.raises(InputError, match="choose a divisor"):
        PeriodicBurgers(lambda shape: PeriodicField(shape, alpha=2, tau=5), points=64, every=7)


def test_harmonics_make_a_deeponet_periodic():
    grid = Grid((12, 8), (3.0, 1.0), (True, True))
    network = DeepONet(grid, 1, basis=8, width=8, harmonics=2)
    x, y = (
        2 * pi * k / n for k, n in zip(torch.meshgrid(torch.arange(12), torch.arange(8), indexing="ij"), (12, 8), strict=True)
    )
    expected = torch.stack([f(k * a) for f in (torch.cos, torch.sin) for a in (x, y) for k in (1, 2)], -1).flatten(0, 1)
    torch.testing.assert_close(network.points, expected)
    assert network(torch.randn(3, 1, 12, 8)).shape == (3, 1, 12, 8)
    with pytest.raises(InputError, match="periodic grid"):
        DeepONet(Grid((8,)), 1, harmonics=1)


@pytest.mark.parametrize("operator", ["fno_burgers", "deeponet_burgers"])
def test_the_published_case_learns(operator: str, tmp_path: Path):
    overrides = [
        "experiment=burgers",
        f"operator={operator}",
        f"data.folder={tmp_path}/data",
        "problem.points=256",
        "data.split={train: 64, valid: 8, test: 8}",
        "training.loop={epochs: 3}",
    ]
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        generate.run(compose("generate", overrides=overrides))
        train.run(compose("train", overrides=[*overrides, f"folder={tmp_path}/run"]))
        evaluate.run(compose("evaluate", overrides=[f"run={tmp_path}/run"]))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["relative_l2"] < 0.9
