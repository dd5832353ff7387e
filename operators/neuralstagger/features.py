"""What networks are told of a flow besides its state: the part that all such networks have in common."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...errors import InputError


class WithFeatures(nn.Module):
    """A network that is given, as further channels, :meth:`features` of the flow that the first channels describe.

    ``(batch, in_channels, x, y[, z]) -> (batch, out_channels, x, y[, z])``. Features have no weights, so that they can be taken of
    another field than the network's own: of all sub-grids together, see ``exchange`` of :class:`NeuralStagger`.

    Args:
        network: from ``in_channels`` and ``out_channels`` to a network.
        in_channels, out_channels: of the fields.
        dim: axes of the fields.
        described_by: first channels, which the features are taken of.
        features: channels that the network gets besides.

    Raises:
        InputError: in ``forward``, fields with other axes.
    """

    def __init__(
        self, network: Callable[..., nn.Module], in_channels: int, out_channels: int, dim: int, described_by: int, features: int
    ):
        super().__init__()
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.described_by, self.num_features = described_by, features
        self.network = network(in_channels=in_channels + features, out_channels=out_channels)

    def forward(self, u: Tensor) -> Tensor:
        if u.dim() != self.dim + 2:
            raise InputError(
                f"{type(self).__name__} takes fields (batch, channel, {', '.join('xyz'[: self.dim])}), not {tuple(u.shape)}."
            )
        return self.network(torch.cat([u, self.features(u[:, : self.described_by])], 1))

    def features(self, u: Tensor, /) -> Tensor:
        """Of the channels that describe the flow, ``(batch, described_by, x, y[, z])``, the further channels on the same points."""
        raise NotImplementedError
