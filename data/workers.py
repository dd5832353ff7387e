"""The processes that generate a data set together under ``mpiexec``, each a member of a Firedrake ensemble; or the only one."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..errors import MissingPackageError

_LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS")

Result = TypeVar("Result")
Share = TypeVar("Share")


class Workers:
    """Processes numbered by ``rank`` below ``size``. What one of them must do for all is done by the first."""

    def __init__(self, comm: Any = None):
        self._comm = comm
        self.rank, self.size = (comm.rank, comm.size) if comm is not None else (0, 1)

    def first(self, act: Callable[[], Result]) -> Result:
        """What ``act`` gives on the first process, on all of them; its error is raised on all, too."""
        result, error = None, None
        if self.rank == 0:
            try:
                result = act()
            except Exception as caught:  # raised below, here and everywhere
                error = caught
        if self._comm is not None:
            result, error = self._comm.bcast((result, error))
        if error is not None:
            raise error
        return result  # pyright: ignore[reportReturnType]

    def share(self, tasks: Sequence[Share]) -> list[Share]:
        """This process' share of some tasks."""
        return list(tasks[self.rank :: self.size])

    def all(self, act: Callable[[], None]) -> None:
        """Do something on every process, and wait for all; an error on one is raised on all when all are done."""
        error = None
        try:
            act()
        except Exception as caught:  # raised below, so that the others do not wait forever
            error = caught
        errors = [error] if self._comm is None else self._comm.allgather(error)
        for found in errors:
            if found is not None:
                raise found


def workers() -> Workers:
    """The processes that ``mpiexec`` started, or this one alone.

    Raises:
        MissingPackageError: ``mpiexec`` started this process, but mpi4py is not there to find the others.
    """
    if "mpi4py.MPI" not in sys.modules and not any(name in os.environ for name in _LAUNCHED):
        return Workers()
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise MissingPackageError("Generation under mpiexec needs mpi4py: pip install mpi4py, or run without mpiexec.") from error
    return Workers(MPI.COMM_WORLD) if MPI.COMM_WORLD.size > 1 else Workers()
