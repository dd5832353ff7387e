"""The graph of a space's degrees of freedom: who shares a cell with whom, and how they lie to each other."""

from itertools import permutations

import numpy as np
import scipy.sparse
import scipy.spatial
import torch
from torch import Tensor, nn

from ..fem import Space, SparseMatrix
from ..fem.mesh import Mesh
from ..fem.reference_cell import positions, reference_nodes


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
        displacement = _displacements(space, pattern)
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


def _displacements(space: Space, pattern: scipy.sparse.csr_matrix) -> np.ndarray:
    """From target to source of each edge ``(edges, dim)``; through the seam of a periodic mesh, as it is in the cell of both."""
    points, cells = space.points.cpu().double().numpy(), space.cell_nodes.cpu().numpy()
    target, source = pattern.nonzero()
    displacement = points[source] - points[target]
    shift = _shifts(points[cells], space.mesh)
    seam = shift.any(axis=(1, 2))
    number = scipy.sparse.csr_matrix((np.arange(len(target)), pattern.indices, pattern.indptr), pattern.shape)
    for i, j in permutations(range(cells.shape[1]), 2) if seam.any() else ():
        t, s = cells[seam, i], cells[seam, j]
        edge = np.asarray(number[t, s]).ravel()
        displacement[edge] = points[s] + shift[seam, j] - points[t] - shift[seam, i]
    return displacement


def _shifts(nodes: np.ndarray, mesh: Mesh) -> np.ndarray:
    """The period by which each cell's nodes ``(num_cells, n, dim)`` lie elsewhere in it: zero but for those stored beyond a seam."""
    reference = reference_nodes(nodes, mesh)
    shift = positions(mesh, reference) - nodes
    # In curved cells the nodes' reference coordinates are estimates, but for those at vertices, of which every seam has some.
    exact = np.isclose(reference, np.round(reference)).all(axis=1)
    seen = shift[:, exact if exact.any() else slice(None)].reshape(-1, mesh.dim)
    size = np.ptp(mesh.points[mesh.cells], axis=1).max()
    periods = seen[np.unique(np.round(seen / size, 6), axis=0, return_index=True)[1]]
    periods = periods[np.linalg.norm(periods, axis=1) > 1e-6 * size]
    possible = np.concatenate([np.zeros((1, mesh.dim)), periods, -periods])
    return possible[scipy.spatial.KDTree(possible).query(shift)[1]]
