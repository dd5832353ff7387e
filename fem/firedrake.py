"""The one door to Firedrake: imported on first use, so that everything that does not need it runs without it."""

import os
import sys
from types import ModuleType

import torch  # noqa: F401  torch must settle its own threads before OMP_NUM_THREADS is changed below

from ..errors import MissingPackageError


def firedrake() -> ModuleType:
    """Firedrake itself.

    Raises:
        MissingPackageError: it is not installed.
    """
    if "firedrake" not in sys.modules:
        # Firedrake is parallel through MPI; threads inside one process only get in its way.
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            import firedrake  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                f"This needs Firedrake, which cannot be imported ({error}). `make install` in a clone of thalweg installs it; "
                "see also https://www.firedrakeproject.org/install. Training and prediction from exported files run without it."
            ) from error
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = before
    return sys.modules["firedrake"]
