"""Data of a problem that a configuration gives either as a number or as a random field."""

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..fem.firedrake import firedrake
from .random_field import MaternField


def number_or_field(V: Any, name: str, setting: float | Mapping[str, float]) -> tuple[Any, MaternField | None]:
    """A constant that forms hold as a number, or a function of ``V`` and the random field it is drawn from.

    Args:
        V: scalar Firedrake function space of a random datum.
        name: under which forms know it then.
        setting: the number, or ``length``, ``smoothness`` and ``deviation`` of a :class:`MaternField`.
    """
    fd = firedrake()
    if isinstance(setting, Mapping):
        return fd.Function(V, name=name), MaternField(V, **setting)
    return fd.Constant(float(setting)), None


def require_positive(function: Any, name: str) -> None:
    """Refuse a coefficient with which an equation is not elliptic.

    Raises:
        InputError: with the least value.
    """
    least = float(function.dat.data_ro.min())
    if not least > 0:
        raise InputError(f"The coefficient {name!r} must be positive everywhere, but its least value is {least:g}.")
