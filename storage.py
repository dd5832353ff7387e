"""Files that are either whole or absent: atomic writing, locks of folders, and logs read with errors that say what to do."""

import errno
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FileError, InputError

log = logging.getLogger("thalweg")


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends without an error.

    A reader sees the old file or the new one, never a part; after a crash or a full disk the old file is still there.

    Raises:
        FileError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise unwritable(path, error) from error
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def only_writer(folder: str | os.PathLike, advice: str) -> Iterator[None]:
    """Hold a lock on a folder, which the system takes back from a process that dies; ``advice`` is for whom it is refused.

    Raises:
        InputError: another process holds it.
        FileError: the folder cannot be written.
    """
    import fcntl

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise unwritable(folder, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"Another process is writing to {folder}. {advice}") from error
        except OSError as error:
            log.warning("%s cannot be locked (%s): let one process write to it at a time", folder, error)
        yield


def unwritable(path: str | os.PathLike, error: OSError) -> FileError:
    """The error for a file that cannot be written, with the remedy."""
    if isinstance(error, FileError):
        return error
    # HDF5 reports a full disk in the text of its own error.
    if error.errno == errno.ENOSPC or "No space left" in str(error):
        return FileError(
            f"The disk is full: {path} could not be written. What was written before is intact. Free some space, "
            "or choose another folder, and run the same command again."
        )
    return FileError(f"{path} could not be written ({error}). Check the folder's permissions, or choose another one.")


def read_rows(path: str | os.PathLike) -> list[dict]:
    """The rows of a JSON Lines file; a last one that was cut off in writing is left out.

    Raises:
        FileError: the file is missing, or a row other than the last is damaged.
    """
    if not Path(path).is_file():
        raise FileError(f"The log {path} does not exist. Correct the path, or train first.")
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise FileError(f"Line {number} of {path} is not JSON ({error}). Delete the line, or train again.") from error
        if not isinstance(row, dict):
            raise FileError(f"Line {number} of {path} holds no object, but {line[:40]!r}. Delete the line, or train again.")
        rows.append(row)
    return rows
