"""Checks of the physical quantities that problems are configured with."""

from ..errors import InputError


def require_positive(**quantities: float) -> None:
    """Refuse quantities, such as ``viscosity=-1``, that are not positive.

    Raises:
        InputError: with the first of them.
    """
    for name, value in quantities.items():
        if not value > 0:
            raise InputError(f"The {name.replace('_', ' ')} must be positive, not {value:g}.")
