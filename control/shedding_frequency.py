"""Vortices shed at a wanted frequency, by the speed of the inflow: through the solver, or through a trained NeuralStagger."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..operators import NeuralStagger
from ..solvers.grid.problems import InflowChannel
from .case import ControlCase, Curves, Panels, TrainedOperator, Values
from .controls import Control
from .functional import ReducedFunctional
from .shedding import Shedding
from .torch_functional import TorchFunctional


class SheddingFrequency(ControlCase):
    """min (E[f] − f*)², E[f] the expected frequency of :class:`Shedding`, over the mean speed "inflow" of the inflow; 1 is no control.

    Args:
        problem: the channel; it is made to compute in double precision.
        target: f*.
        duration, skip, probe: see :class:`Shedding`.

    Raises:
        InputError: the target is not positive.
    """

    models = ("torch", "operator")
    curve = "transverse velocity at the probe"

    def __init__(
        self, problem: InflowChannel, target: float, duration: float = 5.0, skip: float = 1.0, probe: Sequence[float] = (0.9, 0.5)
    ):
        if not target > 0:
            raise InputError(f"The wanted frequency must be positive, not {target}.")
        problem.dtype = torch.float64
        self.problem, self.target, self.shapes = problem, target, {"inflow": ()}
        self._arguments = duration, skip, probe
        self._operator: NeuralStagger | None = None
        self._made: Shedding | None = None
        self._runs: dict[float, Tensor] = {}

    @property
    def _shedding(self) -> Shedding:
        """Made when it is first needed, for it begins with a run of the solver."""
        if self._made is None:
            self._made = Shedding(self.problem, self._operator, *self._arguments)
        return self._made

    @property
    def uncontrolled(self) -> dict[str, np.ndarray]:
        return {"inflow": np.ones(())}

    def use_operator(self, trained: TrainedOperator) -> None:
        """A :class:`NeuralStagger` for the stream function, trained on flows of the same channel.

        Raises:
            InputError: the operator is no NeuralStagger on the case's grid.
        """
        trained.require(*self.problem.inputs)
        if not isinstance(trained.operator, NeuralStagger) or trained.where["psi"] != self.problem.grid:
            raise InputError(
                f"The frequency is found through a NeuralStagger on {self.problem.grid.shape} points, not through a "
                f"{type(trained.operator).__name__} on {trained.where['psi']}."
            )
        self._operator, self._made = trained.operator, None
        self._runs.clear()

    def functional(self, model: str, controls: list[Control] | None = None) -> ReducedFunctional:
        self.require(model)
        controls = self.controls() if controls is None else controls
        return TorchFunctional(lambda m: self._off(self._flow(m["inflow"], model)).square(), controls, torch.float64)

    def quantities(self, values: Values, model: str) -> dict[str, float]:
        self.require(model)
        with torch.no_grad():
            off = self._off(self._solved(values) if model == "torch" else self._flow(_number(values), model)).item()
        return {"objective": off**2, "expected frequency": off + self.target, "off by": abs(off) / self.target}

    def panels(self, values: Values) -> Panels:
        flows = {"uncontrolled vorticity": self.uncontrolled, "controlled vorticity": values}
        return {title: (self._shedding.grid, self._shedding.vorticity(self._solved(m)[-1])[None]) for title, m in flows.items()}

    def curves(self, values: Values) -> Curves:
        flows = {"uncontrolled": self.uncontrolled, "controlled": values}
        signals = {name: self._shedding.signal(self._solved(m)).numpy() for name, m in flows.items()}
        first, interval = self._shedding.skipped, self._shedding.interval
        return {name: (interval * (first + np.arange(len(signal))), signal) for name, signal in signals.items()}

    def _flow(self, inflow: Tensor, model: str) -> Tensor:
        return self._shedding.surrogate(inflow) if model == "operator" else self._shedding.reference(inflow)

    def _off(self, psi: Tensor) -> Tensor:
        return self._shedding.frequency(psi) - self.target

    def _solved(self, values: Values) -> Tensor:
        """The stream function by the solver; runs are made once."""
        inflow = float(values["inflow"])
        if inflow not in self._runs:
            with torch.no_grad():
                self._runs[inflow] = self._shedding.reference(_number(values))
        return self._runs[inflow]


def _number(values: Values) -> Tensor:
    return torch.as_tensor(values["inflow"], dtype=torch.float64)
