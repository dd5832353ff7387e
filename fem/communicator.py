"""The MPI communicator that meshes are made on: the world, or this process alone as a member of an ensemble."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .firedrake import firedrake

_member: ContextVar[Any] = ContextVar("member", default=None)


def communicator() -> Any:
    """What problems pass as ``comm`` where they make a mesh, so that processes can solve different samples side by side."""
    ensemble = _member.get()
    return firedrake().COMM_WORLD if ensemble is None else ensemble.comm


@contextmanager
def ensemble_member() -> Iterator[None]:
    """Within this block each process makes meshes of its own: it is a member, of one process, of a Firedrake ``Ensemble``."""
    fd = firedrake()
    token = _member.set(fd.Ensemble(fd.COMM_WORLD, 1)) if fd.COMM_WORLD.size > 1 else None
    try:
        yield
    finally:
        if token is not None:
            _member.reset(token)
