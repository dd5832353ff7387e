"""The training loop: epochs of shuffled batches, validation after each, a checkpoint to go on from, nothing else."""

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..data import FieldDataset
from ..errors import DivergedError, InputError
from ..operators import Operator
from ..progress_bar import progress as show_progress
from .checkpoint import Checkpoints
from .log import MetricsLog
from .metrics import Metric, accumulate, finish
from .schedule import one_cycle

log = logging.getLogger("thalweg")

_ADAMW = partial(torch.optim.AdamW, lr=5e-3)


@dataclass(frozen=True)
class Settings:
    """How long and in what steps to train. ``checkpoint_every`` counts steps; a checkpoint follows every epoch in any case."""

    epochs: int
    batch_size: int
    seed: int = 0
    gradient_clip: float = 1.0
    checkpoint_every: int | None = None

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 1:
            raise InputError(f"epochs and batch_size must be at least 1, not {self.epochs} and {self.batch_size}.")


class Trainer:
    """Trains one operator in one run folder.

    The order of samples in epoch e follows from (seed, e) alone, and a checkpoint holds all other state, so a run that was stopped and
    resumed, wherever, ends bit for bit where the uninterrupted run ends on the same machine.

    Args:
        operator, train, valid, loss: all on one device.
        folder: where ``metrics.jsonl`` and ``checkpoints/`` go.
        metrics: validation metrics by name; the first decides which checkpoint is best. The loss by default.
        make_optimizer: from parameters to an optimiser.
        make_scheduler: from an optimiser and ``total_steps`` to a schedule that is stepped after every batch.
    """

    def __init__(
        self,
        operator: Operator,
        train: FieldDataset,
        valid: FieldDataset,
        loss: Metric,
        settings: Settings,
        folder: str | os.PathLike,
        metrics: Mapping[str, Metric] | None = None,
        make_optimizer: Callable[..., Optimizer] = _ADAMW,
        make_scheduler: Callable[..., LRScheduler] = one_cycle,
    ):
        self.operator, self.train, self.valid, self.loss = operator, train, valid, loss
        self.metrics, self.settings = metrics or {"loss": loss}, settings
        self.steps_per_epoch = math.ceil(len(train) / settings.batch_size)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.optimizer = make_optimizer(operator.parameters())
        self.scheduler = make_scheduler(self.optimizer, total_steps=self.total_steps)
        self._device = next(operator.parameters()).device
        self.checkpoints = Checkpoints(Path(folder) / "checkpoints")
        self.rows = MetricsLog(Path(folder) / "metrics.jsonl")

    def run(self, resume: bool = False) -> dict[str, Any]:
        """Train to the end; returns the final progress: ``step``, ``best``, ``best_step``, ``seconds``.

        Ctrl-C or SIGTERM finishes the step, writes a checkpoint and raises ``KeyboardInterrupt``.

        Raises:
            DivergedError: the loss is no longer finite; the last good checkpoint is kept.
        """
        state: dict[str, Any] = {"step": 0, "loss_sum": 0.0, "best": math.inf, "best_step": None, "seconds": 0.0}
        state["plan"] = self._plan()
        if resume:
            state = self.checkpoints.restore(self.operator, self.optimizer, self.scheduler)
            if state["plan"] != self._plan():
                raise InputError(
                    f"The run was started with {state['plan']}, but is now to go on with {self._plan()}. Resume with what it was started "
                    "with, or start a new run."
                )
            log.info("resuming after step %d of %d", state["step"], self.total_steps)
        self.rows.start(state["step"])
        with show_progress("training", self.total_steps, "steps") as advance, _stop_requests() as stop_requested:
            for epoch in range(state["step"] // self.steps_per_epoch, self.settings.epochs):
                self._epoch(epoch, state, advance, stop_requested)
        return state

    def _plan(self) -> dict[str, int]:
        """What fixes the order of samples and the learning rates, and so must not change within a run."""
        settings = self.settings
        return {"epochs": settings.epochs, "batch_size": settings.batch_size, "seed": settings.seed, "samples": len(self.train)}

    def _epoch(
        self, epoch: int, state: dict[str, Any], advance: Callable[[int], None], stop_requested: Callable[[], bool]
    ) -> None:
        loss_sum = torch.tensor(state["loss_sum"], dtype=torch.float64, device=self._device)
        start, elapsed = time.monotonic(), state["seconds"]
        first = state["step"] % self.steps_per_epoch
        for batch in self._batches(epoch)[first:]:
            loss_sum += self._step(batch)
            state["step"] += 1
            advance(state["step"])
            last = state["step"] % self.steps_per_epoch == 0
            every = self.settings.checkpoint_every
            if last:
                state["seconds"] = elapsed + time.monotonic() - start
                self._finish_epoch(epoch, loss_sum.item() / len(self.train), state)
                state["loss_sum"] = 0.0
            if last or stop_requested() or (every and state["step"] % every == 0):
                state["seconds"] = elapsed + time.monotonic() - start
                state["loss_sum"] = 0.0 if last else loss_sum.item()
                self.checkpoints.save(self.operator, self.optimizer, self.scheduler, state)
            if stop_requested():
                raise KeyboardInterrupt

    def _step(self, rows: Tensor) -> Tensor:
        fields = self.train.batch(rows)
        loss = self.loss(self.operator(fields), fields)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.operator.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.scheduler.step()
        return loss.detach() * len(rows)

    def _batches(self, epoch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train), generator=generator).to(self._device)
        return order.split(self.settings.batch_size)

    def _finish_epoch(self, epoch: int, train_loss: float, state: dict[str, Any]) -> None:
        if not math.isfinite(train_loss):
            raise DivergedError(
                f"The training loss became {train_loss} in epoch {epoch + 1}. Lower the learning rate "
                "(training.optimizer.lr) and start again; the last good checkpoint is kept."
            )
        values = validate(self.operator, self.valid, self.metrics, self.settings.batch_size)
        deciding = next(iter(values.values()))
        if deciding < state["best"]:
            state["best"], state["best_step"] = deciding, state["step"]
        row = {"step": state["step"], "epoch": epoch + 1, "train_loss": train_loss, "lr": self.scheduler.get_last_lr()[0]}
        self.rows.write(
            row | {f"valid_{name}": value for name, value in values.items()} | {"seconds": round(state["seconds"], 3)}
        )
        text = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        log.info("epoch %d of %d: train loss %.4f; validation %s", epoch + 1, self.settings.epochs, train_loss, text)


@torch.no_grad()
def validate(operator: nn.Module, data: FieldDataset, metrics: Mapping[str, Metric], batch_size: int) -> dict[str, float]:
    """Metrics over all samples, the same for any batch size."""
    operator.eval()
    totals = torch.zeros(len(metrics), dtype=torch.float64, device=next(operator.parameters()).device)
    for rows in torch.arange(len(data)).split(batch_size):
        fields = data.batch(rows)
        totals = accumulate(totals, metrics, operator(fields), fields)
    operator.train()
    return finish(totals, metrics, len(data))


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a request that the loop looks for; a second one interrupts at once."""
    requested = False

    def request(number: int, frame: object) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True
        log.warning("stopping after this step; start again with resume=true to go on")

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
