"""Losses that need no outputs in the data, residuals of equations and energies, and weighted sums of losses.

Each is a metric, so it serves in validation, too.
"""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from ..errors import InputError
from ..fem import NewtonStep, Residual, ResidualLoss, Space
from .metrics import Metric, RelativeNorm

#: What a form's argument is taken from: the name of a field, or a number.
Sources = Mapping[str, str | float]


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
        self.sources = _checked(residual, arguments)

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        return self.norm(**_values(self.sources, prediction, truth))


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
        self.sources = _checked(energy, arguments)

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        return self.energy(**_values(self.sources, prediction, truth))


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
        self.sources = _checked(step.residual, arguments)

    def each(self, prediction: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        u = prediction[self.step.field]
        v = u.detach() + self.step(**_values(self.sources, prediction, truth))
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


def _checked(form: Residual, arguments: Sources | None) -> dict[str, str | float]:
    given = dict(arguments or {})
    if unknown := [name for name in given if name not in form.arguments]:
        raise InputError(
            f"The form has no argument {', '.join(map(repr, unknown))}; it depends on {', '.join(map(repr, form.arguments))}."
        )
    return {name: given.get(name, name) for name in form.arguments}


def _values(
    sources: Mapping[str, str | float], prediction: Mapping[str, Tensor], fields: Mapping[str, Tensor]
) -> dict[str, Tensor | float]:
    known = {**fields, **prediction}
    if missing := {source for source in sources.values() if isinstance(source, str) and source not in known}:
        raise InputError(
            f"The form needs {', '.join(map(repr, sorted(missing)))}, but there are only {', '.join(map(repr, known))}. Say by "
            "`arguments` which field or number to take."
        )
    return {name: known[source] if isinstance(source, str) else source for name, source in sources.items()}
