"""Errors of quantities of interest: drag, lift, fluxes, energies, as compiled functionals of the fields."""

from torch import Tensor

from ...errors import InputError
from ...fem import Residual
from ...fem.forms.sources import Sources, form_sources, form_values
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

    def __init__(self, functional: Residual, arguments: Sources | None = None, relative: bool = True):
        super().__init__()
        if functional.test is not None:
            raise InputError("A quantity of interest is a functional, but this form has a test function.")
        self.functional, self.relative = functional, relative
        self.sources = form_sources(functional, arguments)

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        J, exact = self.value({**truth, **prediction}), self.value(truth)
        error = (J - exact).abs()
        return over_frames(error / exact.abs() if self.relative else error)

    def value(self, fields: Fields) -> Tensor:
        """J for each sample, and each frame of trajectories: ``(batch, [time])``."""
        values = form_values(self.sources, fields)
        axes = max((u.ndim for u in values.values() if isinstance(u, Tensor)), default=2)
        # A field without an axis of time is the same in all frames.
        in_time = {name: u.unsqueeze(1) for name, u in values.items() if isinstance(u, Tensor) and u.ndim < axes}
        return self.functional(**(values | in_time))
