"""Trajectories and how an operator that advances in time is unrolled along them.

Fields of trajectories are ``(batch, time, dofs)`` or ``(batch, time, channel, x, y[, z])``; a field with as many axes as the states varies
in time, every other one is constant, ``(batch, ...)``.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...errors import InputError
from .objective import Apply

#: What a loss finds the fields of the step before under: ``"previous_u"``.
PREVIOUS = "previous_"


def in_time(batch: Mapping[str, Tensor], states: Sequence[str]) -> set[str]:
    """The fields that vary in time.

    Raises:
        InputError: a state is missing.
    """
    if missing := [name for name in states if name not in batch]:
        raise InputError(
            f"The batch has no state {', '.join(map(repr, missing))}; its fields are {', '.join(map(repr, batch))}. "
            "Name the fields that the operator advances in time."
        )
    axes = batch[states[0]].ndim
    return {name for name, values in batch.items() if values.ndim == axes}


def num_frames(batch: Mapping[str, Tensor], states: Sequence[str], needed: int) -> int:
    """Frames of a batch of trajectories.

    Raises:
        InputError: there are fewer than are needed.
    """
    in_time(batch, states)
    shape = tuple(batch[states[0]].shape)
    frames = shape[1] if len(shape) > 2 else 1
    if frames < needed:
        raise InputError(
            f"The trajectories need {needed} frames, but {states[0]!r} has shape {shape}: {frames} of them. Take longer windows of the "
            "data, or a shorter horizon."
        )
    return frames


def frame(batch: Mapping[str, Tensor], number: int, states: Sequence[str]) -> dict[str, Tensor]:
    """All fields at one instant, ``(batch, ...)``."""
    varying = in_time(batch, states)
    return {name: values[:, number] if name in varying else values for name, values in batch.items()}


def previous(fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fields under the names that a loss finds those of the step before under."""
    return {PREVIOUS + name: values for name, values in fields.items()}


def require_states(prediction: Mapping[str, Tensor], states: Sequence[str]) -> None:
    """Refuse an operator that does not advance these states."""
    if missing := [name for name in states if name not in prediction]:
        raise InputError(
            f"The operator predicts {', '.join(map(repr, prediction))}, not the state {', '.join(map(repr, missing))}. An operator that "
            "advances in time takes each state and returns it under the same name."
        )


def rollout(operator: Apply, batch: Mapping[str, Tensor], states: Sequence[str], steps: int, start: int = 0) -> dict[str, Tensor]:
    """The states after 1, ..., ``steps`` applications of the operator, ``(batch, steps, ...)`` each.

    The first frame is ``start``; the operator's own states are fed back, and other fields that vary in time are taken from the batch.

    Raises:
        InputError: the operator does not return the states, or the inputs end before the rollout does.
    """
    num_frames(batch, states, start + 1)
    driven = [name for name in in_time(batch, states) if name not in states]
    if driven:
        num_frames(batch, driven, start + steps)
    fields = frame(batch, start, states)
    frames: dict[str, list[Tensor]] = {name: [] for name in states}
    for number in range(start + 1, start + steps + 1):
        prediction = operator(fields)
        require_states(prediction, states)
        for name in states:
            frames[name].append(prediction[name])
        if number < start + steps:
            fields = fields | {name: batch[name][:, number] for name in driven} | {name: prediction[name] for name in states}
    return {name: torch.stack(values, dim=1) for name, values in frames.items()}
