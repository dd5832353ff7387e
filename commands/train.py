"""``thalweg train``: train an operator on a generated data set, or go on where an earlier run stopped."""

import logging
import shutil
from contextlib import ExitStack
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from ..allocator import keep_freed_memory
from ..configuration import build
from ..errors import InputError
from ..operators import Operator, build_operator, load_weights
from ..operators.files import WEIGHTS
from ..storage import only_writer, unwritable
from ..training import (
    Checkpoints,
    MetricsLog,
    Processes,
    Settings,
    Trainer,
    deterministic,
    environment,
    processes,
    record_environment,
)
from ..training.schedule import has_end
from .judging import build_metrics, build_objective
from .run import changes, choose_device, require_own_folder, write_config
from .splits import in_windows, open_split, read_discretization

log = logging.getLogger("thalweg")

#: What does not change the numbers of a run.
_MAY_CHANGE = {
    "resume",
    "overwrite",
    "folder",
    "device",
    "init",
    "training.loop.checkpoint_every",
    "training.logs",
    "data.folder",
    "data.split.calibration",
    "data.samples_per_shard",
    "data.in_memory_up_to",
}


#: What later commands found out about the weights of a run.
_JUDGEMENTS = ("metrics*.json", "certificate-*.json", "spread-*.json")


def run(config: DictConfig) -> float:
    """Train as configured; returns the best validation metric, for sweeps."""
    with processes(choose_device(config.device)) as (together, device), deterministic(config.deterministic), ExitStack() as held:
        if not together.is_first:
            log.setLevel(logging.ERROR)
        advice = "Wait for it, or give this run another name by name=..."
        together.first(lambda: held.enter_context(only_writer(config.folder, advice)))
        return _train(config, together, device)


def _train(config: DictConfig, together: Processes, device: torch.device) -> float:
    folder = Path(config.folder)
    if device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(config.seed)
    nodes = OmegaConf.to_container(config, resolve=True)
    assert isinstance(nodes, dict)
    disc = read_discretization(config)
    train, valid = open_split(config, "train", disc), open_split(config, "valid", disc)

    operator = build_operator(nodes["operator"], disc)
    resume = together.first(lambda: _resumes(folder, config))
    for part in (train, valid, operator):
        part.to(device)
    if config.init is not None and not resume:
        _initialise(operator, Path(config.init))
    elif not resume:  # else scales come with the weights
        operator.set_scales_from(train)
    training = nodes["training"]
    if windows := training.get("windows"):
        train = in_windows(train, windows)
    objective, metrics = build_objective(training, disc).to(device), build_metrics(training, disc)
    for metric in metrics.values():
        metric.to(device)
    trainer = Trainer(
        operator,
        train,
        valid,
        loss=objective,
        settings=Settings(seed=config.seed, **training["loop"]),
        folder=folder,
        metrics=metrics,
        make_optimizer=build(training["optimizer"]),
        make_scheduler=build(training["schedule"]),
        processes=together,
        trackers=list(build(training["logs"]).values()) if together.is_first else (),
        config=nodes,
    )
    together.first(lambda: _prepare(folder, config, resume))
    now = environment(device, together.size)
    together.first(lambda: record_environment(folder, now, resume))
    parameters = sum(parameter.numel() for parameter in operator.parameters())
    log.info("training %s with %d parameters on %d samples, on %s", type(operator).__name__, parameters, len(train), device)
    state = trainer.run(resume)
    log.info("best validation metric %.4g after step %d; run folder %s", state["best"], state["best_step"] or 0, folder)
    return state["best"]


def _initialise(operator: Operator, source: Path) -> None:
    """Begin with the weights of another run's best checkpoint, or of the checkpoint that is given."""
    checkpoint = source if (source / WEIGHTS).exists() else Checkpoints(source / "checkpoints").best()
    load_weights(checkpoint, operator)
    log.info("starting from the weights of %s", checkpoint)


def _resumes(folder: Path, config: DictConfig) -> bool:
    """Whether there is a checkpoint to resume from.

    Raises:
        InputError: there is one that is neither to be resumed nor overwritten, or that was made otherwise; or the folder is another's.
    """
    require_own_folder(folder, config)
    found = Checkpoints(folder / "checkpoints").latest() is not None
    if found and not config.resume and not config.overwrite:
        raise InputError(
            f"{folder} already holds a run. Go on with it by resume=true, start it anew by overwrite=true, or give this one "
            "another name by name=..."
        )
    if found and config.resume:
        _require_same(folder, config)
    return found and config.resume


def _prepare(folder: Path, config: DictConfig, resume: bool) -> None:
    """Make the run folder ready: what an earlier run left goes only now that this one can begin.

    Raises:
        FileError: the folder cannot be written.
    """
    if not resume:
        # Steps of the new run have the names of the old one's.
        judged = [path for pattern in _JUDGEMENTS for path in folder.glob(pattern)]
        try:
            shutil.rmtree(folder / "checkpoints", ignore_errors=not (folder / "checkpoints").exists())
            for path in judged:
                path.unlink()
        except OSError as error:
            raise unwritable(folder, error) from error
        MetricsLog(folder / "metrics.jsonl").start(0)
    write_config(folder, config)


def _require_same(folder: Path, config: DictConfig) -> None:
    """Refuse to resume with another configuration: what came out would be neither run."""
    may_change = _MAY_CHANGE | (set() if _has_end(config) else {"training.loop.epochs"})
    if listed := changes(folder, config, may_change):
        raise InputError(
            f"The run in {folder} was started with another configuration: {listed}. Resume it with the one it was started with "
            f"(see {folder / 'config.yaml'}), or start a new run by name=..."
        )


def _has_end(config: DictConfig) -> bool:
    """Whether the schedule depends on the number of epochs; else there may be more of them."""
    return has_end(build(OmegaConf.to_container(config.training.schedule, resolve=True)))
