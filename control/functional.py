"""An objective as a function of the controls alone, the model in between: its value and its gradient."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from .controls import Controls


class ReducedFunctional(ABC):
    """J(m) and dJ/dm for controls m. What lies between, a reference solver or a trained operator, is the subclass's matter.

    Attributes:
        controls: what J is a function of.
    """

    controls: Controls

    @abstractmethod
    def value_and_gradient(self, values: Mapping[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
        """J and its derivatives with respect to each entry of each control, in the controls' shapes.

        Raises:
            DivergedError: the model has no solution for these controls.
        """

    def __call__(self, values: Mapping[str, np.ndarray]) -> float:
        """J alone; override it where that is cheaper."""
        return self.value_and_gradient(values)[0]
