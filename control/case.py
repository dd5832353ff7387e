"""What is steered to what end: a case joins controls, an objective and the models that compute it, for `thalweg control`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from ..errors import InputError
from ..fem import Discretization, Grid, Grids, Space
from ..operators import Operator
from .controls import Control
from .functional import ReducedFunctional

#: Values of the controls by name.
Values = Mapping[str, np.ndarray]
#: For each panel of a picture, where a field lives and its dofs.
Panels = dict[str, tuple[Space | Grid, Tensor | np.ndarray]]
#: For each curve its times and values.
Curves = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class TrainedOperator:
    """An operator with what it was trained on, all of it in double precision, so that Taylor tests mean something.

    Attributes:
        operator: for evaluation, its weights without gradients.
        spaces: the discretization or the grids of its data.
        where: the space or the grid of each field of the data, those that the operator predicts included.
        sample: the fields of a test sample, ``(1, ...)`` each.
    """

    operator: Operator
    spaces: Discretization | Grids
    where: Mapping[str, Space | Grid]
    sample: Mapping[str, Tensor]

    def require(self, *fields: str) -> None:
        """Refuse data without these fields.

        Raises:
            InputError: the message lists those there are.
        """
        if missing := [name for name in fields if name not in self.where]:
            raise InputError(
                f"The operator's data have no field {missing[0]!r}, but {', '.join(map(repr, self.where))}. Give the folder of a run "
                "whose problem is that of the case."
            )

    def space(self, field: str) -> Space:
        """The finite-element space of a field.

        Raises:
            InputError: the field lives on a grid.
        """
        space = self.where[field]
        if not isinstance(space, Space):
            raise InputError(
                f"The operator's field {field!r} lives on a grid, {space}; this case needs one on a mesh. Give the folder of a run whose "
                "problem is that of the case."
            )
        return space


class ControlCase(ABC):
    """A control problem with everything that an optimisation and its report need.

    Attributes:
        shapes: of the controls, by name.
        models: which of "firedrake" (a solver with its adjoint), "torch" (a differentiable solver) and "operator" (a trained one) can
            stand between controls and objective. The first is the reference solver, by which results are judged.
        curve, time: labels of the ordinate and the abscissa of :meth:`curves`.
        one_scale: whether all :meth:`panels` share their colours.
    """

    shapes: dict[str, tuple[int, ...]]
    models: tuple[str, ...]
    curve: str = ""
    time: str = "time"
    one_scale: bool = False

    def use_operator(self, trained: TrainedOperator) -> None:
        """Let a trained operator take the model's place, as the model "operator"; cases that have this model say how.

        Raises:
            InputError: the case has no such model, or the operator was trained on something else.
            FingerprintError: it belongs to another mesh.
        """
        self.require("operator")
        raise NotImplementedError(f"{type(self).__name__}.use_operator")

    @abstractmethod
    def functional(self, model: str, controls: list[Control] | None = None) -> ReducedFunctional:
        """The objective, regularisation included, through one of the models.

        Args:
            controls: with their bounds; by default those of :meth:`controls`.
        """

    @abstractmethod
    def quantities(self, values: Values, model: str) -> dict[str, float]:
        """What is told of a state: the objective first, under "objective", and then what it is made of."""

    def panels(self, values: Values) -> Panels:
        """Fields by the reference solver that show what the controls do; none by default."""
        return {}

    def curves(self, values: Values) -> Curves:
        """Histories by the reference solver, without and with control; none by default."""
        return {}

    @property
    def uncontrolled(self) -> dict[str, np.ndarray]:
        """Controls that do nothing: zeros, unless a case says otherwise. Searches start there by default."""
        return {name: np.zeros(shape) for name, shape in self.shapes.items()}

    def controls(self, settings: Mapping[str, Mapping[str, ArrayLike]] | None = None) -> list[Control]:
        """The controls with ``initial``, ``low``, ``high`` and ``scale`` from settings by name; each broadcasts to the control's shape.

        Raises:
            InputError: settings for a control that the case has not, or unknown ones.
        """
        settings = settings or {}
        if unknown := [name for name in settings if name not in self.shapes]:
            raise InputError(
                f"There is no control {unknown[0]!r}; {type(self).__name__} has {', '.join(map(repr, self.shapes))}."
            )
        start = self.uncontrolled
        return [
            _control(name, shape, {"initial": start[name], **(settings.get(name) or {})}) for name, shape in self.shapes.items()
        ]

    def require(self, model: str) -> None:
        """Refuse a model that the case has not.

        Raises:
            InputError: the message lists those it has.
        """
        if model not in self.models:
            raise InputError(f"{type(self).__name__} cannot be computed by model={model!r}; choose {' or '.join(self.models)}.")


def _control(name: str, shape: tuple[int, ...], settings: dict[str, Any]) -> Control:
    if unknown := set(settings) - {"initial", "low", "high", "scale"}:
        raise InputError(f"Control {name!r} has initial, low, high and scale, but no {', '.join(sorted(unknown))}.")
    initial = settings.pop("initial")
    try:
        start = np.broadcast_to(np.asarray(initial, dtype=np.float64), shape)
    except ValueError as error:
        raise InputError(
            f"Control {name!r} has shape {shape}; its initial value of shape {np.shape(initial)} does not fit."
        ) from error
    return Control(name, start, **{key: value for key, value in settings.items() if value is not None})
