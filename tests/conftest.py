"""Fixtures shared by the tests: an empty current folder, one small data set and one small trained run, made as a user makes them."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from small import configuration

# Small tensors gain nothing from threads, and several processes that wait for one another's lose much.
os.environ["OMP_NUM_THREADS"] = "1"

# Torch, Firedrake and SymPy make many objects that stay: looking through them for garbage took a twentieth of the time.
gc.set_threshold(100_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures that serve several tests do not see the checkout's ``datasets`` and ``outputs``, and write nothing there."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose ``data`` holds 56 solved Poisson samples."""
    from thalweg.commands import generate

    folder = tmp_path_factory.mktemp("poisson")
    generate.run(configuration("generate", folder))
    return folder


@pytest.fixture(scope="session")
def trained(dataset: Path) -> Path:
    """The folder of a run of two epochs on that data set."""
    from thalweg.commands import train

    train.run(configuration("train", dataset))
    return dataset / "run"
