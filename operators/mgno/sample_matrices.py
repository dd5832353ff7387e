"""Matrices of one symmetric sparsity pattern, one for each sample, applied to features in one product."""

import numpy as np
import torch
from torch import Tensor, nn

from .pattern_product import pattern_product


class Pattern(nn.Module):
    """Where the nonzeros of a matrix are, symmetrically, as CSR, and how values of many samples are laid out for one product.

    Features are ``(nodes, batch, channels)``; for a product, nodes and batch are one axis, and the matrices of all samples one matrix.
    """

    crow: Tensor
    row: Tensor
    col: Tensor
    diagonal: Tensor
    diagonal_nodes: Tensor
    transpose: Tensor

    def __init__(self, rows: np.ndarray, cols: np.ndarray, num_nodes: int):
        super().__init__()
        self.num_nodes = num_nodes
        crow = np.searchsorted(rows, np.arange(num_nodes + 1))
        on_diagonal = np.flatnonzero(rows == cols)
        # Nonzeros are in the order of rows, then columns: the n-th of the transposed matrix is where columns, then rows, put it.
        transpose = np.lexsort((rows, cols))
        arrays = {"crow": crow, "row": rows, "col": cols, "diagonal": on_diagonal, "diagonal_nodes": rows[on_diagonal]}
        arrays["transpose"] = transpose
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)), persistent=False)
        self._batched: dict[tuple[int, torch.device], tuple[Tensor, Tensor, Tensor]] = {}

    def batched(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """CSR row pointers and columns of the joint matrix of ``batch`` samples, and where its values are in ``(nonzeros, batch)``."""
        key = (batch, self.col.device)
        if key not in self._batched:
            # Kept for later calls, which may be in training.
            with torch.inference_mode(False):
                self._batched[key] = self._joint(batch)
        return self._batched[key]

    def _joint(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        row, device = self.row, self.col.device
        start = self.crow[:-1, None] * batch + self.crow.diff()[:, None] * torch.arange(batch, device=device)
        crow = torch.cat([start.flatten(), self.crow[-1:] * batch])
        nonzero, sample = torch.arange(len(row), device=device)[:, None], torch.arange(batch, device=device)
        place = (start[row] + nonzero - self.crow[row, None]).flatten()
        col, source = (torch.empty(place.numel(), dtype=torch.int64, device=device) for _ in range(2))
        col[place] = (self.col[:, None] * batch + sample).flatten()
        source[place] = (nonzero * batch + sample).flatten()
        return crow.int(), col.int(), source


class SampleMatrices:
    """A matrix for each sample, applied to features ``(nodes, batch, channels)``.

    Args:
        pattern: of the nonzeros between free dofs.
        values: ``(nonzeros, batch)``.
        annihilates_constants: so that the matrices are singular unless a dof is fixed.
        symmetric: whether they are.
        bounded: whether smoothing is never to diverge; as ``annihilates_constants`` by default.

    Attributes:
        inverse_diagonal: D⁻¹ ``(nodes, batch, 1)`` for smoothers, zero for dofs that are fixed, and where the diagonal is not positive.
            D is the diagonal, or half the sum of the row's magnitudes where that is more, as in ℓ¹-Jacobi smoothing (Baker, Falgout, Kolev
            and Yang, SIAM J. Sci. Comput. 33, 2011): no eigenvalue of D⁻¹A is then above 2, whatever the coefficient. The two agree for
            M-matrices that annihilate constants. Where it is not ``bounded``, as with a reaction, it is the diagonal.
    """

    def __init__(
        self,
        pattern: Pattern,
        values: Tensor,
        annihilates_constants: bool = True,
        symmetric: bool = True,
        bounded: bool | None = None,
    ):
        self._pattern, self._values, self._singular = pattern, values, annihilates_constants
        # An exported program takes batches of any size, and has no operators of ours.
        self.exporting = torch.compiler.is_exporting()
        if not self.exporting:
            self.crow, self.col, source = pattern.batched(values.shape[1])
            self.val = values.flatten()[source]
            self.val_t = self.val if symmetric else values[pattern.transpose].flatten()[source]
        self._inverse: Tensor | None = None
        D = values.new_zeros(pattern.num_nodes, values.shape[1]).index_copy(0, pattern.diagonal_nodes, values[pattern.diagonal])
        if annihilates_constants if bounded is None else bounded:
            D = torch.maximum(D, torch.zeros_like(D).index_add(0, pattern.row, values.abs()) / 2)
        self.inverse_diagonal = torch.where(D > 0, 1 / torch.where(D > 0, D, 1), 0)[..., None]

    def on_nodes(self, h: Tensor) -> Tensor:
        if self.exporting:
            return torch.zeros_like(h).index_add(0, self._pattern.row, self._values[..., None] * h[self._pattern.col])
        # Features may come in bfloat16; products are in the precision of the matrices, as those of a SparseMatrix are.
        x = h.flatten(0, 1).to(self.val.dtype)
        return pattern_product(self.crow, self.col, self.val, self.val_t, x).view_as(h).to(h.dtype)

    def solve(self, f: Tensor) -> Tensor:
        """The solution for functionals ``(nodes, batch, channels)`` by dense inverses, made at the first call: for coarsest levels."""
        free, n = self._pattern.diagonal_nodes, self._pattern.num_nodes
        if self._inverse is None:
            m, batch = len(free), self._values.shape[1]
            number = torch.zeros(n, dtype=torch.int64, device=free.device).index_copy(
                0, free, torch.arange(m, device=free.device)
            )
            places = number[self._pattern.row] * m + number[self._pattern.col]
            K = self._values.new_zeros(batch, m * m).index_copy(1, places, self._values.T).view(batch, m, m)
            every = torch.ones(batch, m, dtype=torch.bool, device=free.device)
            self._inverse = regularized_inverse(K, every, self._singular and m == n)
        u = (self._inverse @ f[free].transpose(0, 1)).transpose(0, 1)
        return u.new_zeros(f.shape).index_copy(0, free, u)


def regularized_inverse(K: Tensor, free: Tensor, annihilates_constants: bool = True) -> Tensor:
    """Inverses ``(..., n, n)`` of matrices on free dofs ``(..., n)``, zero elsewhere.

    Where no dof is fixed constants may be the kernel; a multiple of the projection to them is then added, so that mean-free functionals
    have their mean-free solution.
    """
    n = K.shape[-1]
    size = K.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] / n
    kernel = annihilates_constants * free.all(-1)[..., None, None].to(K.dtype) * size / n
    fixed = torch.diag_embed((~free).to(K.dtype))
    both = (free[..., :, None] & free[..., None, :]).to(K.dtype)
    return torch.linalg.inv_ex(K + kernel + fixed)[0] * both
