"""A decoder of departures from a field that is given: from a base flow, or from the last state in a step of time."""

from torch import Tensor

from .decoders import Decoder
from .encoders import Fields


class DepartureDecoder(Decoder):
    """An input field plus what another decoder makes, which is scaled by the size of the departures in the data.

    The sum has the boundary values of both: with a :class:`DirichletDecoder` whose data are those of the departure, they are exact.

    Args:
        decoder: makes the departure.
        base: name of the input field it is added to, of the output's space.
    """

    def __init__(self, decoder: Decoder, base: str):
        super().__init__(decoder.space, decoder.field, decoder.source)
        self.decoder, self.base = decoder, base

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        return self.data(fields, self.base, "base values") + self.decoder.enforce(u, fields)

    def channel_scales(self, fields: Fields) -> Tensor:
        return self.decoder.channel_scales({**fields, self.field: fields[self.field] - fields[self.base]})
