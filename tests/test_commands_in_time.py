"""Predictions and pictures of runs on grids and in time, made by the commands as a user makes them."""

from pathlib import Path

import h5py
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from PIL import Image

from thalweg.commands import evaluate, generate, plot, predict, train
from thalweg.errors import InputError

SMALL = [
    "experiment=mgno_vorticity",
    "operator.architecture.features=4",
    "operator.architecture.iterates=2",
    "operator.architecture.layers=1",
    "problem.points=32",
    "problem.every=2",
    "problem.frames=3",
    "problem.interval=0.1",
    "data.split={train: 4, valid: 2, test: 2}",
    "training.loop.epochs=1",
    "device=cpu",
]


def configuration(verb: str, folder: Path, *overrides: str) -> DictConfig:
    own = [f"run={folder / 'run'}", "device=cpu"]
    if verb in ("generate", "train"):
        allowed = SMALL if verb == "train" else [o for o in SMALL if not o.startswith("device")]
        own = [*allowed, f"data.folder={folder / 'data'}", *([f"folder={folder / 'run'}"] if verb == "train" else [])]
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose(verb, overrides=[*own, *overrides])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vorticity")
    generate.run(configuration("generate", folder))
    train.run(configuration("train", folder))
    return folder


def test_a_test_sample_is_predicted_to_its_end(folder: Path):
    predict.run(configuration("predict", folder))
    with h5py.File(folder / "run" / "prediction.h5") as file:
        assert file["fields/w"].shape == file["fields/w_reference"].shape == (3, 1, 16, 16)
        assert file["times"][()].tolist() == pytest.approx([0.1, 0.2, 0.3])
        error = file["fields/w"][()] - file["fields/w_reference"][()]
        assert abs(error - file["fields/w_error"][()]).max() < 1e-6


def test_inputs_of_ones_own_are_rolled_out(folder: Path, tmp_path: Path):
    output = tmp_path / "mine.h5"
    source = "inputs={w: 'sin(2*pi*x)*cos(2*pi*y)'}"
    predict.run(configuration("predict", folder, source, "steps=5", f"output={output}"))
    with h5py.File(output) as file:
        assert file["fields/w"].shape == (5, 1, 16, 16)
        assert torch.isfinite(torch.from_numpy(file["fields/w"][()])).all()
    # A file of the data set gives the first frame of a sample.
    shard = next((folder / "data").glob("samples-*.h5"))
    predict.run(configuration("predict", folder, f"inputs={{w: '{shard}:0'}}", "steps=3", f"output={output}"))
    predict.run(configuration("predict", folder))
    with h5py.File(output) as mine, h5py.File(folder / "run" / "prediction.h5") as sample:
        assert abs(mine["fields/w"][()] - sample["fields/w"][()]).max() < 1e-6


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="on a grid cannot be written"):
        predict.run(configuration("predict", folder, f"output={tmp_path / 'w.vtu'}"))
    with pytest.raises(InputError, match="no test sample 7"):
        plot.run(configuration("plot", folder, "sample=7"))
    with pytest.raises(InputError, match="lives on a uniform grid"):
        predict.run(configuration("predict", folder, "inputs={w: w.vtu}"))


def test_the_pictures_of_a_rollout(folder: Path):
    plot.run(configuration("plot", folder))
    run = folder / "run"
    assert Image.open(run / "rollout.gif").n_frames == 3
    for name in ("fields", "loss", "error_over_time", "spectrum_w"):
        assert Image.open(run / f"{name}.png").size[0] > 500
    result = evaluate.run(configuration("evaluate", folder))
    assert result["steps"] == 3


def test_a_rollout_becomes_a_film_of_another_kind(folder: Path):
    pytest.importorskip("imageio_ffmpeg")
    plot.run(configuration("plot", folder, "film=mp4"))
    assert b"ftyp" in (folder / "run" / "rollout.mp4").read_bytes()[:12]
    with pytest.raises(InputError, match=r"something\.gif or something\.mp4"):
        plot.run(configuration("plot", folder, "film=avi"))
