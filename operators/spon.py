"""SPON, structure-preserving operator networks (Bouziani and Boullé, arXiv 2410.01065): D ∘ P_θ ∘ E, with only P_θ trained."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fem import Space
from ..fem.full_precision import full_precision
from .decoders import Decoder
from .encoders import Encoder, Fields, require_named
from .operator import Operator, Samples

#: Frames that are encoded at once for their scales: encoders may need far more memory than the fields.
_AT_ONCE = 64


class ChannelSquares(NamedTuple):
    """Mean squares of a processor's channels ``(channels, 1)`` over some samples, and the number of these."""

    samples: int
    inputs: Tensor
    outputs: Tensor


class SPON(Operator):
    """Encode fields into finite-element dofs, process the dofs, decode into a space whose functions have the wanted structure.

    ``forward(fields) -> fields``: dictionaries of tensors ``(batch, dofs)`` in physical units and the precision of the operator.

    Args:
        encoder: input fields to channels in one space.
        processor: a network ``(batch, encoder.num_channels, nodes) -> (batch, decoder.num_channels, nodes)``; one that ``sees_fields``
            is also passed the input fields, such as a coefficient in every cell.
        decoder: channels to output fields; what it enforces holds exactly, trained or not.

    The fields' scales (see :meth:`set_scales`) are part of the operator and stored with its weights. Scaling is linear and without a
    shift, so that homogeneous conditions and linearity survive it. In mixed precision only the processor is in the lower one: what
    encoders know and decoders enforce holds in that of their matrices.

    Raises:
        InputError: the processor's channels are not those of encoder and decoder.
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
        """Take the root mean square of each channel over the domain and sample fields, inputs and outputs, ``(samples, dofs)``.

        Squares are integrated exactly, by mass matrices (:func:`~thalweg.fem.averages.mean_squares`), so that a finer part of the mesh does
        not count more. Trajectories, ``(samples, time, dofs)``, count by their frames. Components of one vector field share a scale, so
        that rotations of the frame commute with it. Nothing is scaled for a processor that is ``in_physical_units``.
        """
        require_named(fields)
        samples = len(next(iter(fields.values())))
        at_once = max(1, _AT_ONCE // max((fields[name].shape[1] for name in self._moving(fields)), default=1))
        rows = (slice(first, first + at_once) for first in range(0, samples, at_once))
        self.keep_scales(self.channel_squares({name: values[part] for name, values in fields.items()}) for part in rows)

    @torch.no_grad()
    def set_scales_from(self, dataset: Samples) -> None:
        """As :meth:`set_scales`, from all samples of a data set, in one pass over its batches."""
        self.keep_scales(map(self.channel_squares, batches_for_scales(dataset)))

    def channel_squares(self, fields: Fields) -> ChannelSquares:
        """The mean squares of sample fields' channels, inputs and outputs."""
        inputs = self.encoder.channel_squares(self._instants(fields)).mean(0)
        outputs = self.decoder.channel_scales(fields).double().square()
        return ChannelSquares(len(next(iter(fields.values()))), inputs[:, None], outputs)

    def keep_scales(self, parts: Iterable[ChannelSquares]) -> None:
        """Scale by the mean squares of several parts together."""
        if getattr(self.processor, "in_physical_units", False):
            return
        count, inputs, outputs = 0, torch.zeros_like(self.input_scale).double(), torch.zeros_like(self.output_scale).double()
        for part in parts:
            count += part.samples
            inputs += (part.inputs - inputs) * (part.samples / count)
            outputs += (part.outputs - outputs) * (part.samples / count)
        for scale, squares in ((self.input_scale, inputs), (self.output_scale, outputs)):
            scale.copy_(torch.where(squares > 0, squares, 1).sqrt())

    def _instants(self, fields: Fields) -> Fields:
        """Every frame of trajectories as a sample of its own, with the constant fields of its trajectory."""
        moving = self._moving(fields)
        if not moving:
            return fields
        frames = max(fields[name].shape[1] for name in moving)
        return {
            name: (values if name in moving else values.unsqueeze(1).expand(-1, frames, *values.shape[1:])).flatten(0, 1)
            for name, values in fields.items()
        }

    def _moving(self, fields: Fields) -> set[str]:
        """The fields that are trajectories."""
        sizes = {space.num_dofs for space in self.modules() if isinstance(space, Space)}
        return {name for name, values in fields.items() if values.ndim == 3 and values.shape[-1] in sizes}

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        require_named(fields)
        with full_precision(self.input_scale):
            channels = self.encoder(fields) / self.input_scale
        if channels.dtype != self.input_scale.dtype:
            raise InputError(
                f"The fields are of {channels.dtype}, the operator of {self.input_scale.dtype}. Convert them by "
                f".to({self.input_scale.dtype}), or the operator by .to({channels.dtype})."
            )
        hidden = self.processor(channels, fields) if getattr(self.processor, "sees_fields", False) else self.processor(channels)
        with full_precision(self.output_scale):
            return self.decoder(hidden * self.output_scale, fields)


def batches_for_scales(dataset: Samples) -> Iterable[Fields]:
    """All samples of a data set, as many at once as are encoded at once."""
    frames = 1 if dataset.times is None else len(dataset.times)
    return dataset.batches(dataset.orders(max(1, _AT_ONCE // frames)))
