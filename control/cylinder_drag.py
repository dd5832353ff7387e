"""Drag reduction of a cylinder by rotation and jets, through the solver's adjoint or through an operator for the mean flow."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..fem import Discretization
from ..solvers import ControlledCylinderFlow
from ..solvers.force_history import ForceHistory
from .case import ControlCase, Curves, Panels, TrainedOperator, Values
from .controls import Control
from .functional import ReducedFunctional
from .solver_functional import SolverFunctional
from .torch_functional import TorchFunctional


class CylinderDrag(ControlCase):
    """min C_D(m) + ½ effort Σ m², C_D the mean drag coefficient of :class:`ControlledCylinderFlow`, m the strengths of actuators.

    "drag" among the quantities is the mean over the problem's window; the reference solver's "late drag" is that of a longer run.

    Args:
        problem: the flow.
        actuators: those that work.
        effort: weight of the regularisation; a strength of 1 is a surface speed as large as the mean inflow.
        late: end of the longer run in s; its second half counts.

    Raises:
        InputError: an unknown actuator, or none.
    """

    models = ("firedrake", "operator")
    curve = "drag coefficient"
    time = "time in s"

    def __init__(self, problem: ControlledCylinderFlow, actuators: Sequence[str], effort: float = 0.01, late: float = 2.0):
        if not actuators:
            raise InputError("No actuator works; choose from rotation and jets.")
        self.problem, self.effort, self.late = problem, effort, late
        self.shapes = dict.fromkeys(actuators, ())
        self._fields = {name: problem.surface(**{name: 1.0}).dat.data_ro.ravel().copy() for name in actuators}
        self._predict: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
        self._runs: dict[bytes, tuple[ForceHistory, np.ndarray]] = {}

    def use_operator(self, trained: TrainedOperator) -> None:
        """An operator from the velocity of the surface and the mean flow without control to the mean flow with it."""
        trained.require(*self.problem.inputs, *self.problem.outputs)
        trained.space("g")  # which grids have not; the rest is of one discretization
        disc, operator = cast(Discretization, trained.spaces), trained.operator
        self.problem.export().require_fingerprint(disc.fingerprint, "The operator")
        base = {name: values for name, values in trained.sample.items() if name.endswith("_base")}
        fields = {name: torch.from_numpy(values) for name, values in self._fields.items()}
        drag, lift = disc.form("drag"), disc.form("lift")

        def predict(m: dict[str, Tensor]) -> dict[str, Tensor]:
            g = torch.stack([m[name] * field for name, field in fields.items()]).sum(0)
            u = operator({"g": g[None], **base})
            return {"drag": drag(**u)[0], "lift": lift(**u)[0]}

        self._predict = predict

    def functional(self, model: str, controls: list[Control] | None = None) -> ReducedFunctional:
        self.require(model)
        controls = self.controls() if controls is None else controls
        if model == "operator":
            return TorchFunctional(lambda m: self._predicted(m)["drag"] + self._regularisation(m), controls, torch.float64)
        return SolverFunctional(
            self._solved, controls, value=lambda m: self.problem.mean_drag(self._surface(m)) + self._regularisation(m)
        )

    def quantities(self, values: Values, model: str) -> dict[str, float]:
        effort = float(self._regularisation(values))
        if model == "operator":
            with torch.no_grad():
                found = self._predicted({name: torch.as_tensor(values[name], dtype=torch.float64) for name in self.shapes})
            return {"objective": found["drag"].item() + effort, "drag": found["drag"].item(), "lift": found["lift"].item()}
        history, _ = self._run(values)
        drag, lift = (self.problem.windowed(history.times, c) for c in (history.drag, history.lift))
        return {"objective": drag + effort, "drag": drag, "lift": lift, "late drag": late_mean(history, self.late)}

    def panels(self, values: Values) -> Panels:
        space = self.problem.export()["V"]
        flows = {"uncontrolled flow": self.uncontrolled, "controlled flow": values}
        return {title: (space, self._run(m)[1]) for title, m in flows.items()}

    def curves(self, values: Values) -> Curves:
        histories = {name: self._run(m)[0] for name, m in (("uncontrolled", self.uncontrolled), ("controlled", values))}
        return {name: (history.times, history.drag) for name, history in histories.items()}

    def _run(self, values: Values) -> tuple[ForceHistory, np.ndarray]:
        """Forces of the longer run and the velocity at its end; runs are made once."""
        g = self._surface(values)
        key = g.dat.data_ro.tobytes()
        if key not in self._runs:
            history = self.problem.force_history(g, self.late, self.problem.every)
            self._runs[key] = history, self.problem.velocity().dat.data_ro.ravel().copy()
        return self._runs[key]

    def _predicted(self, m: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._predict is None:
            raise InputError("There is no operator to compute the flow by; give the folder of a training run by run=...")
        return self._predict(m)

    def _solved(self, values: Values) -> tuple[float, dict[str, np.ndarray]]:
        J, slope = self.problem.mean_drag_gradient(self._surface(values))
        gradient = {name: np.asarray(field @ slope + self.effort * values[name]) for name, field in self._fields.items()}
        return J + self._regularisation(values), gradient

    def _regularisation(self, m: Any) -> Any:
        return 0.5 * self.effort * sum(m[name] ** 2 for name in self.shapes)

    def _surface(self, values: Values) -> Any:
        return self.problem.surface(**{name: float(values[name]) for name in self.shapes})


def late_mean(history: ForceHistory, end: float) -> float:
    """The mean drag over the second half of a run, with the weights sin² of the problem's averages."""
    late = history.after(end / 2)
    weights = np.sin(np.pi * (np.arange(len(late.drag)) + 0.5) / len(late.drag)) ** 2
    return float(weights @ late.drag / weights.sum())
