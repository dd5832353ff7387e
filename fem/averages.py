"""Averages of functions over the domain, exact by mass matrices: a part of the mesh counts by its volume, not by its dofs."""

import torch
from torch import Tensor, nn

from ..errors import InputError
from .space import Space


def constants(space: Space) -> Tensor | None:
    """The dofs of the constant function of each component, ``(components, dofs)``; None where they cannot be told from values at points."""
    shape, size = space.element.value_shape, space.element.value_size

    def constant(unit: Tensor) -> Tensor:
        return space.interpolate(lambda x: unit.reshape(shape).to(x).expand(len(x), *shape))

    try:
        return torch.stack([constant(unit) for unit in torch.eye(size, dtype=torch.float64)])
    except InputError:
        return None


def mean_squares(space: Space, channels: Tensor) -> Tensor:
    """``∫ u² dx / |Ω|`` of each channel ``(batch, channels, nodes)``, in the units of the space's dofs: ``(batch, channels)`` in float64.

    A channel of a Lagrange space, or of a vector of such, is the function with these values at the nodes. Of another space it is
    ``∫ |u|² dx / (|Ω| components)``, times the mean square of the dofs that functions of components one have: where dofs are fluxes through
    facets, that of the facets' sizes. In a space without constants every dof counts the same.
    """
    u, size = channels.double(), space.element.block_size
    ones = constants(space)
    if ones is None:
        return u.square().mean(-1)
    ones = ones.to(u)
    vectors = nn.functional.pad(u, (0, 0, 0, -u.shape[1] % size)).unflatten(1, (-1, size)).transpose(2, 3).flatten(2)
    squares = (space.mass(vectors) * vectors).unflatten(-1, (-1, size)).sum(-2).flatten(1)[:, : u.shape[1]]
    of_ones = (space.mass(ones) * ones).sum() / size
    return squares / of_ones * (ones.square().sum() / space.num_dofs)


def root_mean_square(space: Space, u: Tensor) -> Tensor:
    """The root of the mean square of all fields ``(..., dofs)`` and components, in the units of the dofs (:func:`mean_squares`)."""
    channels = u.reshape(-1, space.num_nodes, space.element.block_size).transpose(1, 2)
    return mean_squares(space, channels).mean().sqrt()
