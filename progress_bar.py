"""Progress of long work: a bar on a terminal, one log line now and then everywhere else."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

log = logging.getLogger("thalweg")

SECONDS_BETWEEN_LINES = 20.0


class StderrHandler(logging.StreamHandler):
    """Logs to whatever stderr is at the moment, so that lines appear above a running progress bar and not within it."""

    def __init__(self):
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr


@contextmanager
def progress(label: str, total: int, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show the progress of ``total`` units of work, ``done`` of them before; yields the function that is told how many are done in all."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(f"{label} ({unit})", total=total, completed=done)
            yield lambda now_done: bar.update(task, completed=now_done)
        return
    start = last = time.monotonic()

    def report(now_done: int) -> None:
        nonlocal last
        now = time.monotonic()
        finished = now_done == total
        if finished or now - last > SECONDS_BETWEEN_LINES:
            last = now
            rate = (now_done - done) / max(now - start, 1e-9)
            text = "" if finished or rate == 0 else f", {_duration((total - now_done) / rate)} left"
            text = f" ({rate:.3g} a second{text})" if now_done > done else ""
            log.info("%s: %d of %d %s in %.0f s%s", label, now_done, total, unit, now - start, text)

    yield report


class _Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.3g}/s")


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), seconds / 3600
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{hours:.1f} h"
