"""The quickstart at a size for tests."""

from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import DictConfig

SMALL = ["experiment=quickstart", "data.split.train=32", "data.split.valid=12", "data.split.test=12", "data.samples_per_shard=16"]


def configuration(verb: str, folder: Path, *overrides: str) -> DictConfig:
    """The configuration of a verb for the small data set, with everything it writes below ``folder``."""
    own = []
    if verb in ("generate", "train"):
        own = [*SMALL, f"data.folder={folder / 'data'}"]
    if verb == "train":
        own += [f"folder={folder / 'run'}", "training.loop.epochs=2", "device=cpu"]
    with initialize_config_module("thalweg.conf", version_base="1.3"):
        return compose(verb, overrides=[*own, *overrides])
