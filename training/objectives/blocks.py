"""Training of operators that advance a block of frames at a time, such as :class:`NeuralStagger` with a time factor."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError
from .objective import Apply, Objective
from .trajectory import in_time, num_frames, rollout


class Blocks(Objective):
    """Trajectories ``(batch, time, ...)`` as trajectories of blocks, ``(batch, blocks, frames, ...)``, for another objective.

    Args:
        objective: what is given the blocks as its frames, such as a :class:`Rollout` or a :class:`Pool`.
        states: the fields that the operator takes at one block and returns at the next.
        frames: of a block; with 1, the operator's fields have no time axis.
        start_only: give the objective the first block of each trajectory alone, ``(batch, frames, ...)``, so that it is trained without
            data beyond the start; validation still compares rollouts with whole trajectories.
        ahead: inputs that change and that the operator is given at the frames it predicts, as :class:`NeuralStagger` wants them: each
            block is given those of the next. The loss of a :class:`Rollout` finds these as ``previous_<name>``, that of a
            :class:`Pool` under their own names.

    Raises:
        InputError: an impossible number; in use, trajectories of less than two blocks.
    """

    def __init__(
        self, objective: Objective, states: Sequence[str], frames: int, start_only: bool = False, ahead: Sequence[str] = ()
    ):
        super().__init__()
        if isinstance(states, str) or not states or frames < 1 or isinstance(ahead, str) or set(ahead) & set(states):
            raise InputError(
                f"Blocks need a list of states, a frame or more, and inputs ahead that are no states; got {states!r}, {frames} and "
                f"{ahead!r}."
            )
        self.objective, self.states, self.frames, self.start_only = objective, tuple(states), frames, start_only
        self.ahead = tuple(ahead)

    def start(self, step: int, seed: int = 0, *streams: int) -> None:
        super().start(step, seed, *streams)
        self.objective.start(step, seed, *streams)

    def forward(self, operator: Apply, batch: dict[str, Tensor]) -> Tensor:
        blocks = self._given(self._blocked(batch))
        if self.start_only:
            varying = in_time(blocks, self.states)
            blocks = {name: values[:, 0] if name in varying else values for name, values in blocks.items()}
        return self.objective(operator, blocks)

    def predict(self, operator: Apply, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The rollout from the first block to the last, and the frames it is to meet."""
        blocks = self._blocked(batch)
        steps = num_frames(blocks, self.states, 2) - 1
        varying = in_time(blocks, self.states)
        met = {name: self._frames(values[:, 1:]) if name in varying else values for name, values in blocks.items()}
        prediction = rollout(operator, self._given(blocks), self.states, steps)
        return {name: self._frames(values) for name, values in prediction.items()}, met

    def report(self) -> dict[str, float]:
        return self.objective.report()

    def _blocked(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.frames == 1:
            return batch
        varying = in_time(batch, self.states)
        whole = num_frames(batch, self.states, self.frames) // self.frames * self.frames
        return {
            name: values[:, :whole].unflatten(1, (-1, self.frames)) if name in varying else values
            for name, values in batch.items()
        }

    def _given(self, blocks: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the operator is given at each block; the last block, which nothing follows, keeps its own inputs."""
        shifted = [name for name in in_time(blocks, self.states) if name in self.ahead]
        return blocks | {name: torch.cat([blocks[name][:, 1:], blocks[name][:, -1:]], 1) for name in shifted}

    def _frames(self, values: Tensor) -> Tensor:
        return values if self.frames == 1 else values.flatten(1, 2)
