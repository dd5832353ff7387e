"""Named fields of grids as channels of one tensor, and their standardization."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...errors import InputError
from ..encoders import Fields


class ChannelFields:
    """Fields ``(batch, channels, x[, y[, z]])`` by name, joined to the channels of a network and split from them.

    Args:
        inputs, outputs: for each field, its number of channels.
    """

    def __init__(self, inputs: Mapping[str, int], outputs: Mapping[str, int]):
        if not inputs or not outputs or min(*inputs.values(), *outputs.values()) < 1:
            raise InputError(f"An operator needs inputs and outputs with channels each, not {dict(inputs)} and {dict(outputs)}.")
        self.inputs, self.outputs = dict(inputs), dict(outputs)

    @property
    def in_channels(self) -> int:
        return sum(self.inputs.values())

    @property
    def out_channels(self) -> int:
        return sum(self.outputs.values())

    def join(self, fields: Fields, shape: Sequence[int] | None = None) -> Tensor:
        """The inputs as ``(batch, in_channels, *shape)``.

        Raises:
            InputError: a field is missing, or has another shape.
        """
        return _join(self.inputs, fields, shape)

    def join_outputs(self, fields: Fields, shape: Sequence[int] | None = None) -> Tensor:
        """The outputs as ``(batch, out_channels, *shape)``; errors as for :meth:`join`."""
        return _join(self.outputs, fields, shape)

    def pairs(self, fields: Fields, dim: int) -> tuple[Tensor, Tensor]:
        """Inputs and outputs of a data set, ``(samples, channels, x[, y[, z]])``; of trajectories, all pairs of neighbouring frames.

        An input with k times the channels of its trajectory is k frames, the oldest first.
        """
        frames = {fields[name].shape[1] for name in self.outputs if name in fields and fields[name].ndim == dim + 3}
        if not frames:
            return self.join(fields), self.join_outputs(fields)
        (count,) = frames
        given = {
            name: max(1, channels // fields[name].shape[2]) if fields[name].ndim == dim + 3 else 1
            for name, channels in self.inputs.items()
            if name in fields
        }
        history = max(given.values(), default=1)
        pairs = count - history

        def at(name: str, first: int, frames: int = 1) -> Tensor:
            """Some frames from ``first`` on as channels, and those from each later frame on; fields without time at each of them."""
            u = fields[name]
            if u.ndim != dim + 3:
                return torch.stack([u] * pairs, 1).flatten(0, 1)
            return torch.cat([u[:, first + i : first + i + pairs] for i in range(frames)], 2).flatten(0, 1)

        inputs = {name: at(name, history - frames, frames) for name, frames in given.items()}
        return self.join(inputs), self.join_outputs({name: at(name, history) for name in self.outputs if name in fields})

    def named(self, inputs: Tensor) -> dict[str, Tensor]:
        """Joined inputs by their names."""
        return dict(zip(self.inputs, inputs.split(list(self.inputs.values()), dim=1), strict=True))

    def require_increments(self) -> None:
        """Refuse outputs that are no inputs.

        Raises:
            InputError: there is no input of an output's name with at least its channels.
        """
        if any(self.inputs.get(name, 0) < channels for name, channels in self.outputs.items()):
            raise InputError(
                f"The inputs {self.inputs} cannot be incremented to the outputs {self.outputs}: some are missing there."
            )

    def incremented(self, fields: Fields) -> Tensor:
        """What outputs are changes of, ``(batch, out_channels, ...)``: the last channels of the inputs of their names, as the last frame
        of a history is."""
        return torch.cat([fields[name][:, -channels:] for name, channels in self.outputs.items()], dim=1)

    def split(self, u: Tensor) -> dict[str, Tensor]:
        """Channels as the named outputs."""
        return dict(zip(self.outputs, u.split(list(self.outputs.values()), dim=1), strict=True))


def _join(names: Mapping[str, int], fields: Fields, shape: Sequence[int] | None) -> Tensor:
    if missing := [name for name in names if name not in fields]:
        raise InputError(f"The operator needs the field {missing[0]!r}, but was given {', '.join(map(repr, fields)) or 'none'}.")
    parts = [fields[name] for name in names]
    shape = tuple(parts[0].shape[2:] if shape is None else shape)
    for (name, channels), part in zip(names.items(), parts, strict=True):
        if tuple(part.shape[1:]) != (channels, *shape):
            raise InputError(
                f"Field {name!r} has shape {tuple(part.shape)}; expected (batch, {channels}, {', '.join(map(str, shape))})."
            )
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class Standardization(nn.Module):
    """(u − mean) / deviation, with one of each for every "channel", for every channel and "point", or nothing for None.

    Both are stored with the weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, per: str | None, shape: Sequence[int]):
        super().__init__()
        if per not in (None, "channel", "point"):
            raise InputError(f'Fields are standardized per "channel" or per "point", not {per!r}.')
        self.per = per
        if per:
            size = (channels, *shape) if per == "point" else (channels, *[1] * len(shape))
            self.register_buffer("mean", torch.zeros(size))
            self.register_buffer("deviation", torch.ones(size))

    def fit(self, u: Tensor) -> None:
        """Take mean and deviation over samples, and over points where there is one for each channel, ``(samples, channels, x, y)``."""
        if self.per:
            over = (0,) if self.per == "point" else (0, *range(2, u.ndim))
            alone = self.per == "point" and len(u) == 1  # one sample does not vary
            deviation, mean = torch.std_mean(u.double(), over, correction=0 if alone else 1)
            self.mean.copy_(mean.view_as(self.mean))
            # Where every sample has one value, as on a Dirichlet boundary, that value is predicted.
            self.deviation.copy_(deviation.view_as(self.deviation))

    def forward(self, u: Tensor) -> Tensor:
        return (u - self.mean) / torch.where(self.deviation > 0, self.deviation, 1) if self.per else u

    def inverse(self, u: Tensor) -> Tensor:
        return u * self.deviation + self.mean if self.per else u
