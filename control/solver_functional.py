"""Objectives through a solver that has an adjoint of its own."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ..errors import DivergedError
from .controls import Control, Controls
from .functional import ReducedFunctional

Values = Mapping[str, np.ndarray]


class SolverFunctional(ReducedFunctional):
    """J(m) by a function that gives the value and the gradient.

    Args:
        value_and_gradient: from the controls by name to J and its derivatives, in their shapes.
        controls: what to optimise.
        value: J alone, where that is cheaper.
    """

    def __init__(
        self,
        value_and_gradient: Callable[[Values], tuple[float, dict[str, np.ndarray]]],
        controls: Iterable[Control],
        value: Callable[[Values], float] | None = None,
    ):
        self.controls, self._both, self._value = Controls(controls), value_and_gradient, value

    def value_and_gradient(self, values: Values) -> tuple[float, dict[str, np.ndarray]]:
        J, gradient = self._both(values)
        return _finite(J), gradient

    def __call__(self, values: Values) -> float:
        return _finite(self._value(values)) if self._value else self.value_and_gradient(values)[0]


def _finite(J: float) -> float:
    if not np.isfinite(J):
        raise DivergedError(f"The objective became {J}. Bound the controls more tightly.")
    return float(J)
