"""Objectives and metrics on families of meshes: what each mesh has of its own, chosen by the fields."""

from collections.abc import Callable

from torch import Tensor, nn

from ..errors import InputError
from ..fem import Discretization, DiscretizationFamily, FieldsOnMesh
from ..fem.family import OnEachMesh, mesh_of
from .metrics import Metric
from .metrics.metric import Fields
from .objectives import Objective
from .objectives.objective import Apply


class ObjectiveFamily(Objective):
    """The objective that belongs to the mesh of the batch, such as an error in the norm of its space.

    Whatever it does with the fields, the operator is told again which mesh they are on.

    Args:
        make: from a discretization to its objective.

    Raises:
        InputError: the objective remembers states from step to step, as a pool does; states on one mesh mean nothing on another.
    """

    def __init__(self, make: Callable[[Discretization], Objective], family: DiscretizationFamily):
        super().__init__()
        self.on = OnEachMesh(make, family)
        self._arguments: tuple[int, ...] = (0,)
        self._begun: set[int] = set()
        if type(self.on.first).get_extra_state is not nn.Module.get_extra_state:
            raise InputError(
                f"A {type(self.on.first).__name__} keeps states between steps, and those of one mesh mean nothing on another. Choose an "
                "objective without, such as training/objective=one_application."
            )

    def start(self, step: int, seed: int = 0, *streams: int) -> None:
        super().start(step, seed, *streams)
        self._arguments, self._begun = (step, seed, *streams), set()

    def forward(self, operator: Apply, batch: dict[str, Tensor]) -> Tensor:
        mesh = mesh_of(batch)
        own = self.on[mesh]
        if mesh not in self._begun:
            own.start(*self._arguments)
            self._begun.add(mesh)
        return own(_on_mesh(operator, mesh), batch)

    def predict(self, operator: Apply, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        mesh = mesh_of(batch)
        prediction, fields = self.on[mesh].predict(_on_mesh(operator, mesh), batch)
        return prediction, FieldsOnMesh(mesh, fields)


def _on_mesh(operator: Apply, mesh: int) -> Apply:
    return lambda fields: operator(FieldsOnMesh(mesh, fields))


def on_mesh_of(objective: Objective, operator: Apply, fields: Fields) -> tuple[Objective, Apply]:
    """The objective and the operator on the mesh where ``fields`` are; themselves where there is one mesh."""
    if not isinstance(objective, ObjectiveFamily):
        return objective, operator
    mesh = mesh_of(fields)
    return objective.on[mesh], _on_mesh(operator, mesh)


class MetricFamily(Metric):
    """The metric that belongs to the mesh of the data.

    Args:
        make: from a discretization to its metric.
    """

    def __init__(self, make: Callable[[Discretization], Metric], family: DiscretizationFamily):
        super().__init__()
        self.on = OnEachMesh(make, family)
        self.reduction, self.labels = self.on.first.reduction, self.on.first.labels

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        return self.on.of(truth).each(prediction, truth)
