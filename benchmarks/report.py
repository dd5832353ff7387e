"""What every benchmark says of itself: the machine, the versions, one table, one JSON file."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from thalweg.storage import atomic

PACKAGES = ("thalweg", "torch", "numpy", "scipy", "firedrake", "petsc4py")


def machine() -> dict[str, Any]:
    """Processor, cores, accelerator, and the versions of what runs."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def milliseconds(call: Callable[[], Any], seconds: float = 1.0, clock: Callable[[], float] = time.perf_counter) -> float:
    """Shortest time of a call, repeated for about so many seconds of wall time after one call that is not timed.

    The shortest is reported because others on the machine can only add to it. Where they always do, ``clock=time.process_time`` counts
    this process' own time, which is that on a quiet machine as long as there is one thread.
    """
    call()
    synchronise()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        start = clock()
        call()
        synchronise()
        best = min(best, clock() - start)
    return 1e3 * best


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """One row a measurement; the keys of the first are the columns."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=140).print(table)


def write_json(path: str | os.PathLike, benchmark: str, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the figures with the machine, the versions and the settings they belong to."""
    report = {"benchmark": benchmark, "machine": machine(), "settings": dict(settings), "rows": list(rows)}
    with atomic(path) as partial:
        partial.write_text(json.dumps(report, indent=2) + "\n")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def synchronise() -> None:
    """Wait for what the GPU was given to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
