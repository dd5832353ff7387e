"""What the numbers of a run depend on besides its configuration: versions, device, commit; and the switch to deterministic kernels."""

import json
import logging
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..data.generation import package_versions
from ..errors import FileError
from ..storage import atomic

log = logging.getLogger("thalweg")

FILE = "environment.json"


def environment(device: torch.device, num_processes: int = 1) -> dict[str, object]:
    """Versions, device and the commits of thalweg's sources and of the working directory, as far as they are in git."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": package_versions(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "processes": num_processes,
        "commits": {"thalweg": _commit(Path(__file__).resolve().parent), "here": _commit(Path.cwd())},
    }


def record_environment(folder: str | os.PathLike, now: dict[str, object], resume: bool) -> None:
    """Write ``environment.json``, one entry for each start of the run; a resumed run says what has changed since it was begun.

    Raises:
        FileError: the file cannot be written, or that of an earlier start is damaged.
    """
    path = Path(folder) / FILE
    entries = recorded(folder) if resume else []
    if entries and (changed := [name for name in now if entries[0].get(name) != now[name]]):
        log.warning("%s changed since the run was begun: the same numbers are not to be expected", ", ".join(changed))
    with atomic(path) as partial:
        partial.write_text(json.dumps([*entries, now], indent=2) + "\n")


def recorded(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """The entries of ``environment.json``, one for each start of a run; none where there is no such file.

    Raises:
        FileError: the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text())
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("no list of objects")
    except (OSError, ValueError) as error:
        raise FileError(f"{path} is damaged ({error}). Delete it; only the record of versions and machines is lost.") from error
    return entries


@contextmanager
def deterministic(enabled: bool) -> Iterator[None]:
    """Within this block torch uses kernels that give the same bits every time; one that has none raises a RuntimeError that names it.

    CPU kernels do so anyway for a fixed number of threads. On a GPU this is slower.
    """
    if not enabled:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    before, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark


def _commit(folder: Path) -> str | None:
    """The commit of a folder, marked where files differ from it; None outside of git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
