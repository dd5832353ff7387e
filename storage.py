"""Files that are either whole or absent: atomic writing, and HDF5 and logs opened with errors that say what to do."""

import errno
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

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
def writing_hdf5(path: str | os.PathLike, **options: Any) -> Iterator[Any]:
    """Yield an HDF5 file in memory that is written to ``path``, atomically, when the block ends without an error.

    HDF5 itself cannot give up a file that the disk has no room for: it fails again whenever one of its objects is freed. ``options`` are
    those of ``h5py.File``.

    Raises:
        FileError: the disk is full, or the folder cannot be written.
    """
    with h5py.File(f"{path}", "w", driver="core", backing_store=False, **options) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    with atomic(path) as partial:
        partial.write_bytes(image)


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


@contextmanager
def reading_hdf5(path: str | os.PathLike, kind: str) -> Iterator[Any]:
    """Open an HDF5 file that thalweg wrote as a ``kind`` ("discretization", "dataset").

    Raises:
        FileError: the file is missing, truncated, not HDF5, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"The {kind} {path} does not exist. Generate it first, or correct the path.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileError(
            f"The {kind} {path} cannot be read: it is truncated or not an HDF5 file ({error}). Delete it and generate it again."
        ) from error
    with file:
        try:
            found = file.attrs.get("kind")
            if found != kind:
                raise FileError(f"{path} was expected to hold a {kind}, but it is marked as {found!r}. Correct the path.")
            yield file
        except (OSError, KeyError) as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"The {kind} {path} is damaged ({error}). Delete it and generate it again.") from error


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
