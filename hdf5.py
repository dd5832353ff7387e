"""HDF5 files that are whole or absent, in which damage is an error that says what to do, and no crash of the library."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from .errors import FileError, ThalwegError
from .storage import atomic

#: Of the file format: since HDF5 1.10 the metadata have checksums, without which the library may follow a damaged address and die.
_FORMAT = ("v110", "v110")


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
        FileError: the file is missing, truncated, not HDF5, or of another kind; or something in it cannot be read in the block.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"The {kind} {path} does not exist. Generate it first, or correct the path.")
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        raise FileError(
            f"The {kind} {path} cannot be read: it is truncated or not an HDF5 file ({error}). Delete it and generate it again."
        ) from error
    with file, damage_explained(path, kind):
        found = read_text(file, "kind") if "kind" in file.attrs else None
        if found != kind:
            raise FileError(f"{path} was expected to hold a {kind}, but it is marked as {found!r}. Correct the path.")
        yield file


@contextmanager
def damage_explained(path: str | os.PathLike, kind: str) -> Iterator[None]:
    """Turn what h5py, JSON and numpy raise over damaged content, errors of many types, into one.

    Raises:
        FileError: with their text.
    """
    try:
        yield
    except ThalwegError:
        raise
    except Exception as error:
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
