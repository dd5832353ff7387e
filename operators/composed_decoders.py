"""Decoders made of decoders: one after the other where mathematics allows it, or side by side for several fields."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..errors import InputError
from .decoders import Decoder, DirichletDecoder
from .encoders import Fields
from .structured_decoders import IntegralDecoder


class ComposedDecoder(Decoder):
    """Several decoders, one after the other, where each keeps what those before it enforce.

    Boundary values after positivity (if they are nonnegative), an integral after boundary values (by a shift of the other dofs) or after
    positivity (by scaling), a curl after boundary values of its potential.

    Raises:
        InputError: a decoder would destroy a property that an earlier one enforces, or takes dofs of another space.
    """

    def __init__(self, decoders: Iterable[Decoder]):
        steps = list(decoders)
        if not steps:
            raise InputError("A ComposedDecoder needs at least one decoder.")
        super().__init__(steps[-1].space, steps[-1].field, steps[0].source)
        self.steps = nn.ModuleList(steps)
        for i, later in enumerate(steps):
            if i and later.source is not steps[i - 1].space:
                raise InputError(
                    f"{type(later).__name__} takes dofs of {later.source.name!r}, but {type(steps[i - 1]).__name__} gives those of "
                    f"{steps[i - 1].space.name!r}."
                )
            for earlier in steps[:i]:
                if earlier.enforces and earlier.enforces not in later.keeps:
                    raise InputError(
                        f"{type(later).__name__} after {type(earlier).__name__} would destroy the {earlier.enforces} of "
                        f"{earlier.field!r}. Change their order or their options, or do without one of them."
                    )
            if isinstance(later, IntegralDecoder) and not later.by_scaling:
                for earlier in steps[:i]:
                    if isinstance(earlier, DirichletDecoder):
                        later.hold(earlier.mask)

    def channel_scales(self, fields: Fields) -> Tensor:
        """Those of the step whose dofs are of another size than the output field, else of the one that leads into its space."""
        steps = [step for step in self.steps if isinstance(step, Decoder)]
        leads = [step for step in steps if step.of_other_size] + [step for step in steps if step.source is not step.space]
        return leads[0].channel_scales(fields) if leads else super().channel_scales(fields)

    def enforce(self, u: Tensor, fields: Fields) -> Tensor:
        for step in self.steps:
            assert isinstance(step, Decoder)
            u = step.enforce(u, fields)
        return u


class JointDecoder(Decoder):
    """Several output fields, each from channels of its own: a velocity and a pressure.

    Raises:
        InputError: two decoders give one field, or they take dofs at the nodes of different elements.
    """

    def __init__(self, decoders: Iterable[Decoder]):
        parts = list(decoders)
        nodes = {(id(part.source.mesh), part.source.element.family, part.source.element.degree) for part in parts}
        if len(nodes) != 1:
            raise InputError(
                "The decoders of a JointDecoder must take dofs at the nodes of one element; they take those of "
                + ", ".join(f"{part.source.name!r} ({part.source.element})" for part in parts)
                + ". Learn in one space, and reach the others by a TransferDecoder."
            )
        if len({part.field for part in parts}) < len(parts):
            raise InputError(f"The decoders give fields of one name: {', '.join(part.field for part in parts)}.")
        super().__init__(parts[0].space, ", ".join(part.field for part in parts), parts[0].source)
        self.parts = nn.ModuleList(parts)

    @property
    def num_channels(self) -> int:
        return sum(part.num_channels for part in self._decoders())

    def channel_scales(self, fields: Fields) -> Tensor:
        return torch.cat([part.channel_scales(fields) for part in self._decoders()])

    def forward(self, channels: Tensor, fields: Fields) -> dict[str, Tensor]:
        own = channels.split([part.num_channels for part in self._decoders()], dim=1)
        return {name: u for part, c in zip(self._decoders(), own, strict=True) for name, u in part(c, fields).items()}

    def _decoders(self) -> list[Decoder]:
        return [part for part in self.parts if isinstance(part, Decoder)]
