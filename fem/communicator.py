"""The MPI communicator that meshes are made on: the world, or this process alone as a member of an ensemble."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from .firedrake import firedrake

_alone: ContextVar[bool] = ContextVar("alone", default=False)


def communicator() -> Any:
    """What problems pass as ``comm`` where they make a mesh, so that processes can solve different samples side by side."""
    world = firedrake().COMM_WORLD
    return _ensemble().comm if _alone.get() and world.size > 1 else world


@contextmanager
def ensemble_member() -> Iterator[None]:
    """Within this block each process makes meshes of its own: it is a member, of one process, of a Firedrake ``Ensemble``."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


@cache
def _ensemble() -> Any:
    """Kept for good: an ensemble that is forgotten takes the communicator from under the meshes that were made on it."""
    fd = firedrake()
    return fd.Ensemble(fd.COMM_WORLD, 1)
