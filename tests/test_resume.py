"""A run that is killed and resumed ends bit for bit where the uninterrupted run ends."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from heat import GRID, advance, operator, pairs, trainer, trajectories
from small import SMALL
from thalweg import training
from thalweg.errors import FileError, InputError
from thalweg.training import Checkpoints, Pool, RelativeNorm, Rollout, SchemeResidual

CLOCKS = ("seconds", "seconds_cpu")


def rows(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in lines]


def final_state(folder: Path) -> tuple[dict, dict]:
    checkpoint = Checkpoints(folder / "checkpoints").latest()
    assert checkpoint is not None
    return load_file(checkpoint / "weights.safetensors"), torch.load(checkpoint / "training_state.pt", weights_only=True)


def assert_same(a: object, b: object, ignore: tuple[str, ...] = CLOCKS) -> None:
    if isinstance(a, dict):
        assert isinstance(b, dict)
        assert a.keys() == b.keys()
        for key in a:
            if key not in ignore:
                assert_same(a[key], b[key], ignore)
    elif isinstance(a, list):
        assert isinstance(b, list)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y, ignore)
    elif isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert torch.equal(a, b)
    else:
        assert a == b


def assert_same_end(folder: Path, other: Path, ignore: tuple[str, ...] = CLOCKS) -> None:
    for ours, theirs in zip(final_state(folder), final_state(other), strict=True):
        assert_same(ours, theirs, ignore)
    assert rows(folder) == rows(other)


def in_child(act: Callable[[], Any]) -> int:
    """Run something in a child process; its number."""
    child = os.fork()
    if child:
        return child
    logging.disable()
    try:
        act()
    except BaseException as error:
        os._exit(130 if isinstance(error, KeyboardInterrupt) else 1)
    os._exit(0)


def residual(prediction: dict, fields: dict) -> torch.Tensor:
    return prediction["u"] - advance(fields["previous_u"])


NORM = RelativeNorm(GRID, "u", "L2")
STEPPER = partial(operator, source="u")

#: Settings, and other arguments of the trainer, for every part of training that has a state.
KINDS: dict[str, tuple[dict, Callable[[], dict]]] = {
    "adamw, one cycle, average": ({"ema": 0.9}, dict),
    "lion, cosine": ({"accumulate": 3}, lambda: {"make_optimizer": training.Lion, "make_scheduler": training.cosine}),
    "lbfgs, constant": (
        {"gradient_clip": None, "batch_size": 20},
        lambda: {
            "make_optimizer": partial(torch.optim.LBFGS, max_iter=4, line_search_fn="strong_wolfe"),
            "make_scheduler": training.constant,
        },
    ),
    "muon, plateau": (
        {},
        lambda: {
            "make_optimizer": training.MuonAdamW,
            "make_scheduler": partial(training.plateau, patience=0, threshold=0.5),
            "make_operator": partial(operator, matrix=True),
        },
    ),
    "rollouts with noise": (
        {},
        lambda: {
            "loss": Rollout(NORM, ["u"], horizon=2, grow_every=4, pushforward=2, noise=0.1),
            "train": trajectories(20, 7),
            "valid": trajectories(6, 4, seed=1),
            "make_operator": STEPPER,
        },
    ),
    "pool": (
        {"ema": 0.9},
        lambda: {
            "loss": Pool(SchemeResidual(residual), ["u"], size=24, reset=0.2, trajectories=True),
            "train": trajectories(20, 3),
            "valid": trajectories(6, 4, seed=1),
            "make_operator": STEPPER,
        },
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_at_random_moments_ends_bit_for_bit_the_same(kind: str, tmp_path: Path):
    settings, others = KINDS[kind]
    start = time.monotonic()
    trainer(tmp_path / "whole", settings | {"epochs": 6}, **others()).run()
    duration = time.monotonic() - start

    folder, chance, kills = tmp_path / "killed", random.Random(kind), 0
    for attempt in range(60):
        resume = Checkpoints(folder / "checkpoints").latest() is not None
        run = trainer(folder, settings | {"epochs": 6, "checkpoint_every": 1}, **others())
        child = in_child(lambda run=run, resume=resume: run.run(resume))
        if kills < 3:
            time.sleep(chance.uniform(0, duration * (1 + attempt / 4)))
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL)
        kills += code == -signal.SIGKILL and resume
        if code == 0:
            break
    assert_same_end(folder, tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_ends_the_step_and_saves_it(number: signal.Signals, tmp_path: Path):
    run = trainer(tmp_path / "stopped", {"epochs": 2000})
    child = in_child(run.run)
    deadline = time.monotonic() + 60
    while not (tmp_path / "stopped/metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)
    os.kill(child, number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    step = final_state(tmp_path / "stopped")[1]["progress"]["step"]
    assert 0 < step < 6000


def start(dataset: Path, folder: Path, *overrides: str) -> subprocess.Popen:
    arguments = [
        *SMALL,
        f"data.folder={dataset / 'data'}",
        f"folder={folder}",
        "training.loop.epochs=2",
        "device=cpu",
        *overrides,
    ]
    command = [sys.executable, "-m", "thalweg", "train", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_the_command_goes_on_where_it_was_interrupted(dataset: Path, trained: Path, tmp_path: Path):
    folder = tmp_path / "run"
    process = start(dataset, folder, "training.loop.checkpoint_every=1")
    while not any((folder / "checkpoints").glob("step-*3")) and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130

    process = start(dataset, folder, "resume=true")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same_end(folder, trained)
    assert len(json.loads((folder / "environment.json").read_text())) == 2


def test_a_half_written_checkpoint_is_never_seen(tmp_path: Path):
    (tmp_path / ".step-00000007.partial").mkdir(parents=True)
    assert Checkpoints(tmp_path).latest() is None


def test_a_run_without_an_end_is_extended_bit_for_bit(tmp_path: Path):
    trainer(tmp_path / "long", {"epochs": 4}, make_scheduler=training.constant).run()
    trainer(tmp_path / "run", {"epochs": 2}, make_scheduler=training.constant).run()
    trainer(tmp_path / "run", {"epochs": 4}, make_scheduler=training.constant).run(resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "long")


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"epochs": 4}, {}, "epochs was 2, is 4"),
        ({"batch_size": 4}, {}, "batch_size was 8, is 4"),
        ({"ema": 0.9}, {}, "ema was None, is 0.9"),
        ({}, {"train": pairs(20, seed=5)}, "started otherwise: its samples were others"),
        ({}, {"make_optimizer": training.Lion}, "optimizer was AdamW .* is Lion"),
    ],
    ids=["epochs", "batch size", "average", "data", "optimiser"],
)
def test_a_run_is_not_resumed_as_another(settings: dict, arguments: dict, message: str, tmp_path: Path):
    trainer(tmp_path).run()
    before = final_state(tmp_path)
    with pytest.raises(InputError, match=message):
        trainer(tmp_path, settings, **arguments).run(resume=True)
    assert_same(before[0], final_state(tmp_path)[0])


def test_a_checkpoint_of_another_version_is_refused_with_the_way_out(tmp_path: Path):
    trainer(tmp_path).run()
    path = Checkpoints(tmp_path / "checkpoints").latest() / "training_state.pt"
    torch.save(torch.load(path, weights_only=True) | {"format": 1}, path)
    with pytest.raises(InputError, match=r"another version of thalweg .* init="):
        trainer(tmp_path).run(resume=True)


@pytest.mark.parametrize(
    "damage", [lambda content: content[: len(content) // 2], lambda content: b"", lambda content: b"x" * 999]
)
def test_a_damaged_state_is_named_and_the_checkpoint_before_it_goes_on(damage: Callable[[bytes], bytes], tmp_path: Path):
    trainer(tmp_path / "whole").run()
    trainer(tmp_path / "run").run()
    latest = Checkpoints(tmp_path / "run/checkpoints").latest()
    state = latest / "training_state.pt"
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(FileError, match=rf"is damaged .*Delete {latest}"):
        trainer(tmp_path / "run").run(resume=True)
    for path in latest.iterdir():
        path.unlink()
    latest.rmdir()
    trainer(tmp_path / "run").run(resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "whole")
