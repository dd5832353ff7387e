"""What the sub-grids of a time sequence tell each other before a step, where they are too coarse to know it by themselves."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ...errors import InputError
from .features import WithFeatures

#: What lies beyond the ends of the grid: the first values again, or the last value.
Ends = Literal["periodic", "replicate"]


class Exchange(nn.Module):
    """Features of re-assembled fields, and how state and features differ from those of the nearest points of the full grid.

    ``(batch, described_by, x, y[, z]) -> (batch, channels, x, y[, z])``, see :class:`WithFeatures`: differences forwards and backwards
    along every axis, so that networks on sub-grids see the stencils of the full grid at their own points.

    Args:
        features: whose features these are; its network is not used.
        ends: of the axes.

    Raises:
        InputError: a network without features, unknown ends.
    """

    def __init__(self, features: nn.Module, ends: Ends):
        super().__init__()
        if not isinstance(features, WithFeatures):
            raise InputError(
                "Sub-grids exchange the features of a network such as WithDerivatives, WithTransport or WithLambVector; "
                f"{type(features).__name__} has none."
            )
        if ends not in get_args(Ends):
            raise InputError(f"The ends of a grid are {' or '.join(get_args(Ends))}, not {ends!r}.")
        features.network = nn.Identity()
        self.features, self.ends = features, ends
        self.described_by, self.dim = features.described_by, features.dim
        self.channels = features.num_features + 2 * self.dim * (features.described_by + features.num_features)

    def forward(self, u: Tensor) -> Tensor:
        features = self.features.features(u)
        seen = torch.cat([u, features], 1)
        return torch.cat([features, *(d for axis in range(-self.dim, 0) for d in self._differences(seen, axis))], 1)

    def inner(self, network: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        """What makes networks that are given all this, from what makes networks with features of their own."""

        def made(in_channels: int, out_channels: int) -> nn.Module:
            whole = network(in_channels=in_channels - self.features.num_features, out_channels=out_channels)
            assert isinstance(whole, WithFeatures)
            return whole.network

        return made

    def _differences(self, u: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        if self.ends == "periodic":
            return u.roll(-1, axis) - u, u.roll(1, axis) - u
        steps, none = u.diff(dim=axis), torch.zeros_like(u.narrow(axis, 0, 1))
        return torch.cat([steps, none], axis), -torch.cat([none, steps], axis)
