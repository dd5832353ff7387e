"""SPON-MG: most of the work on a coarse space, little on the way up to the fine one (Bouziani and Boullé, arXiv 2410.01065)."""

from typing import cast

import numpy as np
import scipy.sparse
from torch import Tensor, nn

from ..errors import InputError
from ..fem import SparseMatrix
from ..fem.hierarchy import Hierarchy
from .graph import DofGraph
from .message_passing import MessageBlock


class CoarseProcessor(nn.Module):
    """A large network on the coarsest space of a hierarchy, and light message passing on each finer one.

    Inputs are restricted by the transposed prolongation with rows that sum to one. Features of a level are prolonged to the next
    finer one, joined there by its inputs and passed through ``light`` blocks. Transfers are those of the finite-element spaces, and fixed.
    ``(batch, in_channels, nodes of the finest) -> (batch, out_channels, nodes of the finest)``.

    Args:
        hierarchy: scalar spaces from fine to coarse; the first is the encoder's and the decoder's.
        coarse: a processor on the coarsest space, as many channels in as out.
        light: message-passing blocks on each finer level.

    Raises:
        InputError: the coarse network's channels differ, or the hierarchy has one level, or spaces of vectors.
    """

    def __init__(self, hierarchy: Hierarchy, coarse: nn.Module, in_channels: int, out_channels: int = 1, light: int = 1):
        super().__init__()
        channels = getattr(coarse, "in_channels", None)
        if channels is None or channels != getattr(coarse, "out_channels", None):
            raise InputError("The coarse network must have as many channels in as out; set its in_channels and out_channels.")
        if len(hierarchy) < 2:
            raise InputError("A CoarseProcessor needs a hierarchy of two spaces or more.")
        hierarchy.require_scalar("a CoarseProcessor")
        self.in_channels, self.out_channels = in_channels, out_channels
        finer = range(len(hierarchy) - 1)
        self.prolongations = nn.ModuleList(hierarchy.prolongation(l) for l in finer)
        self.restrictions = nn.ModuleList(_mean_restriction(hierarchy.prolongation(l)) for l in finer)
        self.graphs = nn.ModuleList(DofGraph(hierarchy[l]) for l in finer)
        edge_features = hierarchy[0].mesh.dim + 1
        self.blocks = nn.ModuleList(nn.ModuleList(MessageBlock(channels, edge_features) for _ in range(light)) for _ in finer)
        self.inputs = nn.ModuleList(nn.Linear(in_channels, channels) for _ in range(len(hierarchy)))
        self.coarse = coarse
        self.project = nn.Linear(channels, out_channels)

    def forward(self, channels: Tensor) -> Tensor:
        levels = [channels.permute(2, 0, 1).contiguous()]
        for R in self.restrictions:
            levels.append(cast(SparseMatrix, R).on_nodes(levels[-1]))
        h = self.inputs[-1](levels[-1])
        h = self.coarse(h.permute(1, 2, 0)).permute(2, 0, 1)
        for l in reversed(range(len(levels) - 1)):
            h = cast(SparseMatrix, self.prolongations[l]).on_nodes(h.contiguous()) + self.inputs[l](levels[l])
            for block in cast(nn.ModuleList, self.blocks[l]):
                h = block(h, self.graphs[l])
        return self.project(h).permute(1, 2, 0)


def _mean_restriction(P: SparseMatrix) -> SparseMatrix:
    """Pᵀ with rows that sum to one: a mean over the fine nodes around a coarse one, which keeps constants."""
    R = P.to_scipy().astype(np.float64).T.tocsr()
    R.data = np.abs(R.data)  # quadratic elements have negative weights
    return SparseMatrix(scipy.sparse.diags(1 / np.asarray(R.sum(axis=1)).ravel()) @ R, P.val.dtype)
