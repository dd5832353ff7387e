"""Training of operators that advance a block of frames at a time, such as :class:`NeuralStagger` with a time factor."""

from collections.abc import Sequence

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

    Raises:
        InputError: an impossible number; in use, trajectories of less than two blocks.
    """

    def __init__(self, objective: Objective, states: Sequence[str], frames: int, start_only: bool = False):
        super().__init__()
        if isinstance(states, str) or not states or frames < 1:
            raise InputError(f"Blocks need a list of states and a frame or more; got {states!r} and {frames}.")
        self.objective, self.states, self.frames, self.start_only = objective, tuple(states), frames, start_only

    def start(self, step: int, seed: int = 0, *streams: int) -> None:
        super().start(step, seed, *streams)
        self.objective.start(step, seed, *streams)

    def forward(self, operator: Apply, batch: dict[str, Tensor]) -> Tensor:
        blocks = self._blocked(batch)
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
        prediction = rollout(operator, blocks, self.states, steps)
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

    def _frames(self, values: Tensor) -> Tensor:
        return values if self.frames == 1 else values.flatten(1, 2)
