"""HDF5 files that are whole or absent, in which damage is an error that says what to do, and no crash of the library."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from .errors import FileError, ThalwegError
from .storage import atomic

#: Of the file format: since HDF5 1.10 the metadata have checksums, without which the library may follow a damaged address and die.
_FORMAT = ("v110", "v110")

#: What HDF5 says where a name leads to nothing, and where the system refuses to read.
_ABSENT = re.compile("doesn't exist|can't locate attribute|component not found")
_SYSTEM = re.compile(r"errno = (\d+)")

#: Of what thalweg puts into these files, in the attribute ``schema_version`` of each.
SCHEMA_VERSION = 1


@contextmanager
def writing_hdf5(path: str | os.PathLike, track_order: bool = False) -> Iterator[Any]:
    """Yield an HDF5 file in memory that is written to ``path``, atomically, when the block ends without an error.

    HDF5 itself cannot give up a file that the disk has no room for: it fails again whenever one of its objects is freed.

    Args:
        track_order: whether the root lists what it holds in the order in which it was made, instead of the alphabet's.

    Raises:
        FileError: the disk is full, or the folder cannot be written.
    """
    image = io.BytesIO()
    with h5py.File(image, "w", libver=_FORMAT, track_order=track_order) as file:
        yield file
    with atomic(path) as partial:
        partial.write_bytes(image.getbuffer())


@contextmanager
def reading_hdf5(path: str | os.PathLike, kind: str) -> Iterator[Any]:
    """Open an HDF5 file that thalweg wrote as a ``kind`` ("discretization", "dataset").

    Raises:
        FileError: the file is missing, not permitted, truncated, not HDF5, of another kind, or of a later version; or something in it
            cannot be read in the block.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"The {kind} {path} does not exist. Generate it first, or correct the path.")
    try:
        file = h5py.File(path, "r")
    except PermissionError as error:
        raise FileError(f"The {kind} {path} may not be read by this user. Change the file's permissions.") from error
    except (OSError, RuntimeError) as error:
        if not h5py.is_hdf5(path):
            raise FileError(f"{path} is no HDF5 file, so it holds no {kind}. Correct the path.") from error
        raise FileError(
            f"The {kind} {path} cannot be read: it is truncated or damaged ({error}). Delete it and generate it again."
        ) from error
    with file, damage_explained(path, kind):
        found = read_text(file, "kind") if "kind" in file.attrs else None
        if found != kind:
            raise FileError(f"{path} was expected to hold a {kind}, but it is marked as {found!r}. Correct the path.")
        if (version := int(file.attrs.get("schema_version", SCHEMA_VERSION))) != SCHEMA_VERSION:
            raise FileError(
                f"The {kind} {path} has version {version} of the format; this thalweg reads version {SCHEMA_VERSION}. Make it again."
            )
        yield file


@contextmanager
def damage_explained(path: str | os.PathLike, kind: str) -> Iterator[None]:
    """Turn what h5py, JSON and numpy raise over what they cannot read, errors of many types, into one that says which it is.

    Raises:
        FileError: something is not in the file, the system does not give it, or it is damaged.
    """
    try:
        yield
    except (ThalwegError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, KeyError) and _ABSENT.search(str(error)):
            raise FileError(
                f"The {kind} {path} is incomplete ({error.args[0]}): another program wrote it, or another version of thalweg. "
                "Make it again."
            ) from error
        if system := _SYSTEM.search(str(error)):
            raise FileError(
                f"The {kind} {path} can no longer be read, for the system says: {os.strerror(int(system[1]))}. Check the disk, or the "
                "network to it, and run the same command again."
            ) from error
        raise FileError(
            f"The {kind} {path} is damaged ({type(error).__name__}: {error}). Delete it and generate it again."
        ) from error


def write_texts(owner: Any, **texts: str) -> None:
    """Set attributes of a file, group or data set to texts.

    They are of fixed length: those of variable length lie in a heap without a checksum.
    """
    for name, text in texts.items():
        encoded = text.encode()
        owner.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", max(len(encoded), 1)))


def read_text(owner: Any, name: str) -> str:
    """An attribute that :func:`write_texts` set, or one of variable length, as older files have them."""
    found = owner.attrs[name]
    return found.decode() if isinstance(found, bytes) else found
