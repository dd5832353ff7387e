"""Runs side by side: one table, one picture, seeds joined, and the solver judged by the same metrics."""

import json
import math
import shutil
import statistics
from pathlib import Path

import pytest
from matplotlib.image import imread
from omegaconf import OmegaConf

from small import configuration
from thalweg.__main__ import _with_runs
from thalweg.commands import compare, train
from thalweg.errors import InputError
from thalweg.visualization.tradeoff import plot_tradeoff


@pytest.fixture(scope="module")
def runs(trained: Path, dataset: Path) -> list[Path]:
    """One run repeated with another seed, and one of another operator."""
    seeded, other = dataset / "seeded", dataset / "deeponet"
    train.run(configuration("train", dataset, "seed=1", f"folder={seeded}"))
    small = ["operator.processor.basis=8", "operator.processor.width=8", "training.loop.epochs=1"]
    train.run(configuration("train", dataset, "operator=deeponet", *small, f"folder={other}"))
    return [trained, seeded, other]


@pytest.fixture(scope="module")
def compared(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("comparison")
    levels = "solver=[{degree: 2}, {degree: 1}, {refinements: 0, degree: 1}]"
    config = configuration(
        "compare", folder, f"runs=[{','.join(map(str, runs))}]", f"output={folder}", levels, "solver_samples=3", "device=cpu"
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


def test_the_solver_itself_has_no_error_and_coarser_ones_have_more(compared: tuple[dict, Path]):
    """The data are in single precision."""
    same, linear, coarse = compared[0]["solvers"]
    assert same["relative_h1"] < 1e-5
    assert 1e-3 < linear["relative_l2"] < coarse["relative_l2"] < 1
    assert [solver["name"] for solver in (same, linear, coarse)] == ["degree 2", "degree 1", "refinements 0, degree 1"]
    assert all(0 < solver["seconds_per_sample_operator"] < 10 for solver in (same, linear, coarse))


def test_table_and_numbers_are_saved(compared: tuple[dict, Path]):
    content, folder = compared
    assert json.loads((folder / "compare.json").read_text()) == content
    lines = (folder / "compare.md").read_text().splitlines()
    assert len(lines) == 2 + 2 + 3
    header = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    assert header[:3] == ["run", "relative_h1", "relative_l2"]
    assert {"num_parameters", "seconds_train", "seconds_per_sample_operator"} <= set(header)
    assert lines[2].startswith("| run (2 seeds) | ")
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
    shutil.copytree(runs[0], other)
    config = OmegaConf.load(other / "config.yaml")
    config.data.split.test = 5
    OmegaConf.save(config, other / "config.yaml")
    with pytest.raises(InputError, match="have 12 and 5 samples"):
        compare.run(configuration("compare", tmp_path, f"runs=[{runs[0]},{other}]", f"output={tmp_path}"))
    with pytest.raises(InputError, match="folders of different runs"):
        compare.run(configuration("compare", tmp_path, f"runs=[{runs[0]},{runs[0]}]"))
    with pytest.raises(InputError, match="No run has a metric 'l7'; they have relative_h1"):
        compare.run(configuration("compare", tmp_path, f"runs={runs[2]}", "error=l7"))


def test_folders_may_stand_without_a_key():
    assert _with_runs(["a/b", "c", "split=valid", "--cfg", "job"]) == ["runs=[a/b,c]", "split=valid", "--cfg", "job"]
    assert _with_runs(["runs=[a]"]) == ["runs=[a]"]
