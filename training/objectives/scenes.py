"""A pool of states in surroundings that go on changing: obstacles that move while the operator advances the flow."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .objective import Loss
from .pool import Pool


class Scene(Protocol):
    """Surroundings that change, such as :class:`~thalweg.solvers.grid.problems.moving_disc.MovingDisc`."""

    def advance(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs ``{name: (batch, ...)}`` a step of the operator later."""
        ...


class ScenePool(Pool):
    """A :class:`Pool` whose inputs advance with its states.

    Args:
        loss, states, size, reset, limit, trajectories, frames: see :class:`Pool`.
        scene: what advances the inputs.
    """

    def __init__(
        self,
        loss: Loss,
        states: Sequence[str],
        scene: Scene,
        size: int,
        reset: float = 0.01,
        limit: float = 100.0,
        trajectories: bool = False,
        frames: int = 1,
    ):
        super().__init__(loss, states, size, reset, limit, trajectories, frames)
        self.scene = scene

    @torch.no_grad()
    def _kept(
        self, fields: dict[str, Tensor], prediction: dict[str, Tensor], fresh: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        kept, bounded = super()._kept(fields, prediction, fresh)
        return kept | self.scene.advance({name: values for name, values in fields.items() if name not in self.states}), bounded
