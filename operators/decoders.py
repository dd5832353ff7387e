"""Decoders: from a processor's channels to output fields that have their structure exactly."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space
from ..fem.space import WHOLE_BOUNDARY
from .encoders import Fields


class Decoder(nn.Module):
    """Base of all decoders: ``forward(channels (batch, num_channels, nodes), fields) -> {field: (batch, dofs)}``."""

    space: Space
    field: str
    num_channels: int

    def forward(self, channels: Tensor, fields: Fields) -> dict[str, Tensor]:
        raise NotImplementedError

    def dofs(self, channels: Tensor) -> Tensor:
        """Channels ``(batch, components, nodes)`` as dofs ``(batch, nodes * components)``."""
        return channels.transpose(1, 2).flatten(1)


class PlainDecoder(Decoder):
    """The channels are the dofs."""

    def __init__(self, space: Space, field: str):
        super().__init__()
        self.space, self.field, self.num_channels = space, field, space.element.block_size

    def forward(self, channels: Tensor, fields: Fields) -> dict[str, Tensor]:
        return {self.field: self.dofs(channels)}


class DirichletDecoder(Decoder):
    """Prescribed boundary values by dof elimination: tagged dofs are the data's, bit for bit, the others are learned.

    Args:
        space: the output's space.
        field: name of the output field.
        data: name of the input field that carries the boundary values, or a number.
        tags: the boundary parts with prescribed values.
    """

    mask: Tensor

    def __init__(self, space: Space, field: str, data: str | float = 0.0, tags: str | Iterable[str] = WHOLE_BOUNDARY):
        super().__init__()
        self.space, self.field, self.data = space, field, data
        self.num_channels = space.element.block_size
        mask = torch.zeros(space.num_dofs, dtype=torch.bool)
        mask[space.boundary_dofs(tags).cpu()] = True
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, channels: Tensor, fields: Fields) -> dict[str, Tensor]:
        learned = self.dofs(channels)
        if not isinstance(self.data, str):
            return {self.field: torch.where(self.mask, torch.as_tensor(self.data).to(learned), learned)}
        if self.data not in fields:
            raise InputError(
                f"The boundary values of {self.field!r} are the field {self.data!r}, but the operator was given "
                f"{', '.join(map(repr, fields)) or 'none'}."
            )
        return {self.field: torch.where(self.mask, fields[self.data], learned)}
