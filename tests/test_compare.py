"""Runs side by side: one table, one picture, seeds joined, and the solver judged by the same metrics."""

import json
import math
import shutil
import statistics
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from matplotlib.image import imread
from omegaconf import DictConfig, OmegaConf

from small import configuration
from thalweg.__main__ import _with_runs
from thalweg.commands import compare, generate, train
from thalweg.commands.run import CONFIG, Run
from thalweg.errors import InputError
from thalweg.fem.grid_transfer import grid_transfer
from thalweg.fem.uniform_grid import Grid
from thalweg.visualization.tradeoff import plot_tradeoff


@pytest.fixture(scope="module")
def runs(trained: Path, dataset: Path) -> list[Path]:
    """One run repeated with another seed, and one of another operator."""
    seeded, other = dataset / "sweep" / "operator=spon,seed=1", dataset / "deeponet"
    train.run(configuration("train", dataset, "seed=1", f"folder='{seeded}'"))
    small = ["operator.processor.basis=8", "operator.processor.width=8", "training.loop.epochs=1"]
    train.run(configuration("train", dataset, "operator=deeponet", *small, f"folder={other}"))
    return [seeded, trained, other]


@pytest.fixture(scope="module")
def compared(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("comparison")
    levels = "solver=[{degree: 2}, {degree: 1}, {refinements: 0, degree: 1}]"
    config = configuration(
        "compare", folder, *_with_runs([*map(str, runs), f"output={folder}", levels]), "solver_samples=3", "device=cpu"
    )
    return compare.run(config), folder


def test_runs_that_differ_in_their_seed_are_one_row_with_mean_and_deviation(compared: tuple[dict, Path]):
    content, _ = compared
    repeated, other = content["operators"]
    errors = [run["relative_h1"] for run in repeated["runs"]]
    assert len(errors) == 2
    assert errors[0] != errors[1]
    assert repeated["mean"]["relative_h1"] == pytest.approx(statistics.fmean(errors))
    assert repeated["deviation"]["relative_h1"] == pytest.approx(abs(errors[0] - errors[1]) / math.sqrt(2))
    assert len(other["runs"]) == 1
    assert other["name"] == "deeponet"
    assert other["deviation"] == {}
    assert repeated["mean"]["boundary_error"] == 0 < other["mean"]["boundary_error"]


def test_rows_of_several_sweeps_are_told_apart_by_the_names_of_their_runs(trained: Path, tmp_path: Path):
    """Folders of sweeps say what varies: seed=0, or the same rate of two operators."""

    def run(name: str, swept: str, epochs: int, seed: int = 0) -> Run:
        folder = shutil.copytree(trained, tmp_path / f"{name}_sweep" / swept)
        config = OmegaConf.load(folder / CONFIG)
        config.name, config.seed, config.training.loop.epochs = name, seed, epochs
        OmegaConf.save(config, folder / CONFIG)
        return Run(str(folder), "cpu")

    runs = [
        run("narrow", "seed=0", 1),
        run("narrow", "seed=1", 1, seed=1),
        run("narrow", "lr=0.01", 2),
        run("wide", "lr=0.01", 3),
    ]
    grouped = compare._grouped(runs)
    assert [entry.name for entry in grouped] == ["narrow", "narrow, lr=0.01", "wide, lr=0.01"]
    assert [len(entry.folders) for entry in grouped] == [2, 1, 1]


def test_the_solver_itself_has_no_error_and_coarser_ones_have_more(compared: tuple[dict, Path]):
    """The data are in single precision."""
    same, linear, coarse = compared[0]["solvers"]
    assert same["relative_h1"] < 1e-5
    assert 1e-3 < linear["relative_l2"] < coarse["relative_l2"] < 1
    assert [solver["name"] for solver in (same, linear, coarse)] == ["degree 2", "degree 1", "refinements 0, degree 1"]
    assert all(0 < solver["seconds_per_sample"] < 10 for solver in (same, linear, coarse))


def test_table_and_numbers_are_saved(compared: tuple[dict, Path]):
    content, folder = compared
    assert json.loads((folder / "compare.json").read_text()) == content
    lines = (folder / "compare.md").read_text().splitlines()
    assert len(lines) == 2 + 2 + 3
    header = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    assert header[:3] == ["run", "relative_h1", "relative_l2"]
    assert {"num_parameters", "seconds_train", "seconds_train_cpu", "seconds_per_sample"} <= set(header)
    assert lines[2].startswith("| operator=spon (2 seeds) | ")
    assert " ± " in lines[2]
    assert len({line.count("|") for line in lines}) == 1
    picture = imread(folder / "compare.png")
    assert picture.shape[0] > 500
    assert picture.std() > 0.05


def test_zero_and_infinite_errors_are_left_out_of_a_logarithmic_picture(tmp_path: Path):
    plot_tradeoff(
        [("exact", 1.0, 0.0, 0.0), ("good", 0.1, 0.01, 0.02)], [("s", 1.0, math.inf, 0.0)], tmp_path / "a.png", error="l2"
    )
    with pytest.raises(InputError, match="no positive errors"):
        plot_tradeoff([("exact", 1.0, 0.0, 0.0)], [], tmp_path / "b.png", error="l2")


def test_runs_on_other_data_are_refused(runs: list[Path], dataset: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    config = OmegaConf.load(other / "config.yaml")
    config.data.split.test = 5
    OmegaConf.save(config, other / "config.yaml")
    with pytest.raises(InputError, match="have 12 and 5 samples"):
        compare.run(configuration("compare", tmp_path, f"runs=[{runs[1]},{other}]", f"output={tmp_path}"))
    with pytest.raises(InputError, match="folders of different runs"):
        compare.run(configuration("compare", tmp_path, f"runs=[{runs[1]},{runs[1]}]"))
    with pytest.raises(InputError, match="No run has a metric 'l7'; they have relative_h1"):
        compare.run(configuration("compare", tmp_path, f"runs={runs[2]}", "error=l7"))


def test_folders_may_stand_without_a_key():
    assert _with_runs(["a/b", "c", "split=valid", "--cfg", "job"]) == ["runs=['a/b','c']", "split=valid", "--cfg", "job"]
    assert _with_runs(["runs=[a]"]) == ["runs=[a]"]


def test_transfer_between_grids_is_exact_for_multilinear_functions_and_second_order_on_periodic_ones():
    def polynomial(grid: Grid):
        x, y, z = grid.coordinates(torch.float64)
        return torch.stack([x * y * z - 2 * y, 1 + z])[None]

    coarse, fine = Grid((4, 3, 5), (1.0, 2.0, 3.0)), Grid((7, 9, 6), (1.0, 2.0, 3.0), location="centre")
    for source, target in ((coarse, fine), (fine, coarse)):
        torch.testing.assert_close(grid_transfer(source, target, polynomial(source)), polynomial(target))

    def error(n: int, location):
        source, target = (Grid((m,), (1.0,), (True,), location) for m in (n, 5 * n))
        u, v = (torch.sin(2 * math.pi * grid.coordinates(torch.float64))[None] for grid in (source, target))
        return (grid_transfer(source, target, u) - v).abs().max().item()

    for location in ("vertex", "centre"):
        assert math.log2(error(16, location) / error(32, location)) == pytest.approx(2, abs=0.05)
    with pytest.raises(InputError, match="no transfer between"):
        grid_transfer(coarse, Grid((3, 3)), polynomial(coarse))


def test_on_grids_the_cheaper_solver_draws_the_same_samples_at_its_resolution(tmp_path: Path):
    def config(verb: str, *overrides: str) -> DictConfig:
        with initialize_config_module("thalweg.conf", version_base="1.3"):
            return compose(verb, overrides=list(overrides))

    made = ["problem=darcy_smooth", "problem.nodes=33", "problem.every=1", "name=darcy", f"data.folder={tmp_path / 'data'}"]
    made += ["operator=fno_grid", "training=grid", "data.split={train: 4, valid: 2, test: 2}"]
    generate.run(config("generate", *made, "preview=false"))
    small = "operator.network.width=4", "training.loop.epochs=1", "device=cpu"
    train.run(config("train", *made, *small, f"folder={tmp_path / 'run'}"))
    levels = "solver=[{nodes: 33}, {nodes: 17}, {nodes: 9}]"
    content = compare.run(config("compare", f"runs={tmp_path / 'run'}", levels, f"output={tmp_path}", "device=cpu"))
    same, half, quarter = (solver["relative_l2"] for solver in content["solvers"])
    assert same < 1e-6
    assert 1e-3 < half < 0.7 * quarter < 0.3
