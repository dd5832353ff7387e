"""The objective of a training step, and the random numbers that belong to the step."""

import random
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

Fields = Mapping[str, Tensor]

#: From a prediction and the fields it is judged against, both ``{name: (batch, ...)}``, to a scalar; every metric is one.
Loss = Callable[[Fields, Fields], Tensor]

#: An operator as an objective sees it; it may be compiled or distributed.
Apply = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class Objective(nn.Module):
    """``objective(operator, batch) -> loss``: how the operator is applied to a batch, and its prediction judged.

    This one applies the operator once: with a metric of the outputs that is supervised learning, with the residual of the equation
    (:class:`FormResidual`, :class:`SchemeResidual`) or an energy it is physics-informed learning, which needs no outputs in the data,
    and with a :class:`WeightedSum` of both it is mixed. Subclasses unroll the operator in time or make the states it is trained on.

    A subclass draws from :meth:`random_numbers` (on the device) and :attr:`choices` (on the host, the same in all processes) and nowhere
    else: the draws of a step then follow from the seed and the number of the step alone. What it remembers between steps goes into
    ``get_extra_state``, which is part of a checkpoint.

    Args:
        loss: ``loss(prediction, fields) -> scalar``, the mean over the samples of the batch.
    """

    def __init__(self, loss: Loss | None = None):
        super().__init__()
        self.loss = loss
        self.step = 0
        self._seeds: tuple[int, ...] = (0,)
        self._generator: torch.Generator | None = None
        self.choices = random.Random(0)

    def start(self, step: int, seed: int = 0, *streams: int) -> None:
        """Begin a step, or begin it again: random numbers are drawn anew from ``(seed, step, *streams)``."""
        self.step = step
        self._seeds, self._generator = (seed, step, *streams), None
        self.choices.seed(seed * 2_147_483_647 + step)

    def random_numbers(self, device: torch.device) -> torch.Generator:
        """The generator of this step's random tensors."""
        if self._generator is None or self._generator.device != device:
            seed = int(np.random.SeedSequence(self._seeds).generate_state(1, np.uint64)[0] >> np.uint64(1))
            self._generator = torch.Generator(device).manual_seed(seed)
        return self._generator

    def predict(self, operator: Apply, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The prediction for a batch and the fields it is judged against, as validation wants them: without random numbers."""
        return operator(batch), batch

    def forward(self, operator: Apply, batch: dict[str, Tensor]) -> Tensor:
        return self.judge(*self.predict(operator, batch))

    def report(self) -> dict[str, float]:
        """What the log is to know of the epoch that ends, by name; none here."""
        return {}

    def judge(self, prediction: Fields, fields: Fields) -> Tensor:
        assert self.loss is not None
        return self.loss(prediction, fields)
