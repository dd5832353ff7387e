"""Encoders of what the data determine by themselves: local averages, the least conservative flux, potentials."""

from collections import ChainMap
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from ..errors import InputError
from ..fem import RieszMap, Space, SparseMatrix
from .decoders import Decoder
from .encoders import Encoder, Fields, FieldwiseEncoder


class AverageEncoder(FieldwiseEncoder):
    """Local averages ``∫ f^p φ_i / ∫ φ_i`` of fields that may jump (Clément, RAIRO Anal. Numér. 9, 1975): within the bounds of f^p.

    Args:
        space: the processor's space, scalar Lagrange elements of degree 1, whose basis functions are weights.
        fields: for each field name, the products of its space, of nodal elements, with ``space`` (see :meth:`Discretization.product`).
        power: p, of the field's dofs; −1 for the resistance that belongs to a conductivity, 0 for the logarithm. Fields must be positive
            then.

    Raises:
        InputError: the space is not of scalar Lagrange elements of degree 1.
    """

    weights: Tensor

    def __init__(self, space: Space, fields: Mapping[str, SparseMatrix], power: float = 1.0):
        super().__init__(space, fields)
        if space.element.degree != 1 or not space.element.is_nodal or space.element.value_shape:
            raise InputError(
                f"The basis functions of {space.name!r} ({space.element}) are no weights of an average; use scalar Lagrange elements of "
                "degree 1."
            )
        self.power = power
        self.products = torch.nn.ModuleDict(fields)
        self.register_buffer("weights", 1 / space.mass(torch.ones(space.num_dofs).to(space.mass.val)), persistent=False)

    def encode(self, name: str, u: Tensor) -> Tensor:
        power = u if self.power == 1 else u.log() if self.power == 0 else u**self.power
        return self.weights * self.products[name](power)


class StartEncoder(Encoder):
    """An encoder that is also given the field which a decoder makes of zero: what structure and input data alone determine.

    With a :class:`ConservationDecoder` it is the least flux that conserves mass, and what that leaves of the equation is the input.

    Args:
        decoder: the field goes by the name of this decoder's.
        encoder: gives the channels.
    """

    def __init__(self, decoder: Decoder, encoder: Encoder):
        super().__init__()
        self.decoder, self.encoder = decoder, encoder
        self.space, self.num_channels = encoder.space, encoder.num_channels

    def forward(self, fields: Fields) -> Tensor:
        return self.encoder(self._started(fields))

    def channel_squares(self, fields: Fields) -> Tensor:
        return self.encoder.channel_squares(self._started(fields))

    def _started(self, fields: Fields) -> Fields:
        like = next(iter(fields.values()))
        start = self.decoder.enforce(like.new_zeros(like.shape[0], self.decoder.source.num_dofs), fields)
        return ChainMap({self.decoder.field: start}, cast(dict[str, Tensor], fields))


class PotentialEncoder(Encoder):
    """The channels c of another encoder as potentials: −Δ⁻¹c, Δ⁻²c, ..., to which they are smooth parts of a solution.

    The stream function of a creeping flow that slips along its walls is −Δ⁻² of the force's rotation; what is left to be learned comes
    from the walls.

    Args:
        encoder: gives the channels, in scalar elements.
        riesz: its space's ``(−Δ)⁻¹``, a :class:`RieszMap` of the stiffness matrix.
        times: how often it is applied, each time with a channel.
    """

    def __init__(self, encoder: Encoder, riesz: RieszMap, times: int = 2):
        super().__init__()
        self.encoder, self.riesz, self.mass, self.times = encoder, riesz, encoder.space.mass, times
        self.space, self.num_channels = encoder.space, times * encoder.num_channels

    def forward(self, fields: Fields) -> Tensor:
        potentials = [self.encoder(fields)]
        for _ in range(self.times):
            potentials.append(self.riesz(self.mass(potentials[-1])))
        return torch.cat(potentials[1:], dim=1)
