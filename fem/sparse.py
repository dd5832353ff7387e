"""Sparse matrices applied to batches of fields, differentiably, on CPU and GPU.

A finite-element matrix acts on the last axis of ``(..., dofs)``, or, where a network keeps its features innermost, on the first
axis of ``(dofs, ...)``. The second layout needs no transposition and is the fast one.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from ..errors import InputError

_THREADING_FLOOR = 1 << 18  # multiply-adds under which a second thread costs more than it saves


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def _csr_product(shape: tuple[int, int], crow: np.ndarray, col: np.ndarray, val: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``A @ x`` for row-major ``x``; scipy's kernel releases the GIL, so blocks of rows run in threads."""
    rows, columns = shape
    threads = torch.get_num_threads()
    if threads == 1 or val.size * x.shape[1] < _THREADING_FLOOR:
        return scipy.sparse.csr_matrix((val, col, crow), shape=shape, copy=False) @ x
    y = np.empty((rows, x.shape[1]), dtype=x.dtype)
    bounds = np.searchsorted(crow, np.linspace(0, val.size, threads + 1)).clip(0, rows)
    bounds[0], bounds[-1] = 0, rows

    def block(i: int) -> None:
        a, b = bounds[i], bounds[i + 1]
        window = slice(crow[a], crow[b])
        A = scipy.sparse.csr_matrix((val[window], col[window], crow[a : b + 1] - crow[a]), shape=(b - a, columns), copy=False)
        y[a:b] = A @ x

    list(_pool(threads).map(block, range(threads)))
    return y


@torch.library.custom_op("thalweg::spmm", mutates_args=())
def _spmm(crow: Tensor, col: Tensor, val: Tensor, crow_t: Tensor, col_t: Tensor, val_t: Tensor, x: Tensor) -> Tensor:
    """``A @ x`` for CSR arrays of A; those of its transpose travel along for the backward product."""
    shape = (crow.numel() - 1, crow_t.numel() - 1)
    if x.device.type == "cpu":
        arrays = (t.numpy() for t in (crow, col, val))
        return torch.from_numpy(_csr_product(shape, *arrays, x.detach().contiguous().numpy()))
    return torch.sparse.mm(torch.sparse_csr_tensor(crow, col, val, shape, check_invariants=False), x)


@_spmm.register_fake
def _(crow, col, val, crow_t, col_t, val_t, x):
    return x.new_empty(crow.numel() - 1, x.shape[1])


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:6])


def _backward(ctx, gradient):
    crow, col, val, crow_t, col_t, val_t = ctx.saved_tensors
    return (*[None] * 6, _spmm(crow_t, col_t, val_t, crow, col, val, gradient.contiguous()))


_spmm.register_autograd(_backward, setup_context=_setup_context)


@_spmm.register_vmap
def _(info, in_dims, crow, col, val, crow_t, col_t, val_t, x):
    x = x.movedim(in_dims[-1], -1)
    y = _spmm(crow, col, val, crow_t, col_t, val_t, x.reshape(x.shape[0], -1))
    return y.unflatten(1, x.shape[1:]), 2


class SparseMatrix(nn.Module):
    """A constant sparse matrix, shape ``(rows, columns)``.

    ``A(u)`` maps ``(..., columns)`` to ``(..., rows)``; ``A.on_nodes(h)`` maps ``(columns, ...)`` to ``(rows, ...)``; ``A.T`` is
    the transpose, sharing storage. The arrays are non-persistent buffers: they move with ``.to`` and stay out of checkpoints.
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
        return self.crow.numel() - 1, self.crow_t.numel() - 1

    @property
    def nnz(self) -> int:
        return self.val.numel()

    @property
    def T(self) -> "SparseMatrix":
        transpose = SparseMatrix.__new__(SparseMatrix)
        nn.Module.__init__(transpose)
        for name in ("crow", "col", "val"):
            transpose.register_buffer(name, getattr(self, name + "_t"), persistent=False)
            transpose.register_buffer(name + "_t", getattr(self, name), persistent=False)
        return transpose

    def forward(self, u: Tensor) -> Tensor:
        if u.shape[-1] != self.shape[1]:
            raise InputError(
                f"a {self.shape[0]} x {self.shape[1]} matrix got a field of shape {tuple(u.shape)}; "
                f"its last axis must have {self.shape[1]} dofs"
            )
        y = self.on_nodes(u.reshape(-1, self.shape[1]).T)
        return y.T.reshape(*u.shape[:-1], self.shape[0])

    def on_nodes(self, h: Tensor) -> Tensor:
        """Product along the first axis: ``(columns, ...)`` to ``(rows, ...)``."""
        x = h.reshape(h.shape[0], -1).to(self.val.dtype)
        y = _spmm(self.crow, self.col, self.val, self.crow_t, self.col_t, self.val_t, x)
        return y.reshape(self.shape[0], *h.shape[1:]).to(h.dtype)

    def diagonal(self) -> Tensor:
        return torch.from_numpy(self.to_scipy().diagonal()).to(self.val)

    def to_scipy(self) -> scipy.sparse.csr_matrix:
        crow, col, val = (t.cpu().numpy() for t in (self.crow, self.col, self.val))
        return scipy.sparse.csr_matrix((val, col, crow), shape=self.shape)

    def extra_repr(self) -> str:
        return f"{self.shape[0]} x {self.shape[1]}, {self.nnz} nonzeros, {self.val.dtype}"
