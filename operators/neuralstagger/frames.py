"""Dictionaries of fields as parts, one a subtask, and back: names, channels, time axes and padding."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from ...errors import InputError
from ..encoders import Fields
from .decomposition import Decomposition


class Frames:
    """The fields of an operator that works on subtasks; see :class:`NeuralStagger` for the arguments."""

    def __init__(
        self, decomposition: Decomposition, state: Mapping[str, int], inputs: Mapping[str, int], held: Mapping[str, str]
    ):
        self.decomposition, self.state, self.inputs, self.held = decomposition, state, inputs, held

    @property
    def input_starts(self) -> list[int]:
        """First channel of each input."""
        return [0, *accumulate(self.inputs.values())][:-1]

    def field(self, fields: Fields, name: str, channels: int) -> Tensor:
        """One field ``(batch, [time,] channel, x, y[, z])``.

        Raises:
            InputError: it is missing, or has another number of axes or channels.
        """
        if name not in fields:
            raise InputError(f"The operator needs the field {name!r}, but was given {', '.join(map(repr, fields)) or 'none'}.")
        u, dim = fields[name], self.decomposition.dim
        if u.dim() not in (dim + 2, dim + 3) or u.shape[-dim - 1] != channels:
            raise InputError(
                f"Field {name!r} has shape {tuple(u.shape)}; expected (batch, [time,] {channels}, {', '.join('xyz'[:dim])})."
            )
        return u

    def points(self, fields: Fields) -> tuple[int, ...]:
        """Those of the state along each axis, without padding."""
        return tuple(fields[next(iter(self.state))].shape[-self.decomposition.dim :])

    def split_state(self, fields: Fields, dtype: torch.dtype) -> Tensor:
        """One block of frames as ``(subtasks, batch, channel, X, Y[, Z])``."""
        dim, s_t = self.decomposition.dim, self.decomposition.time
        parts = []
        for name, channels in self.state.items():
            u = self.field(fields, name, channels)
            if u.dim() == dim + 2:
                u = u[:, None]
            if u.shape[1] != s_t:
                raise InputError(
                    f"Field {name!r} has {u.shape[1]} frames, shape {tuple(fields[name].shape)}; with the time factor {s_t} a flow starts "
                    f"from {s_t}, (batch, {s_t}, channel, ...). The reference solver gives them."
                )
            if u.dtype != dtype:
                raise InputError(f"Field {name!r} is {u.dtype}, the operator {dtype}. Convert one of them.")
            parts.append(self.decomposition.padded(u, self._common(fields)))
        return self.decomposition.split_frames(torch.cat(parts, 2))[:, :, 0]

    def split_inputs(self, fields: Fields, steps: int) -> list[Tensor | None]:
        """Inputs of each step, ``(subtasks, batch, channel, X, Y[, Z])``; one entry if nothing depends on time."""
        return _joined([self._split(fields, name, channels, steps) for name, channels in self.inputs.items()])

    def split_moves(self, fields: Fields, steps: int) -> list[Tensor | None]:
        """Where the state moves, by step: ``(subtasks, batch, channel of the state, X, Y[, Z])``."""
        if not self.held:
            return [None]
        masks = {name: self._split(fields, mask, 1, steps) for name, mask in self.held.items()}
        free = [torch.ones_like(m) for m in next(iter(masks.values()))[:1]]
        parts = []
        for name, channels in self.state.items():
            parts += [masks.get(name, free)] * channels
        return _joined(parts)

    def merge_state(self, parts: Tensor, fields: Fields, keep_time: bool) -> dict[str, Tensor]:
        """``(subtasks, batch, blocks, channel, X, Y[, Z])`` as fields; without time axis where the given ones had none."""
        u = self.decomposition.merge_frames(parts)
        result = {}
        dim = self.decomposition.dim
        for (name, _), v in zip(self.state.items(), u.split(list(self.state.values()), 2), strict=True):
            for axis, n in zip(range(-dim, 0), fields[name].shape[-dim:], strict=True):
                v = v.narrow(axis, 0, n)
            result[name] = v if keep_time or fields[name].dim() == dim + 3 else v[:, 0]
        return result

    def _split(self, fields: Fields, name: str, channels: int, steps: int) -> list[Tensor]:
        """An input by step, or once if it has no time axis."""
        u = self.field(fields, name, channels)
        s_t, dim = self.decomposition.time, self.decomposition.dim
        batch = len(fields[next(iter(self.state))])
        if len(u) not in (1, batch):
            raise InputError(f"Input {name!r} has {len(u)} samples, the state {batch}.")
        u = self.decomposition.padded(u, self._common(fields)).expand(batch, *u.shape[1:-dim], *self._common(fields))
        if u.dim() == dim + 2:
            return [self.decomposition.split(u).repeat_interleave(s_t, 0)]
        if u.shape[1] != s_t * steps:
            raise InputError(
                f"Input {name!r} has {u.shape[1]} frames; {steps} steps of {s_t} frames need {s_t * steps}, those that are predicted."
            )
        return list(self.decomposition.split_frames(u).unbind(2))

    def _common(self, fields: Fields) -> tuple[int, ...]:
        """Points along each axis that every field fits in."""
        names: Sequence[str] = (*self.state, *self.inputs, *self.held.values())
        shapes = [fields[name].shape[-self.decomposition.dim :] for name in names if name in fields]
        return tuple(map(max, zip(*shapes, strict=True)))


def _joined(parts: list[list[Tensor]]) -> list[Tensor | None]:
    """Channels of several fields by step, those of fields that do not change repeated."""
    if not parts:
        return [None]
    steps = max(map(len, parts))
    return [torch.cat([part[step % len(part)] for part in parts], 2) for step in range(steps)]
