"""The graph of a space's degrees of freedom: who shares a cell with whom, and how they lie to each other."""

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ..fem import Space, SparseMatrix


class DofGraph(nn.Module):
    """Directed edges between nodes that share a cell, the sparsity pattern of a stiffness matrix without its diagonal.

    Attributes:
        source, target: nodes of each edge, ``(edges,)``, sorted by target.
        features: displacement from target to source and its length, both by the mean length of all edges, ``(edges, dim + 1)``: a finer
            mesh of the same shape has the same features.
        mean: the matrix ``(nodes, edges)`` that takes the mean over the edges that end in a node.
    """

    source: Tensor
    target: Tensor
    features: Tensor

    def __init__(self, space: Space):
        super().__init__()
        pattern = _neighbours(space)
        target, source = pattern.nonzero()
        displacement = _displacements(space, source, target)
        length = np.linalg.norm(displacement, axis=1, keepdims=True)
        features = np.concatenate([displacement, length], axis=1) / length.mean()
        dtype = space.mass.val.dtype
        self.register_buffer("source", torch.from_numpy(source.astype(np.int64)), persistent=False)
        self.register_buffer("target", torch.from_numpy(target.astype(np.int64)), persistent=False)
        self.register_buffer("features", torch.from_numpy(features).to(dtype), persistent=False)
        degree = np.bincount(target, minlength=space.num_nodes)
        edges = np.arange(len(target))
        self.mean = SparseMatrix(
            scipy.sparse.csr_matrix((1 / degree[target], (target, edges)), shape=(space.num_nodes, len(target))), dtype
        )

    @property
    def num_edges(self) -> int:
        return len(self.source)


def _neighbours(space: Space) -> scipy.sparse.csr_matrix:
    cells = space.cell_nodes.cpu().numpy()
    rows = np.repeat(np.arange(len(cells)), cells.shape[1])
    incidence = scipy.sparse.csr_matrix((np.ones(cells.size), (rows, cells.ravel())), shape=(len(cells), space.num_nodes))
    pattern = scipy.sparse.csr_matrix(incidence.T @ incidence)
    pattern.setdiag(0)
    pattern.eliminate_zeros()
    pattern.sort_indices()
    return pattern


def _displacements(space: Space, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """From target to source, through the seam where the mesh is periodic: no neighbour is further away than a cell is wide."""
    points, mesh = space.points.cpu().numpy(), space.mesh
    displacement = points[source] - points[target]
    corners = mesh.points[mesh.cells]
    widest = np.ptp(corners, axis=1).max(axis=0)
    period = np.ptp(mesh.points, axis=0)
    around = np.abs(displacement) > widest * (1 + 1e-6)
    return displacement - np.where(around, np.sign(displacement) * period, 0)
