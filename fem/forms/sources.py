"""Where the arguments of a compiled form are taken from when it meets named fields: operators, losses and metrics share it."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from ...errors import InputError
from .residual import Residual

#: For arguments of a form, the name of a field, or a number.
Sources = Mapping[str, str | float]


def form_sources(form: Residual, arguments: Sources | None = None) -> dict[str, str | float]:
    """The source of every argument: as given, else the field of its own name.

    Raises:
        InputError: ``arguments`` names no argument of the form.
    """
    return shared_sources([form], arguments)[0]


def shared_sources(forms: Iterable[Residual], arguments: Sources | None = None) -> list[dict[str, str | float]]:
    """As :func:`form_sources`, for several forms that share ``arguments``.

    Raises:
        InputError: ``arguments`` names an argument of none of them.
    """
    given, needed = dict(arguments or {}), [list(form.arguments) for form in forms]
    known = list(dict.fromkeys(name for names in needed for name in names))
    if unknown := [name for name in given if name not in known]:
        raise InputError(
            f"The form has no argument {', '.join(map(repr, unknown))}; it depends on {', '.join(map(repr, known))}."
        )
    return [{name: given.get(name, name) for name in names} for names in needed]


def form_values(sources: Sources, fields: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
    """The form's arguments, by their names, from fields.

    Raises:
        InputError: a field is missing.
    """
    if missing := {source for source in sources.values() if isinstance(source, str) and source not in fields}:
        raise InputError(
            f"The form needs the field {', '.join(map(repr, sorted(missing)))}, but was given {', '.join(map(repr, fields)) or 'none'}. "
            "Say by `arguments` which field or number to take."
        )
    return {name: fields[source] if isinstance(source, str) else source for name, source in sources.items()}
