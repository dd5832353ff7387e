"""What the sub-grids of a time sequence tell each other in a step, where they are too coarse to know it by themselves."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ...errors import InputError
from .features import WithFeatures

#: What lies beyond the ends of the grid: the first values again, or the last value.
Ends = Literal["periodic", "replicate"]


class Exchange(nn.Module):
    """What networks on sub-grids are told of re-assembled fields before a step, and how what they answer makes the change of these.

    ``(batch, in_channels, x, y[, z]) -> (batch, channels, x, y[, z])``. They are told the features of the re-assembled state, see
    :class:`WithFeatures`, and h = σ(C₁ [u, features]), where the convolution C₁ sees the 3 nearest points of the full grid along each
    axis, of the inputs, too, such as obstacles that are small on a sub-grid. They answer v with as many channels as h, and
    the change is C₂ [v, h], by another such convolution, which smooths what neighbouring points of different sub-grids do not agree on. It
    begins at zero where v does.

    Args:
        features: whose features these are; its network is not used.
        ends: of the axes.
        mixing: channels of h and v; a good value is the width of the networks or half of it.

    Raises:
        InputError: a network without features, unknown ends, no channels.
    """

    def __init__(self, features: nn.Module, ends: Ends, mixing: int = 16):
        super().__init__()
        if not isinstance(features, WithFeatures):
            raise InputError(
                "Sub-grids exchange the features of a network such as WithDerivatives, WithTransport or WithLambVector; "
                f"{type(features).__name__} has none."
            )
        if ends not in get_args(Ends) or mixing < 1:
            raise InputError(
                f"The ends of a grid are {' or '.join(get_args(Ends))}, and there is a channel or more to mix; got {ends!r} and {mixing}."
            )
        features.network = nn.Identity()
        self.features, self.mixing = features, mixing
        #: Channels that networks are told.
        self.channels = features.num_features + mixing
        convolution, mode = getattr(nn, f"Conv{features.dim}d"), {"periodic": "circular", "replicate": "replicate"}[ends]
        self.before = convolution(features.in_channels + features.num_features, mixing, 3, padding=1, padding_mode=mode)
        self.after = convolution(2 * mixing, features.out_channels, 3, padding=1, padding_mode=mode)
        nn.init.zeros_(self.after.weight[:, mixing:])
        nn.init.zeros_(self.after.bias)

    def forward(self, u: Tensor) -> Tensor:
        features = self.features.features(u[:, : self.features.described_by])
        return torch.cat([features, nn.functional.gelu(self.before(torch.cat([u, features], 1)))], 1)

    def change(self, answers: Tensor, told: Tensor) -> Tensor:
        """``(batch, out_channels, x, y[, z])``, of re-assembled answers ``(batch, mixing, x, y[, z])`` and what the networks were told."""
        return self.after(torch.cat([answers, told[:, -self.mixing :]], 1))

    def inner(self, network: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        """What makes networks that are given all this, from what makes networks with features of their own."""

        def made(in_channels: int, out_channels: int) -> nn.Module:
            whole = network(in_channels=in_channels - self.features.num_features, out_channels=out_channels)
            assert isinstance(whole, WithFeatures)
            return whole.network

        return made
