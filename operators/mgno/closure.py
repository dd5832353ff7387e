"""A learned correction of the coefficient on the cells of the finest level: what the grid does not resolve of it."""

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ...fem import SparseMatrix
from .elements import Elements

#: Bound of |log t_i|, so that large inputs make no entry overflow; no unresolved coefficient of moderate contrast comes near it.
MAX_LOGARITHM = 3.0


class CellFeatures(nn.Module):
    """Mean and slopes of features, and of their local averages, in each cell: ``(nodes, batch, c) -> (cells, batch, 2 (1 + dim) c)``.

    Slopes are derivatives along the axes times the cell's size.
    """

    def __init__(self, elements: Elements, dtype: torch.dtype):
        super().__init__()
        cells, k = elements.cell_nodes.shape
        dim = elements.points.shape[1]
        slopes = elements.slopes() * elements.volumes[:, None] ** (1 / dim)
        weights = np.concatenate([np.full((1, cells, k), 1 / k), slopes])
        where = np.arange((1 + dim) * cells).repeat(k), np.tile(elements.cell_nodes.ravel(), 1 + dim)
        matrix = scipy.sparse.csr_matrix((weights.ravel(), where), shape=((1 + dim) * cells, elements.num_nodes))
        self.parts, self.matrix = 1 + dim, SparseMatrix(matrix, dtype)
        averages = elements.assemble("mass")
        self.average = SparseMatrix(scipy.sparse.diags(1 / np.asarray(averages.sum(1)).ravel()) @ averages, dtype)

    def forward(self, v: Tensor) -> Tensor:
        v = torch.cat([v, self.average.on_nodes(v)], dim=-1)
        return torch.cat(self.matrix.on_nodes(v).chunk(self.parts), dim=-1)


class Closure(nn.Module):
    """Symmetric tensors T on the cells, by which the coefficient is multiplied, from a network of one hidden layer of the inputs nearby.

    ``forward(v (nodes, batch, in_channels), features) -> (cells, batch, entries)``, the diagonal t_i = exp(s_i) first, |s_i| < 3, then
    t_ij = tanh(s_ij) √(t_i t_j) / (dim − 1). A coefficient that jumps within a cell acts on averages as a tensor does; one that does not
    vary is known. So s = w s' with s' of the network and the contrast w = c / (1 + c), c the square of how much the inputs vary in the
    cell and around it: T is the identity where they are constant, and tends to it as the square of the spacing where they are smooth. The
    operator of a resolved coefficient is left as it is, at every resolution.

    Untrained T is the identity; it is positive definite whatever the weights are, so that the operator stays symmetric and elliptic.
    """

    def __init__(self, in_channels: int, hidden: int, dim: int):
        super().__init__()
        self.pairs = [(i, j) for i in range(dim) for j in range(i + 1, dim)]
        self.dim = dim
        self.hidden = nn.Linear(2 * (1 + dim) * in_channels, hidden)
        self.out = nn.Linear(hidden, dim + len(self.pairs))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, v: Tensor, features: CellFeatures) -> Tensor:
        near = features(v)
        s = contrast(near, self.dim) * self.out(nn.functional.gelu(self.hidden(near)))
        root = (MAX_LOGARITHM / 2 * torch.tanh(s[..., : self.dim] / MAX_LOGARITHM)).exp()
        mixed = [
            torch.tanh(s[..., self.dim + k]) * root[..., i] * root[..., j] / (self.dim - 1) for k, (i, j) in enumerate(self.pairs)
        ]
        return torch.cat([root.square(), *(t[..., None] for t in mixed)], dim=-1)


def contrast(near: Tensor, dim: int) -> Tensor:
    """c / (1 + c) for c the sum of squares of slopes, and of differences to local averages, ``(cells, batch, 1)``, from cell features."""
    mean, *slopes = near.chunk(1 + dim, dim=-1)
    own, average = mean.chunk(2, dim=-1)
    c = torch.cat([own - average, *slopes], dim=-1).square().sum(-1, keepdim=True)
    return c / (1 + c)
