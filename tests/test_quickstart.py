"""The way of a new user: generate, train, evaluate, predict, plot, each as its own process, and what can be done afterwards."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import meshio
import numpy as np
import pytest
import torch

from small import SMALL
from thalweg.__main__ import main
from thalweg.commands.run import Run

REQUIRED = {
    "relative_l2",
    "relative_h1",
    "boundary_error",
    "seconds_train",
    "seconds_train_cpu",
    "seconds_per_sample_operator",
    "seconds_per_sample_solver",
    "num_parameters",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    steps = [
        ["generate", *SMALL],
        ["train", *SMALL, "training.loop.epochs=2", "resume=true"],
        ["evaluate", "run=outputs/quickstart"],
        ["predict", "run=outputs/quickstart"],
        ["plot", "run=outputs/quickstart"],
    ]
    for step in steps:
        done = subprocess.run([sys.executable, "-m", "thalweg", *step], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def thalweg(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Further commands in that folder, in this process."""

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["thalweg", *arguments])
        main()

    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return run


def test_the_run_folder_holds_everything(folder: Path):
    names = {path.name for path in (folder / "outputs/quickstart").iterdir()}
    assert names >= {
        "config.yaml", "metrics.jsonl", "metrics.json", "checkpoints", "fields.png", "loss.png", "prediction.vtu",
    }  # fmt: skip


def test_the_report_is_one_file_with_everything_in_it(folder: Path, thalweg: Callable[..., None]):
    (folder / "outputs/quickstart/metrics.json").unlink()  # it is made anew
    thalweg("report", "run=outputs/quickstart")
    page = (folder / "outputs/quickstart/report.html").read_text()
    metrics = json.loads((folder / "outputs/quickstart/metrics.json").read_text())
    assert f"<td>{metrics['relative_h1']:.4g}</td>" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) >= 2
    assert all(source.startswith("data:image/") for source in sources)
    assert page.count("<tr>") > 15
    assert "epochs: 2" in page


def test_boundary_values_are_exact_and_metrics_complete(folder: Path):
    metrics = json.loads((folder / "outputs/quickstart/metrics.json").read_text())
    assert metrics.keys() >= REQUIRED
    assert metrics["boundary_error"] == 0.0
    assert metrics["num_samples"] == 12


def test_training_reduces_the_true_error(folder: Path):
    rows = [json.loads(line) for line in (folder / "outputs/quickstart/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["valid_relative_l2"] < 0.6
    assert rows[-1]["train_loss"] < 0.7 * rows[0]["train_loss"]


def test_vtu_holds_the_dof_values_of_prediction_and_reference(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    run = Run("outputs/quickstart", "cpu")
    disc = run.discretization()
    fields = run.sample(0, disc)
    with torch.no_grad():
        u = run.operator(disc)(fields)["u"][0]
    written = meshio.read("outputs/quickstart/prediction.vtu")
    V = disc["V"]
    order = np.lexsort(written.points[:, :2].round(9).T)
    dofs = np.lexsort(V.points.numpy().round(9).T)
    assert np.abs(written.points[order, :2] - V.points.numpy()[dofs]).max() < 1e-12
    np.testing.assert_array_equal(written.point_data["u"][order], u.numpy()[dofs])
    np.testing.assert_array_equal(written.point_data["u_reference"][order], fields["u"][0].numpy()[dofs])


def test_a_prediction_from_expressions_has_their_boundary_values(folder: Path, thalweg: Callable[..., None]):
    thalweg("predict", "run=outputs/quickstart", 'inputs={f: "10*sin(pi*x)*y", g: "x - y**2"}', "output=mine.vtu")
    mine = meshio.read(folder / "mine.vtu")
    x, y = mine.points[:, 0], mine.points[:, 1]
    np.testing.assert_allclose(mine.point_data["f"], 10 * np.sin(np.pi * x) * y, atol=1e-5)
    left = x < 1e-12
    assert left.sum() > 10
    np.testing.assert_allclose(mine.point_data["u"][left], (x - y**2)[left], atol=1e-6)


def test_a_prediction_takes_fields_from_vtu_and_from_data_files(folder: Path, thalweg: Callable[..., None]):
    thalweg("predict", "run=outputs/quickstart", "sample=3", "output=sample.vtu")
    shard = "datasets/quickstart/samples-000000-000016.h5:3"
    thalweg("predict", "run=outputs/quickstart", f"inputs={{f: sample.vtu, g: '{shard}'}}", "output=again.vtu")
    sample, again = (meshio.read(folder / name) for name in ("sample.vtu", "again.vtu"))
    np.testing.assert_array_equal(sample.point_data["u"], again.point_data["u"])


def test_a_finished_training_resumes_to_itself(folder: Path, thalweg: Callable[..., None]):
    before = (folder / "outputs/quickstart/metrics.jsonl").read_bytes()
    thalweg("train", *SMALL, "training.loop.epochs=2", "resume=true")
    assert (folder / "outputs/quickstart/metrics.jsonl").read_bytes() == before
