"""Sparse matrices applied to batches of fields, differentiably, on CPU and GPU.

A finite-element matrix acts on the last axis of ``(..., dofs)``, or, where a network keeps its features innermost, on the first
axis of ``(dofs, ...)``. The second layout needs no transposition and is the fast one.
"""

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ..errors import InputError
from .sparse_product import Arrays, product, transposed


class SparseMatrix(nn.Module):
    """A constant sparse matrix, shape ``(rows, columns)``.

    ``A(u)`` maps ``(..., columns)`` to ``(..., rows)``; ``A.on_nodes(h)`` maps ``(columns, ...)`` to ``(rows, ...)``; ``A.T`` is
    the transpose, sharing storage. The arrays are non-persistent buffers: they move with ``.to`` and stay out of checkpoints.
    Products take and return the field's dtype and are computed in the matrix's.
    """

    crow: Tensor
    col: Tensor
    val: Tensor
    crow_t: Tensor
    col_t: Tensor
    val_t: Tensor

    def __init__(self, matrix: scipy.sparse.spmatrix | scipy.sparse.sparray, dtype: torch.dtype = torch.float32):
        super().__init__()
        A = scipy.sparse.csr_matrix(matrix)
        A.sum_duplicates()
        for suffix, M in (("", A), ("_t", A.T.tocsr())):
            M.sort_indices()
            self.register_buffer("crow" + suffix, torch.from_numpy(M.indptr.astype(np.int32)), persistent=False)
            self.register_buffer("col" + suffix, torch.from_numpy(M.indices.astype(np.int32)), persistent=False)
            self.register_buffer("val" + suffix, torch.from_numpy(M.data.astype(np.float64)).to(dtype), persistent=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.crow.shape[0] - 1, self.crow_t.shape[0] - 1

    @property
    def nnz(self) -> int:
        return self.val.shape[0]

    @property
    def T(self) -> "SparseMatrix":
        transpose = SparseMatrix.__new__(SparseMatrix)
        nn.Module.__init__(transpose)
        for name in ("crow", "col", "val"):
            transpose.register_buffer(name, getattr(self, name + "_t"), persistent=False)
            transpose.register_buffer(name + "_t", getattr(self, name), persistent=False)
        return transpose

    @property
    def arrays(self) -> Arrays:
        return self.crow, self.col, self.val, self.crow_t, self.col_t, self.val_t

    def forward(self, u: Tensor) -> Tensor:
        """Product along the last axis: ``(..., columns)`` to ``(..., rows)``.

        Raises:
            InputError: the last axis has another length.
        """
        if u.ndim == 0 or u.shape[-1] != self.shape[1]:
            raise InputError(
                f"A {self.shape[0]} x {self.shape[1]} matrix got a field of shape {tuple(u.shape)}; "
                f"its last axis must have {self.shape[1]} dofs."
            )
        y = self.on_nodes(u.reshape(-1, self.shape[1]).T)
        return y.T.reshape(*u.shape[:-1], self.shape[0])

    def on_nodes(self, h: Tensor) -> Tensor:
        """Product along the first axis: ``(columns, ...)`` to ``(rows, ...)``.

        Raises:
            InputError: the first axis has another length.
        """
        return self._product(self.arrays, h, self.shape)

    def adjoint_on_nodes(self, h: Tensor) -> Tensor:
        """``A.T.on_nodes(h)`` by this module's own arrays: a transpose kept beside its matrix would have copies of them on a GPU.

        Raises:
            InputError: the first axis has another length.
        """
        return self._product(transposed(self.arrays), h, (self.shape[1], self.shape[0]))

    def _product(self, arrays: Arrays, h: Tensor, shape: tuple[int, int]) -> Tensor:
        rows, columns = shape
        if h.ndim == 0 or h.shape[0] != columns:
            raise InputError(
                f"A {rows} x {columns} matrix got features of shape {tuple(h.shape)}; their first axis must have {columns} nodes."
            )
        y = product(arrays, h.reshape(columns, -1).to(self.val.dtype))
        return y.reshape(rows, *h.shape[1:]).to(h.dtype)

    def diagonal(self) -> Tensor:
        return torch.from_numpy(self.to_scipy().diagonal()).to(self.val)

    def to_scipy(self) -> scipy.sparse.csr_matrix:
        crow, col, val = (t.cpu().numpy() for t in (self.crow, self.col, self.val))
        return scipy.sparse.csr_matrix((val, col, crow), shape=self.shape)

    def extra_repr(self) -> str:
        return f"{self.shape[0]} x {self.shape[1]}, {self.nnz} nonzeros, {self.val.dtype}"
