"""The training loop: epochs of shuffled batches, validation after each, a checkpoint to go on from, nothing else.

What a step minimises is its :mod:`objective <thalweg.training.objectives>`; how the operator is applied is decided by
:mod:`~thalweg.training.precision`, :mod:`~thalweg.training.compilation` and :mod:`~thalweg.training.distributed`.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..data import Dataset
from ..errors import DivergedError, InputError, ThalwegError
from ..operators import Operator, OperatorFamily
from ..progress_bar import progress as show_progress
from .batches import Batches, Parts, digest
from .checkpoint import Checkpoints
from .compilation import begin_step, compiled
from .distributed import Processes, unsynchronised
from .ema import MovingAverage
from .interruption import stop_requests
from .log import MetricsLog
from .metrics import Metric
from .metrics.metric import final
from .objectives import Objective
from .optimizers import adamw
from .precision import in_precision, matmul_precision
from .schedule import has_end, one_cycle
from .settings import Settings
from .trackers import Tracker
from .trial import without_trace
from .validation import judge_one, validate

log = logging.getLogger("thalweg")

_ADAMW = partial(adamw, lr=5e-3)

_STEPS_BETWEEN_AGREEMENTS = 16  # after which several processes ask one another whether one of them is to stop


class Trainer:
    """Trains one operator in one run folder.

    The order of samples in epoch e follows from (seed, e) alone, random numbers of step n from (seed, n), and a checkpoint holds all other
    state, so a run that was stopped and resumed, wherever, ends bit for bit where the uninterrupted run ends on the same machine.

    Args:
        operator, train, valid, loss: all on one device.
        loss: a metric, for which the operator is applied once to each batch, or another :class:`Objective`.
        folder: where ``metrics.jsonl`` and ``checkpoints/`` go.
        metrics: validation metrics by name; the first decides which checkpoint is best. The loss by default.
        make_optimizer: from parameters to an optimiser.
        make_scheduler: from an optimiser and, if it takes them, ``total_steps`` to a schedule that is stepped after every batch.
        processes: those that train together; this one by default.
        trackers: what else is told of the rows of the log.
        config: the run's configuration, for the trackers.

    Raises:
        InputError: optimiser and schedule cannot be made with these settings; the objective or a metric does not fit operator and data,
            which a trial of each shows.
    """

    def __init__(
        self,
        operator: Operator,
        train: Dataset,
        valid: Dataset,
        loss: Metric | Objective,
        settings: Settings,
        folder: str | os.PathLike,
        metrics: Mapping[str, Metric] | None = None,
        make_optimizer: Callable[..., Optimizer] = _ADAMW,
        make_scheduler: Callable[..., LRScheduler] = one_cycle,
        processes: Processes | None = None,
        trackers: Sequence[Tracker] = (),
        config: dict | None = None,
    ):
        self.operator, self.train, self.valid, self.settings = operator, train, valid, settings
        self.objective = loss if isinstance(loss, Objective) else Objective(loss)
        self.metrics = metrics or _loss_as_metric(self.objective)
        self.processes, self.trackers, self.config = (processes or Processes()).around(operator), trackers, config or {}
        self._parameters = list(operator.parameters())
        self._device = self._parameters[0].device
        self.batches = Batches(train, settings, self.processes, self._device)
        self.steps_per_epoch = len(self.batches)
        self.total_steps = settings.epochs * self.steps_per_epoch
        if settings.batch_size > len(train) and self.processes.is_first:
            log.warning(
                "batch_size is %d, but there are %d training samples: every step takes all of them",
                settings.batch_size,
                len(train),
            )
        self._has_end = has_end(make_scheduler)
        try:
            self.optimizer = make_optimizer(self._parameters)
            self.scheduler = make_scheduler(self.optimizer, **({"total_steps": self.total_steps} if self._has_end else {}))
        except (TypeError, ValueError) as error:
            if isinstance(error, ThalwegError):
                raise
            raise InputError(f"The optimiser or its schedule cannot be made with these settings: {error}.") from error
        self._require_consistent()
        self.average = MovingAverage(operator, settings.ema) if settings.ema else None
        self._applied = self._network = in_precision(operator, settings.precision)
        self.folder = Path(folder)
        self.checkpoints = Checkpoints(self.folder / "checkpoints")
        self.rows = MetricsLog(self.folder / "metrics.jsonl")
        self._rehearse()

    def run(self, resume: bool = False) -> dict[str, Any]:
        """Train to the end; returns the final progress: ``step``, ``best``, ``best_step``, ``seconds``, ``seconds_cpu``.

        Ctrl-C or SIGTERM finishes the step, writes a checkpoint and raises ``KeyboardInterrupt``.

        Raises:
            DivergedError: the loss or the gradient is no longer finite; checkpoints written before are kept.
            InputError: the run is to be resumed with other settings or data than it was begun with.
            FileError: a checkpoint or the data cannot be read or written; what was written before is kept.
        """
        state: dict[str, Any] = {"step": 0, "best": math.inf, "best_step": None, "plan": self._plan()}
        state |= {"seconds": 0.0, "seconds_cpu": 0.0}
        self._sums = torch.zeros(2, dtype=torch.float64, device=self._device)  # of losses times samples, and of gradient norms
        if resume:
            state = self._restore()
        with ExitStack() as stack:
            stack.enter_context(matmul_precision(self.settings.precision))
            if self.settings.compile:
                self._applied = compiled(self._applied, self.settings.compile, partial(self._trial, state["step"]))
            self._network = self.processes.parallel(self._applied)
            if self.processes.is_first:
                self._start_logs(state["step"], stack)
            advance = stack.enter_context(self._progress())
            stop_requested = stack.enter_context(stop_requests())
            for epoch in range(state["step"] // self.steps_per_epoch, self.settings.epochs):
                if self._is_stale(state):
                    log.info("no better validation metric in %d epochs: stopping", self.settings.patience)
                    break
                self._epoch(epoch, state, advance, stop_requested)
        return state

    def _epoch(
        self, epoch: int, state: dict[str, Any], advance: Callable[[int], None], stop_requested: Callable[[], bool]
    ) -> None:
        read_clocks, waited = self._clocks(state), 0.0
        batches = self.batches.epoch(epoch, state["step"] % self.steps_per_epoch)
        while True:
            before = time.monotonic()
            batch = next(batches, None)
            waited += time.monotonic() - before
            if batch is None:
                break
            self._step(state["step"], *batch)
            state["step"] += 1
            advance(state["step"])
            is_last = state["step"] % self.steps_per_epoch == 0
            stops = self._agreed(stop_requested, state["step"])
            every = self.settings.checkpoint_every
            if is_last:
                read_clocks()
                self._finish_epoch(epoch, state, waited)
            if is_last or stops or (every and state["step"] % every == 0):
                read_clocks()
                self._save(state)
            if stops:
                raise KeyboardInterrupt

    def _clocks(self, state: dict[str, Any]) -> Callable[[], None]:
        """What brings the seconds of a state up to date: those that have passed, and those of the CPU in all processes."""
        wall, cpu, before = time.monotonic(), time.process_time(), (state["seconds"], state["seconds_cpu"])

        def read() -> None:
            state["seconds"] = before[0] + time.monotonic() - wall
            state["seconds_cpu"] = before[1] + sum(self.processes.gather(time.process_time() - cpu))

        return read

    def _step(self, step: int, samples: int, parts: Parts) -> None:
        """One step of the optimiser; ``parts`` of the batch come with their weights in its mean loss."""
        norm = torch.zeros((), device=self._device)

        def closure() -> Tensor:
            self.objective.start(step, self.settings.seed, self.processes.stream)
            self.optimizer.zero_grad(set_to_none=True)
            loss = torch.zeros((), device=self._device)
            for number, (fields, weight) in enumerate(parts):
                with nullcontext() if number == len(parts) - 1 else unsynchronised(self._network):
                    part = weight * self.objective(self._network, fields)
                    part.backward()
                loss += part.detach()
            norm.copy_(self._clip())
            return loss

        begin_step(self.settings.compile)
        loss: Any = self.optimizer.step(closure)  # pyright: ignore[reportArgumentType, reportCallIssue]
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        if self.average:
            self.average.update(step + 1)
        self._sums += torch.stack([samples * loss.double(), norm.double()])

    def _trial(self, step: int, network: nn.Module) -> Tensor:
        """The loss of a network in a step that leaves no trace."""
        self.objective.start(step, self.settings.seed, self.processes.stream)
        return self.objective(network, self.batches.sample())

    def _rehearse(self) -> None:
        """Take one loss and judge one sample, so that a name that nobody has is found before an epoch has passed or a file is written."""
        remembered = self.objective.state_dict()
        with without_trace(self.operator):
            self._trial(0, self._applied)
            judge_one(self._applied, self.valid, self.metrics, self.objective.predict)
        self.objective.load_state_dict(remembered)

    def _clip(self) -> Tensor:
        """Clip the gradient; its norm before."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.settings.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self.settings.gradient_clip, norm)
        return norm

    def _finish_epoch(self, epoch: int, state: dict[str, Any], waited: float) -> None:
        sums = torch.tensor(self.processes.gather(self._finite_sums(epoch)), dtype=torch.float64).mean(0).tolist()
        self._sums.zero_()
        train_loss, gradient_norm = sums[0] / len(self.train), sums[1] / self.steps_per_epoch
        self.processes.equalise(self.operator)
        with self.average.applied() if self.average else nullcontext():
            values = validate(
                self._applied, self.valid, self.metrics, self.settings.batch_size, self.objective.predict, self.processes
            )
        deciding = final(next(iter(values.values())))
        if deciding < state["best"]:
            state["best"], state["best_step"] = deciding, state["step"]
        row = {"step": state["step"], "epoch": epoch + 1, "train_loss": train_loss, "lr": self.optimizer.param_groups[0]["lr"]}
        row |= {"gradient_norm": gradient_norm} | {f"valid_{name}": value for name, value in values.items()}
        reports = self.processes.gather(self.objective.report())
        row |= {name: sum(report[name] for report in reports) / len(reports) for name in reports[0]}
        row |= {name: round(state[name], 3) for name in ("seconds", "seconds_cpu")} | {"seconds_data": round(waited, 3)}
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(deciding)
        if self.processes.is_first:
            for sink in (self.rows, *self.trackers):
                sink.write(row)
        text = ", ".join(f"{name} {final(value):.4g}" for name, value in values.items())
        log.info("epoch %d of %d: train loss %.4g; validation %s", epoch + 1, self.settings.epochs, train_loss, text)

    def _finite_sums(self, epoch: int) -> list[float]:
        """The sums so far, on the host.

        Raises:
            DivergedError: a loss or a gradient since the last look was not finite.
        """
        sums = self._sums.tolist()
        if all(math.isfinite(value) for value in sums):
            return sums
        what = "training loss" if not math.isfinite(sums[0]) else "gradient"
        latest = self.checkpoints.latest()
        kept = f"init={latest} begins with the last good weights." if latest else "There is no checkpoint yet."
        raise DivergedError(
            f"The {what} is no longer finite in epoch {epoch + 1}. Lower the learning rate (training.optimizer.lr) or the gradient's "
            f"limit (training.loop.gradient_clip) and start a new run. {kept}"
        )

    def _is_stale(self, state: dict[str, Any]) -> bool:
        patience, steps = self.settings.patience, state["step"] - (state["best_step"] or 0)
        return patience is not None and steps >= patience * self.steps_per_epoch

    def _save(self, state: dict[str, Any]) -> None:
        own = {
            "sums": self._finite_sums((state["step"] - 1) // self.steps_per_epoch),
            "objective": self.objective.state_dict(),
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
        }
        everything = {
            "progress": state,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "weights": self.average.weights() if self.average else None,
            "processes": self.processes.gather(own),
        }
        with self.average.applied() if self.average else nullcontext():
            self.processes.first(lambda: self.checkpoints.save(self.operator, everything))

    def _restore(self) -> dict[str, Any]:
        saved = self.checkpoints.restore(self.operator)
        progress, plan = saved["progress"], self._plan()
        may_extend = not self._has_end and plan["epochs"] > progress["plan"]["epochs"]
        changed = [name for name in plan if plan[name] != progress["plan"].get(name) and not (name == "epochs" and may_extend)]
        if changed:
            listed = ", ".join(
                "its samples were others" if name == "data" else f"{name} was {progress['plan'].get(name)}, is {plan[name]}"
                for name in changed
            )
            raise InputError(
                f"The run was started otherwise: {listed}. Resume with what it was started with, or start a new run."
            )
        own = saved["processes"][self.processes.rank]
        try:
            self.optimizer.load_state_dict(saved["optimizer"])
            self.scheduler.load_state_dict(saved["scheduler"])
            self.objective.load_state_dict(own["objective"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"The checkpoint in {self.checkpoints.folder} holds the state of another optimiser, schedule or objective ({error}). "
                "Resume with what the run was started with, or start a new one."
            ) from error
        if self.average:
            self.average.restore(saved["weights"])
        self._sums = torch.tensor(own["sums"], dtype=torch.float64, device=self._device)
        torch.set_rng_state(own["rng"])
        if own["rng_cuda"] is not None:
            torch.cuda.set_rng_state(own["rng_cuda"], self._device)
        if self.processes.is_first:
            self.checkpoints.point_to_best(progress)
        log.info("resuming after step %d of %d", progress["step"], self.total_steps)
        # Runs that were begun before the CPU's seconds were counted do not know theirs.
        return {"seconds_cpu": math.nan} | progress | {"plan": plan}

    def _plan(self) -> dict[str, object]:
        """What the numbers depend on, and so must not change within a run."""
        return self.settings.numbers() | {
            "samples": len(self.train),
            "processes": self.processes.size,
            "data": digest(self.train) + digest(self.valid),
            "objective": type(self.objective).__name__,
            "optimizer": f"{type(self.optimizer).__name__} {self.optimizer.defaults}",
            "schedule": type(self.scheduler).__name__,
        }

    def _agreed(self, stop_requested: Callable[[], bool], step: int) -> bool:
        """Whether all processes stop now. They agree on it every few steps, for a process that goes on alone waits forever."""
        if self.processes.size == 1:
            return stop_requested()
        return step % _STEPS_BETWEEN_AGREEMENTS == 0 and any(self.processes.gather(stop_requested()))

    def _start_logs(self, step: int, stack: ExitStack) -> None:
        self.rows.start(step)
        for tracker in self.trackers:
            tracker.start(self.folder, step, self.config)
            stack.callback(tracker.close)

    def _progress(self) -> Any:
        return show_progress("training", self.total_steps, "steps") if self.processes.is_first else _silence()

    def _require_consistent(self) -> None:
        if isinstance(self.operator, OperatorFamily) and self.settings.compile:
            raise InputError(
                "Every mesh of a family would be compiled by itself, which takes longer than it saves: set training.loop.compile=null."
            )
        if isinstance(self.optimizer, LBFGS):
            if self.settings.gradient_clip is not None:
                raise InputError("L-BFGS needs the true gradient for its line search: set training.loop.gradient_clip=null.")
            if self.processes.size > 1:
                raise InputError(
                    "L-BFGS searches along lines in one process only. Train without torchrun, or choose another optimiser."
                )


@contextmanager
def _silence() -> Iterator[Callable[[int], None]]:
    yield lambda done: None


def _loss_as_metric(objective: Objective) -> dict[str, Metric]:
    if not isinstance(objective.loss, Metric):
        raise InputError(
            "Without a loss that is a Metric, the trainer needs metrics to validate with: pass metrics={name: Metric}."
        )
    return {"loss": objective.loss}
