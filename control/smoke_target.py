"""Smoke steered to a target by a steady force: through every step of a differentiable solver, or through a trained operator."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputError
from ..operators import Operator
from ..solvers.grid.problems import SteeredSmoke
from .case import ControlCase, Panels, TrainedOperator, Values
from .controls import Control
from .functional import ReducedFunctional
from .torch_functional import TorchFunctional


class SmokeTarget(ControlCase):
    """min ½‖c(1) − c_d‖² + α/2 ‖m‖² over the coefficients "m" of the force of :class:`~thalweg.solvers.grid.problems.SteeredSmoke`.

    c_d is an ellipse of the same area as the disc in the beginning, which the flow conserves.

    Args:
        problem: the flow and its smoke.
        alpha: α.
        target: x and y of the ellipse's centre.

    Raises:
        InputError: α is negative.
    """

    models = ("torch", "operator")
    one_scale = True

    def __init__(self, problem: SteeredSmoke, alpha: float = 1e-6, target: Sequence[float] = (0.65, 0.6)):
        if alpha < 0:
            raise InputError(f"alpha must not be negative, as {alpha} is.")
        self.problem, self.alpha, self.grid = problem, alpha, problem.grid
        self.shapes = {"m": (problem.modes, problem.modes)}
        self.wanted = problem.ellipse(target, (0.256, 0.1))
        self._operator: Operator | None = None

    def use_operator(self, trained: TrainedOperator) -> None:
        """An operator from the potential of the force, ``psi``, and the smoke at first, ``c0``, to the smoke up to time 1, ``c``."""
        trained.require("psi", "c0", "c")
        if trained.where["c"] != self.grid:
            raise InputError(f"The case has {self.grid.shape} cells, the operator's smoke lives on {trained.where['c']}.")
        self._operator = trained.operator

    def functional(self, model: str, controls: list[Control] | None = None) -> ReducedFunctional:
        self.require(model)

        def objective(m: dict[str, Tensor]) -> Tensor:
            return 0.5 * (self._last(m["m"], model) - self.wanted).square().mean() + self.alpha / 2 * m["m"].square().sum()

        return TorchFunctional(objective, self.controls() if controls is None else controls, torch.float64)

    def quantities(self, values: Values, model: str) -> dict[str, float]:
        self.require(model)
        m = torch.as_tensor(values["m"], dtype=torch.float64)
        with torch.no_grad():
            off = self._last(m, model) - self.wanted
        mismatch = self.grid.norm(off, "L2") / self.grid.norm(self.wanted, "L2")
        return {
            "objective": self.functional(model)(values),
            "mismatch": mismatch.item(),
            "largest coefficient": m.abs().max().item(),
        }

    def panels(self, values: Values) -> Panels:
        with torch.no_grad():
            frames = self.problem.smoke(torch.as_tensor(values["m"], dtype=torch.float64)[None], frames=4)[0]
        shown = {f"smoke at {i / 4:g}": c for i, c in enumerate(frames)} | {"target": self.wanted}
        return {title: (self.grid, c) for title, c in shown.items()}

    def _last(self, m: Tensor, model: str) -> Tensor:
        """The smoke at time 1, ``(1, x, y)``."""
        if model == "torch":
            return self.problem.smoke(m[None])[0, -1]
        if self._operator is None:
            raise InputError("There is no operator to move the smoke by; give the folder of a training run by run=...")
        return self._operator({"psi": self.problem.potential(m[None]), "c0": self.problem.start[None]})["c"][0, -1]
