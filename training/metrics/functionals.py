"""Errors of quantities of interest: drag, lift, fluxes, energies, as compiled functionals of the fields."""

from collections.abc import Mapping

from torch import Tensor

from ...errors import InputError
from ...fem import Residual
from .metric import Fields, Metric, over_frames


class FunctionalError(Metric):
    """|J(u) − J(v)|, or |J(u) − J(v)| / |J(v)| if ``relative``, of a functional J of the predicted and of the reference fields.

    Args:
        functional: a compiled zero-form, such as ``disc.form("drag")``.
        arguments: for arguments of the form that are named otherwise than the fields, the field, or a number. Fields that are not
            predicted are the data's.
        relative: divide by the reference's value.

    Raises:
        InputError: the form has a test function, or ``arguments`` names none of its arguments; in use, a field is missing.
    """

    def __init__(self, functional: Residual, arguments: Mapping[str, str | float] | None = None, relative: bool = True):
        super().__init__()
        if functional.test is not None:
            raise InputError("A quantity of interest is a functional, but this form has a test function.")
        given = dict(arguments or {})
        if unknown := [name for name in given if name not in functional.arguments]:
            raise InputError(
                f"The form has no argument {unknown[0]!r}; it depends on {', '.join(map(repr, functional.arguments))}."
            )
        self.functional, self.relative = functional, relative
        self.sources = {name: given.get(name, name) for name in functional.arguments}

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        J, exact = self.value({**truth, **prediction}), self.value(truth)
        error = (J - exact).abs()
        return over_frames(error / exact.abs() if self.relative else error)

    def value(self, fields: Fields) -> Tensor:
        """J for each sample, and each frame of trajectories: ``(batch, [time])``."""
        named = [source for source in self.sources.values() if isinstance(source, str)]
        if missing := [source for source in named if source not in fields]:
            raise InputError(f"The functional needs the field {missing[0]!r}; there are {', '.join(map(repr, fields))}.")
        axes = max((fields[source].ndim for source in named), default=2)
        # A field without an axis of time is the same in all frames.
        values = {
            name: fields[s] if fields[s].ndim == axes else fields[s].unsqueeze(1)
            for name, s in self.sources.items()
            if s in named
        }
        return self.functional(**(self.sources | values))
