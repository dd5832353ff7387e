"""The product of a constant CSR matrix with a batch of columns, as torch sees it: one operator with all its derivatives.

Reverse mode, forward mode and vmap are those of a linear map; ``torch.compile`` takes the operator whole.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

#: CSR arrays of a matrix and of its transpose: row pointers, columns, values, and again.
Arrays = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]

T = TypeVar("T")
R = TypeVar("R")

_THREADING_FLOOR = 1 << 18  # multiply-adds under which a second thread costs more than it saves
_VECTOR = 8  # columns from which a kernel with vector registers along a row of x pays


def product(arrays: Arrays, x: Tensor) -> Tensor:
    """``A @ x``, ``(columns, batch) -> (rows, batch)``."""
    # Dynamo does not trace functions with a jvp; it needs none, and the operator brings its own gradient.
    if torch.compiler.is_compiling():
        return spmm(*arrays, x)
    return _Product.apply(*arrays, x)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(*args: Tensor) -> Tensor:
        return spmm(*args)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:6])
        ctx.save_for_forward(*inputs[:6])

    @staticmethod
    def backward(ctx, *gradients):
        return (*[None] * 6, product(transposed(ctx.saved_tensors), gradients[0]))

    @staticmethod
    def jvp(ctx, *tangents):
        return product(ctx.saved_tensors, tangents[-1])

    @staticmethod
    def vmap(info, in_dims, *args):
        *arrays, x = args
        # The arrays are constants; inside vmap they may still come with a batch axis, as copies of one matrix.
        arrays = [a if dim is None else a.select(dim, 0) for a, dim in zip(arrays, in_dims, strict=False)]
        if in_dims[-1] is None:
            return product((*arrays,), x), None
        x = x.movedim(in_dims[-1], -1)
        return product((*arrays,), x.flatten(1)).unflatten(1, x.shape[1:]), 2


@torch.library.custom_op("thalweg::spmm", mutates_args=())
def spmm(crow: Tensor, col: Tensor, val: Tensor, crow_t: Tensor, col_t: Tensor, val_t: Tensor, x: Tensor) -> Tensor:
    """``A @ x`` for the CSR arrays of A; those of its transpose travel along for the backward product."""
    shape = (crow.numel() - 1, crow_t.numel() - 1)
    x = x.detach().contiguous()
    if x.device.type != "cpu":
        return torch.sparse.mm(torch.sparse_csr_tensor(crow, col, val, shape, check_invariants=False), x)
    if x.dtype == torch.float32 and x.shape[1] >= _VECTOR and val.numel():
        # A bag of weighted rows is a row of the product, and FBGEMM generates vector code for each width.
        return torch.embedding_bag(x, col, crow, mode=0, per_sample_weights=val, include_last_offset=True)[0]
    return torch.from_numpy(_csr_product(shape, *(t.numpy() for t in (crow, col, val, x))))


@spmm.register_fake
def _(crow, col, val, crow_t, col_t, val_t, x):
    return x.new_empty(crow.shape[0] - 1, x.shape[1])


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:6])


def _backward(ctx, gradient):
    return (*[None] * 6, spmm(*transposed(ctx.saved_tensors), gradient))


spmm.register_autograd(_backward, setup_context=_setup_context)


@spmm.register_vmap
def _(info, in_dims, *args):
    return _Product.vmap(info, in_dims, *args)


def transposed(arrays: Arrays) -> Arrays:
    return (*arrays[3:], *arrays[:3])


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

    in_threads(block, range(threads))
    return y


def in_threads(function: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """The function of each part, in as many threads as torch has; one pool, however many parts there are."""
    return list(_pool(torch.get_num_threads()).map(function, parts))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
