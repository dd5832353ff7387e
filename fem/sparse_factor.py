"""Sparse factors of a constant symmetric positive definite matrix, on the CPU, as torch sees them: one operator with all its derivatives.

Reverse mode, forward mode and vmap are those of a linear map; ``torch.compile`` takes the operator whole.
"""

from collections.abc import Callable
from itertools import count
from typing import Any, cast
from weakref import WeakValueDictionary

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from .sparse_product import in_threads

_THREADING_FLOOR = 1 << 20  # multiply-adds under which a second thread costs more than it saves


class SparseFactor:
    """A⁻¹ for columns ``(rows, batch)``, by SuperLU in an order of minimum degree (Li, ACM Trans. Math. Software 31, 2005).

    A copy, or one read from a pickle, is factorised again.

    Args:
        A: symmetric and positive definite, in single or double precision.
    """

    def __init__(self, A: scipy.sparse.csc_matrix):
        self.A = A
        self._lu = scipy.sparse.linalg.splu(A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        self.key = next(_keys)
        _factors[self.key] = self

    def __reduce__(self) -> tuple[Callable, tuple[Any, ...]]:
        return SparseFactor, (self.A,)

    def __call__(self, b: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return factored_solve(b, self.key)
        return cast(Tensor, _Solve.apply(b, self))

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.A.dtype == np.float64 else torch.float32

    def __repr__(self) -> str:
        return f"factors with {self._lu.nnz} entries"

    def solve(self, b: np.ndarray) -> np.ndarray:
        """SuperLU releases the GIL, so blocks of columns are solved in threads."""
        threads = torch.get_num_threads()
        if threads == 1 or self._lu.nnz * b.shape[1] < _THREADING_FLOOR:
            return self._lu.solve(b)
        return np.concatenate(in_threads(self._lu.solve, np.array_split(b, min(threads, b.shape[1]), axis=1)), axis=1)


#: The factors that are in use, by numbers, which torch's operators can be given.
_factors: WeakValueDictionary[int, SparseFactor] = WeakValueDictionary()
_keys = count()


@torch.library.custom_op("thalweg::factored_solve", mutates_args=())
def factored_solve(b: Tensor, key: int) -> Tensor:
    """``A⁻¹ b`` for columns, by the factor of that number."""
    return torch.from_numpy(np.ascontiguousarray(_factors[key].solve(b.detach().numpy())))


@factored_solve.register_fake
def _(b: Tensor, key: int) -> Tensor:
    return b.new_empty(b.shape)


def _setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.key = inputs[1]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return factored_solve(gradient, ctx.key), None


factored_solve.register_autograd(_backward, setup_context=_setup_context)


@factored_solve.register_vmap
def _(info: Any, in_dims: tuple, b: Tensor, key: int) -> tuple[Tensor, int]:
    return _of_batches(lambda columns: factored_solve(columns, key), b, in_dims[0])


class _Solve(torch.autograd.Function):
    """A is symmetric, so that its inverse is its own transpose. The factor lives as long as a graph that needs it."""

    @staticmethod
    def forward(b: Tensor, factor: SparseFactor) -> Tensor:
        return factored_solve(b, factor.key)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Solve.apply(gradients[0], ctx.factor), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Any:
        return _Solve.apply(tangents[0], ctx.factor)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> tuple[Tensor, int]:
        b, factor = args
        return _of_batches(factor, b, in_dims[0])


def _of_batches(solve: Callable[[Tensor], Tensor], b: Tensor, axis: int) -> tuple[Tensor, int]:
    """Solves for columns with one more axis, and where that is in the solutions."""
    b = b.movedim(axis, -1)
    return solve(b.flatten(1)).unflatten(1, b.shape[1:]), 2


def envelope(A: scipy.sparse.csr_matrix) -> int:
    """Entries between the first of each row and the diagonal, in the order of Cuthill and McKee: more than a factor is filled with."""
    order = reverse_cuthill_mckee(A, symmetric_mode=True)
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    rows = np.repeat(np.arange(len(order)), np.diff(A.indptr))
    first = position.copy()
    np.minimum.at(first, rows, position[A.indices])
    return int((position - first).sum())
