"""The map from a grid to the domain of each sample, by the displaced points, and what it does to −∇·(a∇) + b."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ...fem import SparseMatrix
from .elements import Elements


class CellJacobians(nn.Module):
    """J = ∂x/∂X in the middle of each cell, ``(nodes, batch, dim) -> (cells, batch, dim, dim)``, of the multilinear x(X) with these nodes.

    Where cells are mapped to parallelograms J is constant in each of them, so that integrals with it are exact; elsewhere they are those
    of the midpoint rule.
    """

    def __init__(self, elements: Elements, dtype: torch.dtype):
        super().__init__()
        cells, k = elements.cell_nodes.shape
        self.dim = elements.points.shape[1]
        where = np.arange(self.dim * cells).repeat(k), np.tile(elements.cell_nodes.ravel(), self.dim)
        self.slopes = SparseMatrix(
            scipy.sparse.csr_matrix((elements.slopes().ravel(), where), (self.dim * cells, elements.num_nodes)), dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(self.slopes.on_nodes(x).chunk(self.dim), dim=-1)


def pulled_back(J: Tensor, T: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The tensor |det J| J⁻¹ T J⁻ᵀ with which −∇·(T∇) acts on functions of X, and |det J|, by which volumes grow.

    Args:
        J: ``(cells, batch, dim, dim)``.
        T: entries of a symmetric tensor in the domain, the diagonal first and then those above it, ``(cells, batch, entries)``; the
            identity by default, for which the result is |det J| G⁻¹ with the metric tensor G = JᵀJ.

    Returns:
        Entries in the same order, ``(cells, batch, entries)``, and ``(cells, batch)``.
    """
    dim = J.shape[-1]
    A = adjugate(J)
    det = (J[..., 0, :] * A[..., 0]).sum(-1).abs()
    AT = A if T is None else A @ symmetric(T, dim)
    pulled = (AT @ A.mT) / det[..., None, None]
    return torch.stack([pulled[..., i, j] for i, j in entries(dim)], dim=-1), det


def jacobian_on_grid(x: Tensor, lengths: Sequence[float]) -> Tensor:
    """J = ∂x/∂X at the points of a grid, ``(batch, dim, x, y[, z]) -> (batch, dim, dim, x, y[, z])``, by differences of second order.

    The axis of X is first, so that flattened channels are those of ∂x/∂X₁, then of ∂x/∂X₂, ...
    """
    spacing = [L / (n - 1) for L, n in zip(lengths, x.shape[2:], strict=True)]
    return torch.stack([_derivative(x, axis, h) for axis, h in enumerate(spacing, start=2)], dim=1)


def _derivative(x: Tensor, axis: int, h: float) -> Tensor:
    """Central differences, one-sided ones at the ends; torch.gradient would take the batch size of an exported program for a constant."""
    n = x.shape[axis]
    first, second, third = x.narrow(axis, 0, 3).split(1, axis)
    before, last_but_one, last = x.narrow(axis, n - 3, 3).split(1, axis)
    inner = x.narrow(axis, 2, n - 2) - x.narrow(axis, 0, n - 2)
    return torch.cat([4 * second - 3 * first - third, inner, 3 * last - 4 * last_but_one + before], dim=axis) / (2 * h)


def piola(J: Tensor, c: Tensor) -> Tensor:
    """J c/|det J|, the velocity in the domain of which c is that on the grid: fluxes through mapped surfaces stay as they are.

    J is ``(batch, dim, dim, x, y[, z])`` with the axis of the grid first, c ``(batch or 1, dim, x, y[, z])``.
    """
    det = torch.linalg.det(J.movedim((1, 2), (-1, -2))).abs()
    return (J * c[:, :, None]).sum(1) / det[:, None]


def entries(dim: int) -> list[tuple[int, int]]:
    """Rows and columns of the entries of a symmetric tensor: those of the diagonal, then those above it."""
    return [(i, i) for i in range(dim)] + [(i, j) for i in range(dim) for j in range(i + 1, dim)]


def symmetric(T: Tensor, dim: int) -> Tensor:
    """Matrices ``(..., dim, dim)`` of entries ``(..., entries)``."""
    where = {pair: n for n, pair in enumerate(entries(dim))}
    rows = [torch.stack([T[..., where[min(i, j), max(i, j)]] for j in range(dim)], dim=-1) for i in range(dim)]
    return torch.stack(rows, dim=-2)


def adjugate(J: Tensor) -> Tensor:
    """det J · J⁻¹, of matrices ``(..., dim, dim)`` of up to three rows."""
    dim = J.shape[-1]
    if dim == 1:
        return torch.ones_like(J)
    if dim == 2:
        (a, b), (c, d) = (row.unbind(-1) for row in J.unbind(-2))
        return torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    x, y, z = J.unbind(-2)
    return torch.stack([torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)], -1)
