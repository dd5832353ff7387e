"""``thalweg train``: train an operator on a generated data set, or go on where an earlier run stopped."""

import logging
import shutil
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from ..configuration import build
from ..data import FieldDataset
from ..errors import InputError
from ..operators import build_operator
from ..training import Checkpoints, MetricsLog, Settings, Trainer
from .run import choose_device, split_range, write_config

log = logging.getLogger("thalweg")


def run(config: DictConfig) -> float:
    """Train as configured; returns the best validation metric, for sweeps."""
    folder = Path(config.folder)
    device = choose_device(config.device)
    torch.manual_seed(config.seed)
    train = FieldDataset(config.data.folder, split_range(config, "train"))
    disc = train.discretization
    valid = FieldDataset(config.data.folder, split_range(config, "valid"), disc)
    nodes = OmegaConf.to_container(config, resolve=True)
    assert isinstance(nodes, dict)

    operator = build_operator(nodes["operator"], disc)
    operator.set_scales(train.fields)
    checkpoints = Checkpoints(folder / "checkpoints")
    resume = _prepare(folder, checkpoints, config)
    for part in (operator, train, valid):
        part.to(device)
    trainer = Trainer(
        operator,
        train,
        valid,
        loss=build(nodes["training"]["loss"], disc),
        settings=Settings(seed=config.seed, **nodes["training"]["loop"]),
        folder=folder,
        metrics=build(nodes["training"]["metrics"], disc),
        make_optimizer=build(nodes["training"]["optimizer"]),
        make_scheduler=build(nodes["training"]["schedule"]),
    )
    parameters = sum(parameter.numel() for parameter in operator.parameters())
    log.info("training %s with %d parameters on %d samples, on %s", type(operator).__name__, parameters, len(train), device)
    state = trainer.run(resume)
    log.info("best validation metric %.5f after step %d; run folder %s", state["best"], state["best_step"], folder)
    return state["best"]


def _prepare(folder: Path, checkpoints: Checkpoints, config: DictConfig) -> bool:
    """Make the run folder ready; returns whether there is a checkpoint to resume from."""
    found = checkpoints.latest() is not None
    if found and not config.resume:
        if not config.overwrite:
            raise InputError(
                f"{folder} already holds a run. Go on with it by resume=true, start it anew by overwrite=true, or give this one "
                "another name by name=..."
            )
        shutil.rmtree(checkpoints.folder)
        MetricsLog(folder / "metrics.jsonl").start(0)
        found = False
    write_config(folder, config)
    return found
