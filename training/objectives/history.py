"""Rollouts of operators that are given several frames and return the next, as in many published protocols."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...errors import InputError
from .objective import Apply, Loss, Objective
from .trajectory import in_time, num_frames, require_states


class HistoryRollout(Objective):
    """The mean loss over ``horizon`` steps of an operator that is given the last ``history`` frames of every state and returns the next.

    Trajectories are ``(batch, time, channel, x, y[, z])``; the operator is given their frames as channels, the oldest first,
    ``(batch, history · channel, x, y[, z])``. Other fields must be constant in time. :meth:`predict` begins with the first frames of every
    trajectory and goes on to the last, fed with its own predictions: the 10 → 10 protocol of vorticity (Li et al., ICLR 2021, arXiv
    2010.08895; Wu et al., ICML 2024, arXiv 2402.02366) with ``history=10`` on trajectories of 20 frames.

    Args:
        loss: see :class:`Objective`.
        states: the fields that the operator advances.
        history: frames that it is given.
        horizon: steps that are judged, from a random frame on.
        first: frames at the start of every trajectory that are left out, such as an initial one that published data lack.

    Raises:
        InputError: impossible numbers; in use, trajectories that are too short, or another field that varies in time.
    """

    def __init__(self, loss: Loss, states: Sequence[str], history: int = 10, horizon: int = 1, first: int = 0):
        super().__init__(loss)
        if isinstance(states, str) or not states or history < 1 or horizon < 1 or first < 0:
            raise InputError(
                f"A history needs a list of states, history ≥ 1, horizon ≥ 1 and first ≥ 0; got {states!r}, {history}, {horizon} "
                f"and {first}."
            )
        self.states, self.history, self.horizon, self.first = tuple(states), history, horizon, first

    def forward(self, operator: Apply, batch: dict[str, Tensor]) -> Tensor:
        frames = num_frames(batch, self.states, self.first + self.history + self.horizon)
        start = self.choices.randrange(self.first, frames - self.history - self.horizon + 1)
        prediction = self._unrolled(operator, batch, start, self.horizon)
        met = self._met(batch, start + self.history, start + self.history + self.horizon)
        steps = [
            self.judge(*({name: u[:, i] if name in self.states else u for name, u in part.items()} for part in (prediction, met)))
            for i in range(self.horizon)
        ]
        return torch.stack(steps).mean()

    def predict(self, operator: Apply, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The rollout from the first ``history`` frames to the last one, and the frames it is to meet."""
        begin = self.first + self.history
        frames = num_frames(batch, self.states, begin + 1)
        return self._unrolled(operator, batch, self.first, frames - begin), self._met(batch, begin, frames)

    def _unrolled(self, operator: Apply, batch: Mapping[str, Tensor], start: int, steps: int) -> dict[str, Tensor]:
        """The ``steps`` frames after those from ``start`` on, ``(batch, steps, channel, ...)`` for each state."""
        if driven := in_time(batch, self.states) - {*self.states}:
            raise InputError(
                f"The field {min(driven)!r} varies in time; with a history of states only constant fields are inputs."
            )
        known = {name: list(batch[name][:, start : start + self.history].unbind(1)) for name in self.states}
        for _ in range(steps):
            recent = {name: torch.cat(frames[-self.history :], dim=1) for name, frames in known.items()}
            prediction = operator({**batch, **recent})
            require_states(prediction, self.states)
            for name, frames in known.items():
                frames.append(prediction[name])
        return {name: torch.stack(frames[self.history :], dim=1) for name, frames in known.items()}

    def _met(self, batch: Mapping[str, Tensor], start: int, stop: int) -> dict[str, Tensor]:
        return {name: u[:, start:stop] if name in self.states else u for name, u in batch.items()}
