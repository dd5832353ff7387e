"""The product of a CSR matrix of symmetric pattern with features, differentiable in the features and in the matrix."""

import warnings
from functools import cache

import torch
from torch import Tensor

from ...fem.sparse_product import product, spmm


def pattern_product(crow: Tensor, col: Tensor, val: Tensor, val_t: Tensor, x: Tensor) -> Tensor:
    """``A x`` for features ``(nodes, channels)``; ``val_t`` are the values of Aᵀ, in the same pattern, and a function of ``val``."""
    if val.requires_grad:
        return _pattern_product(crow, col, val, val_t, x)
    return product((crow, col, val, crow, col, val_t), x)


@torch.library.custom_op("thalweg::pattern_product", mutates_args=())
def _pattern_product(crow: Tensor, col: Tensor, val: Tensor, val_t: Tensor, x: Tensor) -> Tensor:
    return spmm(crow, col, val, crow, col, val_t, x)


@_pattern_product.register_fake
def _(crow, col, val, val_t, x):
    return torch.empty_like(x)


@torch.library.custom_op("thalweg::sampled_outer_product", mutates_args=())
def sampled_outer_product(crow: Tensor, col: Tensor, g: Tensor, x: Tensor) -> Tensor:
    """``g xᵀ`` at the nonzeros of a CSR pattern."""
    _mention_beta()
    pattern = torch.sparse_csr_tensor(crow, col, g.new_zeros(len(col)), (len(g), len(x)), check_invariants=False)
    return torch.sparse.sampled_addmm(pattern, g.contiguous(), x.contiguous().T, beta=0).values().clone()


@cache
def _mention_beta() -> None:
    """PyTorch says once in a process that sparse CSR tensors are in beta; a user can do nothing about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        torch.sparse_csr_tensor([0, 1], [0], [1.0], (1, 1), check_invariants=True)


@sampled_outer_product.register_fake
def _(crow, col, g, x):
    return g.new_empty(col.shape[0])


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, g):
    crow, col, val, val_t, x = ctx.saved_tensors
    return None, None, sampled_outer_product(crow, col, g, x), None, pattern_product(crow, col, val_t, val, g)


_pattern_product.register_autograd(_backward, setup_context=_setup_context)
