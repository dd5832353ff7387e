"""Several objectives at once, each with its own way to apply the operator."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import InputError
from .objective import Apply, Objective


class Mixed(Objective):
    """Σ w_i · objective_i, on the same batch. Where only the losses differ, a :class:`WeightedSum` applies the operator once.

    Args:
        objectives: by name; validation uses the first.
        weights: of each, by the same names.

    Raises:
        InputError: objectives and weights have different names.
    """

    def __init__(self, objectives: Mapping[str, Objective], weights: Mapping[str, float]):
        super().__init__()
        if set(objectives) != set(weights) or not objectives:
            raise InputError(f"Every objective needs a weight; got objectives {list(objectives)} and weights {list(weights)}.")
        for name, objective in objectives.items():
            self.add_module(name, objective)
        self.weights = dict(weights)

    def start(self, step: int, seed: int = 0, *streams: int) -> None:
        super().start(step, seed, *streams)
        for number, name in enumerate(self.weights):
            self._part(name).start(step, seed, *streams, number)

    def forward(self, operator: Apply, batch: dict[str, Tensor]) -> Tensor:
        losses = [weight * self._part(name)(operator, batch) for name, weight in self.weights.items()]
        return torch.stack(losses).sum()

    def predict(self, operator: Apply, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return self._part(next(iter(self.weights))).predict(operator, batch)

    def report(self) -> dict[str, float]:
        reports = {name: self._part(name).report() for name in self.weights}
        return {f"{name}_{key}": value for name, report in reports.items() for key, value in report.items()}

    def _part(self, name: str) -> Objective:
        part = self.get_submodule(name)
        assert isinstance(part, Objective)
        return part
