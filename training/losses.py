"""Losses that need no outputs in the data, residuals of equations and energies, and weighted sums of losses.

Each is a metric, so it serves in validation, too.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import cast

from torch import Tensor, nn

from ..errors import InputError
from ..fem import NewtonStep, Residual, ResidualLoss, Space
from ..fem.forms.sources import Sources, form_sources, form_values
from .metrics import Metric, RelativeNorm
from .metrics.metric import predicted


class FormResidual(Metric):
    """``‖F(u)‖²`` in a dual norm for each sample, see :class:`fem.ResidualLoss`; minimised where the prediction solves F(u; v) = 0 ∀v.

    Args:
        residual: the compiled one-form, such as ``disc.form("residual")``.
        riesz: maps residuals to their representatives, a :class:`fem.RieszMap` or :class:`fem.MassSolver`.
        arguments: for arguments of the form that are named otherwise than the fields, the field (``{"u0": "previous_u"}``), or a number.
            A name stands for the prediction's field where it has one, else for the data's.

    Raises:
        InputError: ``arguments`` names no argument of the form; in use, a field is missing.
    """

    def __init__(self, residual: Residual, riesz: nn.Module, arguments: Sources | None = None):
        super().__init__()
        self.norm = ResidualLoss(residual, riesz)
        self.sources = form_sources(residual, arguments)

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        return self.norm(**form_values(self.sources, _known(prediction, truth)))


class FormEnergy(Metric):
    """The value of a functional for each sample: minimised where the prediction minimises the energy (Ritz).

    Args:
        energy: a compiled functional.
        arguments: see :class:`FormResidual`.

    Raises:
        InputError: the form has a test function, or ``arguments`` names none of its arguments; in use, a field is missing.
    """

    def __init__(self, energy: Residual, arguments: Sources | None = None):
        super().__init__()
        if energy.test is not None:
            raise InputError("An energy is a functional, but this form has a test function. Use FormResidual for it.")
        self.energy = energy
        self.sources = form_sources(energy, arguments)

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        return self.energy(**form_values(self.sources, _known(prediction, truth)))


class NewtonError(Metric):
    """The relative error of a prediction as a step of Newton's method sees it: ‖u − v‖ / ‖v‖ with v = u − DF(u)⁻¹ F(u).

    To first order v is the solution, and exactly so for a linear equation. As v is not differentiated, the gradient is the one that
    training with data would have: relative to the size of the sample and in the norm that is judged, while a residual weighs errors
    by the coefficients. What it cannot do is to choose among several solutions, or to begin far from all of them.

    Args:
        step: of the equation; see :class:`fem.NewtonStep`.
        space, norm: of the unknown, in which the error is measured.
        arguments: see :class:`FormResidual`.

    Raises:
        InputError: ``arguments`` names no argument of the form; in use, a field is missing.
    """

    def __init__(self, step: NewtonStep, space: Space, norm: str = "H1", arguments: Sources | None = None):
        super().__init__()
        self.step, self.distance = step, RelativeNorm(space, step.field, norm)
        self.sources = form_sources(step.residual, arguments)

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        u = predicted(prediction, self.step.field)
        v = u.detach() + self.step(**form_values(self.sources, _known(prediction, truth)))
        return self.distance.each({self.step.field: u}, {self.step.field: v})


class SchemeResidual(Metric):
    """The mean square of a discrete residual on a grid, for each sample.

    Args:
        residual: ``residual(prediction, fields) -> (batch, ...)``, what is left of the scheme's equations at each point.
    """

    def __init__(self, residual: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]):
        super().__init__()
        self.residual = residual

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        return self.residual(prediction, truth).flatten(1).square().mean(1)


class WeightedSum(Metric):
    """Σ w_i · loss_i of one prediction, for each sample: data and physics at once, for example.

    Args:
        losses: metrics by name.
        weights: of each, by the same names.

    Raises:
        InputError: losses and weights have different names.
    """

    def __init__(self, losses: Mapping[str, Metric], weights: Mapping[str, float]):
        super().__init__()
        if set(losses) != set(weights) or not losses:
            raise InputError(f"Every loss needs a weight; got losses {list(losses)} and weights {list(weights)}.")
        self.losses = nn.ModuleDict(losses)
        self.weights = dict(weights)

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        terms = [self.weights[name] * loss.each(prediction, truth) for name, loss in self._named()]
        return sum(terms[1:], start=terms[0])

    def _named(self) -> list[tuple[str, Metric]]:
        return [(name, loss) for name, loss in self.losses.items() if isinstance(loss, Metric)]


def _known(prediction: Mapping[str, Tensor], fields: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """What is predicted, and else what is given."""
    return ChainMap(cast(dict[str, Tensor], prediction), cast(dict[str, Tensor], fields))
