"""The error in units of a field's own variation, by which data sets of different physics are compared."""

import torch
from torch import Tensor

from ...errors import InputError
from ...fem import Space
from ...fem.uniform_grid import Grid
from .metric import FieldMetric, Fields, over_frames


class VRMSE(FieldMetric):
    """√(⟨|u − v|²⟩ / (⟨|v − ⟨v⟩|²⟩ + ε)) with the mean ⟨·⟩ over the domain, for each component and frame, and their mean.

    The metric of The Well (Ohana et al., NeurIPS 2024, arXiv 2412.00568, appendix on metrics, ε = 1e-7): predicting the mean of each
    field gives 1. On finite-element spaces ⟨·⟩ is the exact mean over the domain, on grids that over the points.

    Args:
        space: nodal elements, or the grid.
        field: its name.

    Raises:
        InputError: components of the space's functions have no dofs of their own.
    """

    weights: Tensor

    def __init__(self, space: Space | Grid, field: str, epsilon: float = 1e-7):
        super().__init__(field)
        self.space, self.epsilon = space, epsilon
        if isinstance(space, Space):
            if not space.element.is_nodal:
                raise InputError(
                    f"The components of {space.name!r} ({space.element}) have no dofs of their own. Use RelativeNorm, or transfer "
                    "the field to a Lagrange space."
                )
            ones = torch.ones(space.num_dofs, dtype=space.mass.val.dtype, device=space.mass.val.device)
            self.register_buffer("weights", space.mass(ones), persistent=False)

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u, v = self.pair(prediction, truth)
        mean = self._grid_mean if isinstance(self.space, Grid) else self._exact_mean
        error, variance = mean(u - v, centred=False), mean(v, centred=True)
        return over_frames((error / (variance + self.epsilon)).sqrt())

    def _grid_mean(self, u: Tensor, centred: bool) -> Tensor:
        """⟨|u|²⟩ of each channel and frame, after subtracting ⟨u⟩ if ``centred``."""
        assert isinstance(self.space, Grid)
        self.space.check(u)
        u = u.flatten(-self.space.dim)
        return u.var(-1, correction=0) if centred else u.square().mean(-1)

    def _exact_mean(self, u: Tensor, centred: bool) -> Tensor:
        """The same for finite-element fields, ``(..., dofs) -> (..., components)``."""
        assert isinstance(self.space, Space)
        blocks = (self.space.num_nodes, self.space.element.block_size)
        volume = self.weights.unflatten(-1, blocks).sum(0)
        if centred:
            means = (u * self.weights).unflatten(-1, blocks).sum(-2) / volume
            u = (u.unflatten(-1, blocks) - means.unsqueeze(-2)).flatten(-2)
        return (u * self.space.mass(u)).unflatten(-1, blocks).sum(-2) / volume
