"""Grid networks on finite-element meshes: fields are evaluated at the points of a grid, and what comes out is interpolated back."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem import Space, SparseMatrix, grid_evaluation, grid_interpolation


class OnGrid(nn.Module):
    """A processor ``(batch, in_channels, nodes) -> (batch, out_channels, nodes)`` made of a network on a uniform grid.

    Inside the domain the grid's values are those of the finite-element functions; outside they are those of the nearest node. A last
    channel is one inside the domain and zero outside. The network's output is taken as a piecewise multilinear function and interpolated
    at the nodes.

    Args:
        space: scalar Lagrange elements, of the encoder and the decoder.
        shape: points of the grid along each axis of the mesh's bounding box.
        network: ``(batch, in_channels + 1, x, y) -> (batch, out_channels, x, y)``, such as :class:`FNO`.

    Raises:
        InputError: the space is not scalar.
    """

    mask: Tensor

    def __init__(self, space: Space, shape: Sequence[int], network: nn.Module):
        super().__init__()
        if space.element.value_shape:
            raise InputError(
                f"The channels of OnGrid are scalar fields, but {space.name!r} has values of shape {space.element.value_shape}. Pass the "
                "scalar space with the same nodes."
            )
        self.network, self.shape = network, tuple(shape)
        self.in_channels = int(getattr(network, "in_channels", 0)) - 1
        self.out_channels = getattr(network, "out_channels", None)
        self.evaluate, inside = grid_evaluation(space, shape)
        self.interpolate: SparseMatrix = grid_interpolation(space, shape)
        self.register_buffer("mask", inside.to(torch.float32)[None, None], persistent=False)

    def forward(self, channels: Tensor) -> Tensor:
        u = self.evaluate(channels).unflatten(2, self.shape)
        mask = self.mask.to(u.dtype).expand(u.shape[0], -1, *self.shape)
        return self.interpolate(self.network(torch.cat([u, mask], dim=1)).flatten(2))
