"""``thalweg generate``: make or extend a data set with a problem's reference solver."""

import logging

from omegaconf import DictConfig, OmegaConf

from ..configuration import build
from ..data import generate
from ..errors import InputError

log = logging.getLogger("thalweg")


def run(config: DictConfig) -> None:
    split = config.data.split
    wanted = config.num_samples if config.num_samples is not None else sum(split.values())
    if not isinstance(wanted, int) or wanted < 1:
        raise InputError(f"num_samples must be a positive number of samples, not {wanted!r}.")
    resolved = OmegaConf.to_container(config.problem, resolve=True)
    assert isinstance(resolved, dict)
    problem = build(resolved)
    folder = generate(
        problem, config.data.folder, wanted, config.seed, config.data.samples_per_shard, resolved, config.data.dtype
    )
    log.info("%d samples in %s", wanted, folder)
