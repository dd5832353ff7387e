"""The exponential moving average of an operator's weights, which often generalises better than the weights themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MovingAverage:
    """w̄ ← β w̄ + (1 − β) w after every step, with β = min(decay, (1 + n) / (10 + n)) in step n, so that it forgets the start soon.

    Args:
        operator: whose parameters are averaged; its buffers are taken as they are.
        decay: such as 0.999, an average over about 1 / (1 − decay) steps.
    """

    def __init__(self, operator: nn.Module, decay: float):
        self.decay = decay
        self._parameters = list(operator.parameters())
        self._averages = [parameter.detach().clone() for parameter in self._parameters]

    def update(self, step: int) -> None:
        """Take in the weights after step ``step``, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights: list[Tensor | nn.Parameter] = [parameter.detach() for parameter in self._parameters]
        get_ema_multi_avg_fn(decay)(self._averages, weights, None)  # pyright: ignore[reportArgumentType]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this block the operator has the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def restore(self, weights: list[Tensor]) -> None:
        """Take the operator's present weights as the average, and give it these instead."""
        for parameter, average, value in zip(self._parameters, self._averages, weights, strict=True):
            average.copy_(parameter)
            parameter.copy_(value)

    def weights(self) -> list[Tensor]:
        """The weights that are trained, for a checkpoint whose operator has the averaged ones."""
        return [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def _exchange(self) -> None:
        for parameter, average in zip(self._parameters, self._averages, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)
