"""A pool of states in surroundings that go on changing: obstacles that move while the operator advances the flow."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .objective import Loss
from .pool import Pool


class ScenePool(Pool):
    """A :class:`Pool` whose inputs advance with its states.

    Args:
        loss, states, size, reset, limit: see :class:`Pool`.
        advance: the inputs of a scene, ``{name: (batch, ...)}``, at its next step, such as :meth:`MovingDisc.advance`.
    """

    def __init__(
        self,
        loss: Loss,
        states: Sequence[str],
        advance: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        size: int,
        reset: float = 0.01,
        limit: float = 100.0,
    ):
        super().__init__(loss, states, size, reset, limit)
        self.advance = advance

    @torch.no_grad()
    def _kept(
        self, fields: dict[str, Tensor], prediction: dict[str, Tensor], fresh: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        kept, bounded = super()._kept(fields, prediction, fresh)
        return kept | self.advance({name: values for name, values in fields.items() if name not in self.states}), bounded
