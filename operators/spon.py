"""SPON, structure-preserving operator networks (Bouziani and Boullé, arXiv 2410.01065): D ∘ P_θ ∘ E, with only P_θ trained."""

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space
from .decoders import Decoder
from .encoders import Encoder, Fields
from .operator import Operator

#: Samples that are encoded at once for their scales.
_AT_ONCE = 64


class SPON(Operator):
    """Encode fields into finite-element dofs, process the dofs, decode into a space whose functions have the wanted structure.

    ``forward(fields) -> fields``: dictionaries of tensors ``(batch, dofs)`` in physical units.

    Args:
        encoder: input fields to channels in one space.
        processor: a network ``(batch, encoder.num_channels, nodes) -> (batch, decoder.num_channels, nodes)``; one that ``sees_fields``
            is also passed the input fields, such as a coefficient in every cell.
        decoder: channels to output fields; what it enforces holds exactly, trained or not.

    The fields' scales (see :meth:`set_scales`) are part of the operator and stored with its weights. Scaling is linear and without a
    shift, so that homogeneous conditions and linearity survive it.
    """

    def __init__(self, encoder: Encoder, processor: nn.Module, decoder: Decoder):
        super().__init__()
        expected = (encoder.num_channels, decoder.num_channels)
        actual = (getattr(processor, "in_channels", None), getattr(processor, "out_channels", None))
        if actual != expected:
            raise InputError(
                f"The processor maps {actual[0]} channels to {actual[1]}, but the encoder gives {expected[0]} and the decoder "
                f"takes {expected[1]}."
            )
        self.encoder, self.processor, self.decoder = encoder, processor, decoder
        self.register_buffer("input_scale", torch.ones(encoder.num_channels, 1))
        self.register_buffer("output_scale", torch.ones(decoder.num_channels, 1))

    input_scale: Tensor
    output_scale: Tensor

    @torch.no_grad()
    def set_scales(self, fields: Fields) -> None:
        """Take the root mean square of each channel from sample fields, inputs and outputs, ``(samples, dofs)``.

        Trajectories, ``(samples, time, dofs)``, count by their frames. Components of one vector field share a scale, so that rotations
        of the frame commute with it. Nothing is scaled for a processor that is ``in_physical_units``.
        """
        if getattr(self.processor, "in_physical_units", False):
            return
        self.input_scale.copy_(self._input_scales(self._instants(fields)))
        self.output_scale.copy_(self.decoder.channel_scales(fields))

    def _input_scales(self, fields: Fields) -> Tensor:
        """The root mean square of each channel, in batches: encoders may need far more memory than the fields."""
        samples = len(next(iter(fields.values())))
        total, count = torch.zeros(self.encoder.num_channels, 1, dtype=torch.float64), 0
        for start in range(0, samples, _AT_ONCE):
            channels = self.encoder({name: values[start : start + _AT_ONCE] for name, values in fields.items()}).double()
            total += channels.square().sum((0, 2)).reshape(-1, 1).cpu()
            count += channels.shape[0] * channels.shape[2]
        scale = (total / count).sqrt()
        return torch.where(scale > 0, scale, torch.ones_like(scale))

    def _instants(self, fields: Fields) -> Fields:
        """Every frame of trajectories as a sample of its own, with the constant fields of its trajectory."""
        sizes = {space.num_dofs for space in self.modules() if isinstance(space, Space)}
        moving = {name for name, values in fields.items() if values.ndim == 3 and values.shape[-1] in sizes}
        if not moving:
            return fields
        frames = max(fields[name].shape[1] for name in moving)
        return {
            name: (values if name in moving else values.unsqueeze(1).expand(-1, frames, *values.shape[1:])).flatten(0, 1)
            for name, values in fields.items()
        }

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        channels = self.encoder(fields) / self.input_scale
        hidden = self.processor(channels, fields) if getattr(self.processor, "sees_fields", False) else self.processor(channels)
        return self.decoder(hidden * self.output_scale, fields)
