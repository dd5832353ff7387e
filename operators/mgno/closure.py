"""A learned correction of the coefficient on the cells of the finest level: what the grid does not resolve of it."""

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ...fem import SparseMatrix
from .elements import AXES, Elements


class CellFeatures(nn.Module):
    """Mean and slopes of features, and of their local averages, in each cell: ``(nodes, batch, c) -> (cells, batch, 2 (1 + dim) c)``.

    Slopes are derivatives along the axes times the cell's size.
    """

    def __init__(self, elements: Elements, dtype: torch.dtype):
        super().__init__()
        cells, k = elements.cell_nodes.shape
        dim = elements.points.shape[1]
        volume = elements.matrices["mass"].sum((1, 2))
        # Basis functions add up to one, so that Σ_i ∫ φ_i ∂φ_j is the integral of the derivative.
        slopes = [elements.matrices[f"d{axis}"].sum(1) * (volume ** (1 / dim - 1))[:, None] for axis in AXES[:dim]]
        weights = np.stack([np.full((cells, k), 1 / k), *slopes])
        where = np.arange((1 + dim) * cells).repeat(k), np.tile(elements.cell_nodes.ravel(), 1 + dim)
        matrix = scipy.sparse.csr_matrix((weights.ravel(), where), shape=((1 + dim) * cells, elements.num_nodes))
        self.parts, self.matrix = 1 + dim, SparseMatrix(matrix, dtype)
        averages = elements.assemble("mass")
        self.average = SparseMatrix(scipy.sparse.diags(1 / np.asarray(averages.sum(1)).ravel()) @ averages, dtype)

    def forward(self, v: Tensor) -> Tensor:
        v = torch.cat([v, self.average.on_nodes(v)], dim=-1)
        return torch.cat(self.matrix.on_nodes(v).chunk(self.parts), dim=-1)


class Closure(nn.Module):
    """Factors exp(s) of the coefficient for each cell and direction, with s a network of one hidden layer of the inputs near the cell.

    ``forward(v (nodes, batch, in_channels), features) -> (cells, batch, dim)``. Untrained it is one. The operator stays symmetric and
    elliptic whatever the weights are.
    """

    def __init__(self, in_channels: int, hidden: int, dim: int):
        super().__init__()
        self.hidden = nn.Linear(2 * (1 + dim) * in_channels, hidden)
        self.out = nn.Linear(hidden, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, v: Tensor, features: CellFeatures) -> Tensor:
        return self.out(nn.functional.gelu(self.hidden(features(v)))).exp()
