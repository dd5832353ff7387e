"""A run that is killed and resumed ends bit for bit where the uninterrupted run ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from small import SMALL
from thalweg.training import Checkpoints


def start(dataset: Path, folder: Path, *overrides: str) -> subprocess.Popen:
    arguments = [
        *SMALL,
        f"data.folder={dataset / 'data'}",
        f"folder={folder}",
        "training.loop.epochs=3",
        "device=cpu",
        *overrides,
    ]
    command = [sys.executable, "-m", "thalweg", "train", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def rows(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in lines]


def final_state(folder: Path) -> tuple[dict, dict]:
    checkpoint = Checkpoints(folder / "checkpoints").latest()
    assert checkpoint is not None
    return load_file(checkpoint / "weights.safetensors"), torch.load(checkpoint / "training_state.pt", weights_only=True)


def assert_same(a: object, b: object) -> None:
    if isinstance(a, dict):
        assert isinstance(b, dict)
        assert a.keys() == b.keys()
        for key in a:
            if key != "seconds":
                assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert isinstance(b, list)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert torch.equal(a, b)
    else:
        assert a == b


@pytest.fixture(scope="module")
def uninterrupted(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(start(dataset, folder))
    return folder


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=["kill", "interrupt", "terminate"])
def test_resume_is_bitwise_identical(number: signal.Signals, dataset: Path, uninterrupted: Path, tmp_path: Path):
    folder = tmp_path / "run"
    # One checkpoint a step, so that a kill falls at any moment: into a step, into a validation, or into a checkpoint being written.
    process = start(dataset, folder, "training.loop.checkpoint_every=1")
    checkpoints = folder / "checkpoints"
    while not any(checkpoints.glob("step-*3")) and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode in {signal.SIGKILL: (-9,), signal.SIGINT: (130,), signal.SIGTERM: (130,)}[number]

    finish(start(dataset, folder, "resume=true"))
    for ours, theirs in zip(final_state(folder), final_state(uninterrupted), strict=True):
        assert_same(ours, theirs)
    assert rows(folder) == rows(uninterrupted)


def test_a_half_written_checkpoint_is_never_seen(tmp_path: Path):
    (tmp_path / ".step-00000007.partial").mkdir(parents=True)
    assert Checkpoints(tmp_path).latest() is None
