"""NeuralStagger by the commands: factors, processes that share every sample, the spread of sub-grids and its calibration."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from test_examples import example
from thalweg.commands import evaluate, generate, train
from thalweg.configuration import build
from thalweg.errors import FileError, InputError
from thalweg.fem.uniform_grid import Grid
from thalweg.operators import build_operator
from thalweg.operators.neuralstagger import Ensemble
from thalweg.solvers.grid import PeriodicField, VorticityEquation
from thalweg.solvers.grid.potentials import velocity_of
from thalweg.training import Checkpoints, PotentialDivergence, PotentialVelocityError, SpreadCalibration, VelocityError

SMALL = [
    "experiment=neuralstagger_vorticity",
    "problem.points=16",
    "problem.frames=7",
    "data.split={train: 6, valid: 10, test: 4}",
    "training.loop.epochs=2",
    "training.objective.objective.size=8",
    "operator.network.network.width=4",
]


def configuration(verb: str, folder: Path, run: str, *overrides: str) -> DictConfig:
    own = [*SMALL, f"data.folder={folder / 'data'}"] if verb != "evaluate" else [f"run={folder / run}"]
    own += ["device=cpu", *([f"folder={folder / run}"] if verb == "train" else [])]
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose(verb, overrides=[*own, *overrides])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stagger")
    generate.run(configuration("generate", folder, ""))
    train.run(configuration("train", folder, "batched"))
    return folder


def _as_under_torchrun(rank: int, config: DictConfig, port: int) -> None:
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "localhost"} | {key: str(value) for key, value in names.items()}
    train.run(config)


def test_two_processes_that_share_subtasks_train_by_the_command_as_one_does(folder: Path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    config = configuration("train", folder, "two_processes", "operator.execution=processes")
    mp.start_processes(_as_under_torchrun, (config, port), nprocs=2, start_method="fork")
    logs = [(folder / name / "metrics.jsonl").read_text().splitlines() for name in ("batched", "two_processes")]
    assert len(logs[0]) == len(logs[1]) == 2
    for one, two in zip(*logs, strict=True):
        a, b = json.loads(one), json.loads(two)
        for key in ("train_loss", "gradient_norm", "valid_relative_l2", "pool_dropped"):
            assert a[key] == pytest.approx(b[key], rel=1e-4)
    weights = [load_file(_latest(folder / name) / "weights.safetensors") for name in ("batched", "two_processes")]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-4)
    # What several processes trained, one evaluates.
    result = evaluate.run(configuration("evaluate", folder, "two_processes"))
    assert result["relative_l2"] == pytest.approx(
        evaluate.run(configuration("evaluate", folder, "batched"))["relative_l2"], rel=1e-3
    )


def _latest(run: Path) -> Path:
    checkpoint = Checkpoints(run / "checkpoints").latest()
    assert checkpoint is not None
    return checkpoint


@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 2, 1), (2, 2, 4), (4, 4, 2), (4, 4, 4)])
def test_factors_are_one_word_of_the_experiment(factors: tuple[int, int, int]):
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("train", overrides=["experiment=neuralstagger_vorticity", f"factors=[{','.join(map(str, factors))}]"])
    nodes = OmegaConf.to_container(config, resolve=True)
    operator = build_operator(nodes["operator"], build(nodes["problem"]).export())
    assert (*operator.decomposition.space, operator.decomposition.time) == factors
    assert nodes["training"]["objective"]["frames"] == factors[2]
    assert (nodes["problem"]["frames"] + 1) % factors[2] == 0  # so that rollouts of all end at the same frame


def test_a_time_factor_too_large_for_the_sub_grids_is_refused_by_the_experiment():
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        config = compose("train", overrides=["experiment=neuralstagger_vorticity", "factors=[2,2,8]"])
    nodes = OmegaConf.to_container(config, resolve=True)
    with pytest.raises(InputError, match="time factor of 8 violates the CFL condition"):
        build_operator(nodes["operator"], build(nodes["problem"]).export())


def test_evaluation_calibrates_the_spread_of_sub_grids_and_keeps_it_with_the_run(folder: Path):
    result = evaluate.run(configuration("evaluate", folder, "batched"))
    (path,) = (folder / "batched").glob("spread-*.json")
    calibration = SpreadCalibration.load(path)
    assert len(calibration.errors) == 10
    assert result["spread_factor"] == calibration.factor
    assert result["spread_skill_calibrated"] == pytest.approx(result["spread_skill"] * calibration.factor)
    assert 0 <= result["spread_within_bound"] <= 1
    valid = evaluate.run(configuration("evaluate", folder, "batched", "split=valid"))
    assert abs(valid["spread_skill_calibrated"] - 1) < 0.3
    assert valid["spread_within_bound"] == 1.0  # ⌈11 · 0.9⌉ = 10: the largest of them
    calibration.save(path)
    assert SpreadCalibration.load(path) == calibration
    path.write_text("{")
    with pytest.raises(FileError, match="no calibration of spreads"):
        evaluate.run(configuration("evaluate", folder, "batched"))
    path.unlink()


def test_an_ensemble_that_is_too_sure_of_itself_is_calibrated_by_other_samples():
    generator = torch.Generator().manual_seed(0)
    # Errors are those of a member three times as far away as its spread says, and vary in size from sample to sample.
    sizes = 0.5 + torch.rand(40, 1, generator=generator)
    members = sizes * torch.randn(8, 40, 2000, generator=generator)
    truth = 3 * sizes * torch.randn(40, 2000, generator=generator)
    ensemble = Ensemble(members.mean(0), members.std(0), 8)
    seen, unseen = (Ensemble(ensemble.mean[part], ensemble.spread[part], 8) for part in (slice(20), slice(20, None)))
    calibration = SpreadCalibration.of(seen, truth[:20])
    before, after = (part.calibration(truth[20:]) for part in (unseen, unseen.scaled(calibration.factor)))
    assert before["spread_skill"] < 0.4 < 0.95 < after["spread_skill"] < 1.05
    assert after["calibration_error"] < 0.1 < before["calibration_error"]
    other = SpreadCalibration.of(unseen, truth[20:])
    within = [e <= calibration.bound(0.9) * s for e, s in zip(other.errors, other.spreads, strict=True)]
    assert sum(within) >= 16
    with pytest.raises(InputError, match="needs 99 calibration samples"):
        calibration.bound(0.99)


def test_the_error_of_the_velocity_is_that_of_the_solvers():
    shape, lengths = (16, 12), (1.0, 2.0)
    equation = VorticityEquation(shape, lengths, viscosity=1.0, dtype=torch.float64)
    metric = VelocityError(Grid(shape, lengths, (True, True)), "w")
    field = PeriodicField(shape, lengths, alpha=2, tau=3)
    first = [field.sample(seed, range(6), dtype=torch.float64) for seed in (0, 1)]
    # Without the waves that the solver leaves out.
    w, v = (equation.solve(u, 1e-3, 1, dt=1e-3)[:, 0].unflatten(0, (3, 2)) for u in first)
    expected = torch.stack(
        [
            equation.velocity((w - v)[:, i]).flatten(1).norm(dim=1) / equation.velocity(v[:, i]).flatten(1).norm(dim=1)
            for i in range(2)
        ],
        1,
    )
    torch.testing.assert_close(metric.each({"w": w}, {"w": v}), expected)
    with pytest.raises(InputError, match="periodic rectangle"):
        VelocityError(Grid(shape, lengths), "w")


@pytest.mark.parametrize("grid", [Grid((5, 7), (1.0, 2.0)), Grid((4, 4, 6), (1.0, 1.0, 2.0), (True,) * 3)])
def test_the_error_of_a_potential_s_velocity_knows_no_gauge(grid: Grid):
    channels = 1 if grid.dim == 2 else 3
    a, b = (torch.randn(2, 3, channels, *grid.shape, dtype=torch.float64) for _ in range(2))
    metric = PotentialVelocityError(grid, "a")
    u, v = (velocity_of(part.split(1, 2), grid.spacings, grid.periodic) for part in (a, b))
    if grid.dim == 2:
        parts = [torch.cat([w.flatten(2) for w in velocity], 2) for velocity in (u, v)]
        torch.testing.assert_close(metric.each({"a": a}, {"a": b}), (parts[0] - parts[1]).norm(dim=2) / parts[1].norm(dim=2))
        assert metric({"a": a + 3}, {"a": a}) < 1e-14
    else:
        phi = torch.randn(2, 3, 1, *grid.shape, dtype=torch.float64)
        gradient = torch.cat([(phi.roll(-1, axis - 3) - phi) / h for axis, h in enumerate(grid.spacings)], 2)
        assert metric({"a": a + gradient}, {"a": a}) < 1e-13
        torch.testing.assert_close(metric({"a": 1.25 * a}, {"a": a}), torch.tensor(0.25, dtype=torch.float64))
    assert PotentialDivergence(grid, "a")({"a": a}, {"a": b}) < 1e-14
    assert PotentialDivergence(grid, "a")({"a": a.float()}, {"a": b.float()}) < 1e-6
    with pytest.raises(InputError, match=r"expected \(batch, time"):
        metric({"a": a[:, 0]}, {"a": b[:, 0]})
    with pytest.raises(InputError, match="periodic box"):
        PotentialVelocityError(Grid((4, 4, 4)), "a")


def test_coarse_to_fine(tmp_path: Path):
    result = example("coarse_to_fine")["main"](points=32, samples=40, width=12, epochs=4, folder=str(tmp_path))
    assert result["4"] < 0.6 * result["persistence"]
    assert result["1"] < 0.7 * result["persistence"]
    assert (tmp_path / "coarse_to_fine.png").stat().st_size > 10_000
