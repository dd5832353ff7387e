"""``thalweg train``: train an operator on a generated data set, or go on where an earlier run stopped."""

import logging
import shutil
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from ..allocator import keep_freed_memory
from ..configuration import build
from ..data import FieldDataset
from ..errors import InputError
from ..operators import build_operator
from ..training import Checkpoints, MetricsLog, Settings, Trainer
from .run import choose_device, read_config, split_range, write_config

log = logging.getLogger("thalweg")

#: What does not change the numbers of a run.
_MAY_CHANGE = {
    "resume",
    "overwrite",
    "folder",
    "device",
    "training.loop.checkpoint_every",
    "data.folder",
    "data.samples_per_shard",
}


def run(config: DictConfig) -> float:
    """Train as configured; returns the best validation metric, for sweeps."""
    folder = Path(config.folder)
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
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
    if found:
        _require_same(folder, config)
    else:
        write_config(folder, config)
    return found


def _require_same(folder: Path, config: DictConfig) -> None:
    """Refuse to resume with another configuration: what came out would be neither run."""
    before, now = _leaves(read_config(folder)), _leaves(config)
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if changed := [key for key in changed if key.split(".")[0] not in _MAY_CHANGE and key not in _MAY_CHANGE]:
        listed = ", ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in changed[:3])
        raise InputError(
            f"The run in {folder} was started with another configuration: {listed}. Resume it with the one it was started with "
            f"(see {folder / 'config.yaml'}), or start a new run by name=..."
        )


def _leaves(config: DictConfig, prefix: str = "") -> dict[str, object]:
    """The values of a resolved configuration by their dotted keys."""
    leaves: dict[str, object] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        leaves |= _leaves(value, f"{name}.") if isinstance(value, DictConfig) else {name: value}
    return leaves
