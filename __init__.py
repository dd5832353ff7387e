"""thalweg: learning solution operators of partial differential equations in their finite-element spaces.

``thalweg.fem`` exports Firedrake's spaces and forms to torch, ``thalweg.solvers`` solves the problems, ``thalweg.data`` stores what they
give, ``thalweg.operators`` learns it, ``thalweg.training`` trains and judges, ``thalweg.visualization`` draws.
"""

from importlib import import_module
from typing import Any

_PACKAGES = ("control", "data", "errors", "fem", "operators", "solvers", "training", "visualization")


def __getattr__(name: str) -> Any:
    """The packages are imported on first use: ``import thalweg`` alone takes no time, and ``thalweg.fem`` is there all the same."""
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"thalweg has no {name!r}; it has {', '.join(_PACKAGES)}")


def __dir__() -> list[str]:
    return sorted(_PACKAGES)
