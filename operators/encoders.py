"""Encoders: from named input fields to the channels that a processor works on, in one finite-element space."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space, SparseMatrix
from ..fem.space import WHOLE_BOUNDARY

Fields = Mapping[str, Tensor]


class Encoder(nn.Module):
    """Base of all encoders: ``forward(fields) -> (batch, num_channels, nodes of space)``."""

    space: Space
    num_channels: int

    def forward(self, fields: Fields) -> Tensor:
        raise NotImplementedError

    def field(self, fields: Fields, name: str) -> Tensor:
        """One input field, or an error that lists what came."""
        if name not in fields:
            raise InputError(f"The operator needs the field {name!r}, but was given {', '.join(map(repr, fields)) or 'none'}.")
        return fields[name]


class InterpolationEncoder(Encoder):
    """Fields as their own dofs in ``space``; those of another space are interpolated by the given transfer.

    A field with ``block_size`` components gives as many channels.

    Args:
        space: the processor's space.
        fields: for each field name, its transfer into ``space``, or None where it lives there already.
    """

    def __init__(self, space: Space, fields: Mapping[str, SparseMatrix | None]):
        super().__init__()
        self.space = space
        self.names = tuple(fields)
        self.transfers = nn.ModuleDict({name: P for name, P in fields.items() if P is not None})
        self.num_channels = len(fields) * space.element.block_size

    def forward(self, fields: Fields) -> Tensor:
        return torch.cat([self._channels(name, self.field(fields, name)) for name in self.names], dim=1)

    def _channels(self, name: str, u: Tensor) -> Tensor:
        if name in self.transfers:
            u = self.transfers[name](u)
        if u.ndim != 2 or u.shape[-1] != self.space.num_dofs:
            raise InputError(
                f"Field {name!r} has shape {tuple(u.shape)}; expected (batch, {self.space.num_dofs}), the dofs of space "
                f"{self.space.name!r}."
            )
        return u.unflatten(-1, (self.space.num_nodes, -1)).transpose(1, 2)


class TraceEncoder(Encoder):
    """Boundary values of one field: its dofs on the tagged boundary, zero elsewhere, so that other dofs cannot matter."""

    mask: Tensor

    def __init__(self, space: Space, field: str, tags: str | Iterable[str] = WHOLE_BOUNDARY):
        super().__init__()
        self.space, self.name = space, field
        self.num_channels = space.element.block_size
        mask = torch.zeros(space.num_dofs, dtype=torch.bool)
        mask[space.boundary_dofs(tags).cpu()] = True
        self.register_buffer("mask", mask, persistent=False)
        self._plain = InterpolationEncoder(space, {field: None})

    def forward(self, fields: Fields) -> Tensor:
        trace = torch.where(self.mask, self.field(fields, self.name), 0)
        return self._plain({self.name: trace})


class JointEncoder(Encoder):
    """The channels of several encoders of one space, one after the other."""

    def __init__(self, encoders: Sequence[Encoder]):
        super().__init__()
        if len({id(encoder.space) for encoder in encoders}) != 1:
            raise InputError(
                "The encoders of a JointEncoder must share one space; they have "
                + ", ".join(repr(encoder.space.name) for encoder in encoders)
                + "."
            )
        self.encoders = nn.ModuleList(encoders)
        self.space = encoders[0].space
        self.num_channels = sum(encoder.num_channels for encoder in encoders)

    def forward(self, fields: Fields) -> Tensor:
        return torch.cat([encoder(fields) for encoder in self.encoders], dim=1)
