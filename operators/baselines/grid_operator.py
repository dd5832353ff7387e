"""Networks on uniform grids as operators on named fields: channels joined, scaled, and taken apart again."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem.uniform_grid import Grid
from ..encoders import Fields
from ..operator import Operator


class GridOperator(Operator):
    """A network ``(batch, channel, x[, y[, z]])`` on fields of a grid, each ``(batch, channel, x[, y[, z]])`` in physical units.

    Inputs are shifted and scaled to mean zero and deviation one in each channel, outputs back again. With ``increment`` the
    network predicts the change of its outputs, which are inputs too: u ← u + network(u), for operators that step in time. Of an input
    with more channels, such as a history of frames, the oldest first, it is the last channels that change.

    Args:
        grid: the fields' grid.
        network: of all channels of the inputs, in their order, to those of the outputs.
        inputs: channels of each input field.
        outputs: channels of each output field.
        increment: whether the network predicts changes.

    Raises:
        InputError: the network has other numbers of channels, or an output that is to be incremented is no input.
    """

    input_mean: Tensor
    input_scale: Tensor
    output_mean: Tensor
    output_scale: Tensor

    def __init__(
        self, grid: Grid, network: nn.Module, inputs: Mapping[str, int], outputs: Mapping[str, int], increment: bool = False
    ):
        super().__init__()
        counts = sum(inputs.values()), sum(outputs.values())
        expected = getattr(network, "in_channels", counts[0]), getattr(network, "out_channels", counts[1])
        if counts != expected:
            raise InputError(
                f"The network maps {expected[0]} channels to {expected[1]}, but the inputs have {counts[0]} and the outputs {counts[1]}."
            )
        if increment and (missing := [name for name, c in outputs.items() if inputs.get(name, 0) < c]):
            raise InputError(f"The field {missing[0]!r} cannot be incremented: it is no input with as many channels.")
        self.grid, self.network, self.increment = grid, network, increment
        self.inputs, self.outputs = dict(inputs), dict(outputs)
        ones = [1] * grid.dim
        for name, count in (("input", counts[0]), ("output", counts[1])):
            self.register_buffer(f"{name}_mean", torch.zeros(count, *ones))
            self.register_buffer(f"{name}_scale", torch.ones(count, *ones))

    @torch.no_grad()
    def set_scales(self, fields: Fields) -> None:
        """Take mean and deviation of each channel from sample fields, or trajectories ``(samples, time, channel, x, y)``."""
        for kind, names in (("input", self.inputs), ("output", self.outputs)):
            differences = kind == "output" and self.increment
            moments = [_moments(self._field(fields, name), self.grid.dim, differences) for name in names]
            # A history of frames has the moments of a frame in each of them.
            frames = [channels // len(mean) for channels, (mean, _) in zip(names.values(), moments, strict=True)]
            for moment, which in (("mean", 0), ("scale", 1)):
                repeated = [m[which].repeat(n, *[1] * self.grid.dim) for m, n in zip(moments, frames, strict=True)]
                self.get_buffer(f"{kind}_{moment}").copy_(torch.cat(repeated))

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        inputs = torch.cat([self._checked(fields, name, count) for name, count in self.inputs.items()], dim=1)
        values = self.network((inputs - self.input_mean) / self.input_scale) * self.output_scale + self.output_mean
        parts = dict(zip(self.outputs, values.split(list(self.outputs.values()), dim=1), strict=True))
        return {name: fields[name][:, -part.shape[1] :] + part for name, part in parts.items()} if self.increment else parts

    def _field(self, fields: Fields, name: str) -> Tensor:
        if name not in fields:
            raise InputError(f"The operator needs the field {name!r}, but was given {', '.join(map(repr, fields)) or 'none'}.")
        return fields[name]

    def _checked(self, fields: Fields, name: str, count: int) -> Tensor:
        u = self._field(fields, name)
        if u.shape[1:] != (count, *self.grid.shape):
            shape = ", ".join(map(str, (count, *self.grid.shape)))
            raise InputError(f"Field {name!r} has shape {tuple(u.shape)}; expected (batch, {shape}).")
        return u


def _moments(u: Tensor, dim: int, differences: bool) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``(channel, 1, 1)`` over all axes but that of channels; of the changes from frame to frame of a trajectory."""
    if differences:
        u = u.diff(dim=1) if u.ndim == dim + 3 else u
    axes: Iterable[int] = [axis for axis in range(u.ndim) if axis != u.ndim - dim - 1]
    deviation, mean = torch.std_mean(u.double(), dim=tuple(axes), correction=0, keepdim=True)
    # What a constant channel deviates by is rounding, which is no scale.
    scale = torch.where(deviation > torch.finfo(torch.float32).eps * mean.abs(), deviation, 1)
    shape = (-1, *[1] * dim)
    return (torch.zeros_like(mean) if differences else mean).reshape(shape), scale.reshape(shape)
