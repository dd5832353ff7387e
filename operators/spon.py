"""SPON, structure-preserving operator networks (Bouziani and Boullé, arXiv 2410.01065): D ∘ P_θ ∘ E, with only P_θ trained."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space
from .decoders import Decoder
from .encoders import Encoder, Fields
from .operator import Operator


class SPON(Operator):
    """Encode fields into finite-element dofs, process the dofs, decode into a space whose functions have the wanted structure.

    ``forward(fields) -> fields``: dictionaries of tensors ``(batch, dofs)`` in physical units.

    Args:
        encoder: input fields to channels in one space.
        processor: a network ``(batch, encoder.num_channels, nodes) -> (batch, decoder.num_channels, nodes)``.
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
        of the frame commute with it.
        """
        fields = self._instants(fields)
        channels = self.encoder(fields)
        self.input_scale.copy_(_root_mean_square(channels, dim=(0, 2)))
        self.output_scale.copy_(self.decoder.channel_scales(fields))

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
        hidden = self.processor(self.encoder(fields) / self.input_scale)
        return self.decoder(hidden * self.output_scale, fields)


def _root_mean_square(values: Tensor, dim: Iterable[int]) -> Tensor:
    scale = values.double().square().mean(tuple(dim)).sqrt().reshape(-1, 1)
    return torch.where(scale > 0, scale, torch.ones_like(scale))
