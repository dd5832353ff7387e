"""The benchmarks on which baselines are compared with published errors: their data are exact, their configurations learn."""

import json
from math import pi
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module

from thalweg.commands import evaluate, generate, train
from thalweg.errors import InputError
from thalweg.fem.uniform_grid import Grid
from thalweg.solvers.grid.problems import PoissonOfSines
from thalweg.training import RelativeNorm


def in_double(**arguments) -> PoissonOfSines:
    problem = PoissonOfSines(**arguments)
    problem.dtype = torch.float64
    return problem


def test_the_solution_is_exact_for_one_sine_and_for_the_sums_that_are_drawn():
    """Second differences of u have the error of second order that those of an exact solution have."""
    problem = in_double(nodes=33)
    x, y = problem.grid.coordinates(torch.float64)
    wave = torch.sin(3 * pi * x) * torch.sin(2 * pi * y)
    torch.testing.assert_close(problem.solve({"f": wave[None, None]})["u"][0, 0], wave / (13 * pi**2), rtol=0, atol=1e-15)
    errors = []
    for nodes in (129, 257):
        problem = in_double(nodes=nodes, modes=4)
        f = problem.random_inputs(0, range(2))["f"]
        u = problem.solve({"f": f})["u"]
        h = 1 / (nodes - 1)
        inner = u[..., 1:-1, 1:-1]
        neighbours = u[..., 2:, 1:-1] + u[..., :-2, 1:-1] + u[..., 1:-1, 2:] + u[..., 1:-1, :-2]
        errors.append(((4 * inner - neighbours) / h**2 - f[..., 1:-1, 1:-1]).abs().max())
        assert not u[..., 0, :].any()
        assert not u[..., :, -1].any()
    assert float((errors[0] / errors[1]).log2()) == pytest.approx(2, abs=0.01)


def test_sources_are_functions_of_their_numbers_and_not_of_the_grid():
    coarse, fine = in_double(nodes=33), in_double(nodes=65)
    together, alone = coarse.random_inputs(3, range(4))["f"], coarse.random_inputs(3, [2])["f"]
    assert torch.equal(together[2:3], alone)
    torch.testing.assert_close(fine.random_inputs(3, [2])["f"][..., ::2, ::2], alone, rtol=0, atol=1e-13)


def test_sources_have_the_published_variance():
    """The mean of f² is (π/K²)² Σ (i² + j²)/12: each a_ij has variance 1/3, each product of sines 1/4."""
    problem = in_double(nodes=64)
    k2 = torch.arange(1.0, 17.0) ** 2
    expected = (pi / 16**2) ** 2 * (k2[:, None] + k2).sum().item() / 12
    measured = problem.random_inputs(0, range(64))["f"][..., :-1, :-1].square().mean().item()
    assert measured == pytest.approx(expected, rel=0.03)


def test_the_l1_error_of_a_grid_is_the_mean_of_absolute_values():
    grid = Grid((5, 4), (2.0, 1.0))
    u, v = torch.randn(2, 3, 1, 5, 4, dtype=torch.float64)
    weights = torch.tensor([0.5, 1, 1, 1, 0.5])[:, None] * torch.tensor([0.5, 1, 1, 0.5])
    expected = (weights * (u - v).abs()).sum((1, 2, 3)) / (weights * v.abs()).sum((1, 2, 3))
    torch.testing.assert_close(RelativeNorm(grid, "u", "L1").each({"u": u}, {"u": v}), expected)
    with pytest.raises(InputError, match="choose one of L1, L2, H1"):
        RelativeNorm(grid, "u", "Hdiv")


def test_more_sines_than_points_are_refused():
    with pytest.raises(InputError, match="1 to 14 sines, not 16"):
        PoissonOfSines(nodes=16)


@pytest.mark.parametrize(
    ("operator", "size"), [("unet_poisson", "{width: 8, levels: 2}"), ("deeponet_poisson", "{basis: 16, width: 64}")]
)
def test_the_sums_of_sines_are_learned(operator: str, size: str, tmp_path: Path):
    overrides = [
        "experiment=poisson_sines",
        f"operator={operator}",
        f"operator.network={size}",
        f"folder={tmp_path}/run",
        f"data.folder={tmp_path}/data",
        "problem={nodes: 16, modes: 2}",
        "data.split={train: 128, valid: 8, test: 8}",
        "training.loop={epochs: 10, batch_size: 8}",
    ]
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        generate.run(compose("generate", overrides=overrides))
        train.run(compose("train", overrides=overrides))
        evaluate.run(compose("evaluate", overrides=[f"run={tmp_path}/run"]))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["relative_l1"] < 0.8
