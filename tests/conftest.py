"""Fixtures shared by the tests: one small data set and one small trained run, made through the commands as a user makes them."""

import os
from pathlib import Path

import pytest

from small import configuration

# Small tensors gain nothing from threads, and several processes that wait for one another's lose much.
os.environ["OMP_NUM_THREADS"] = "1"


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
