"""A field as a control of few degrees of freedom: a base plus a combination of given fields."""

from collections.abc import Mapping

import numpy as np

from ..errors import InputError
from .controls import Control, Controls
from .functional import ReducedFunctional


class SpannedFunctional(ReducedFunctional):
    """J(f₀ + Σ_k m_k f_k) as a functional of the coefficients m, for a functional J of one field.

    With it an adjoint of boundary values or forces serves for the strengths of actuators, or the coefficients of modes.

    Args:
        functional: of one control, the field's dofs.
        controls: coefficients; a control of shape ``(k,)``, or ``()`` for one.
        fields: f_k for each control, ``(k, dofs)``, or ``(dofs,)`` for one.
        base: f₀; by default zero.

    Raises:
        InputError: the functional has several controls, or shapes do not fit.
    """

    def __init__(
        self,
        functional: ReducedFunctional,
        controls: list[Control],
        fields: Mapping[str, np.ndarray],
        base: np.ndarray | None = None,
    ):
        whole = list(functional.controls)
        if len(whole) != 1:
            raise InputError(f"A functional of one field is needed; this one has the controls {functional.controls.names}.")
        self.controls, self._functional, self._name, self._shape = (
            Controls(controls),
            functional,
            whole[0].name,
            whole[0].initial.shape,
        )
        size = whole[0].initial.size
        self._base = np.zeros(size) if base is None else np.ravel(base)
        self._fields = {name: np.reshape(values, (-1, np.shape(values)[-1])) for name, values in fields.items()}
        for control in self.controls:
            expected = (control.initial.size, size)
            if control.name not in self._fields or self._fields[control.name].shape != expected:
                found = self._fields[control.name].shape if control.name in self._fields else "none"
                raise InputError(f"Control {control.name!r} needs fields of shape {expected}; got {found}.")
        if self._base.size != size:
            raise InputError(f"The base has {self._base.size} dofs; the functional's field has {size}.")

    def value_and_gradient(self, values: Mapping[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
        J, gradient = self._functional.value_and_gradient(self._field(values))
        slope = np.ravel(gradient[self._name])
        return J, {c.name: (self._fields[c.name] @ slope).reshape(c.initial.shape) for c in self.controls}

    def __call__(self, values: Mapping[str, np.ndarray]) -> float:
        return self._functional(self._field(values))

    def _field(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        field = self._base + sum(np.ravel(values[c.name]) @ self._fields[c.name] for c in self.controls)
        return {self._name: np.reshape(field, self._shape)}
