"""Sparse products out of torch's own operators, for programs that run where this package is not installed."""

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from .sparse import SparseMatrix

Primitive = Literal["embedding_bag", "index_add"]


class PortableMatrix(SparseMatrix):
    """A :class:`SparseMatrix` whose product is an embedding bag, the faster one, or a gathering and a sum, which more formats know."""

    row: Tensor
    row_t: Tensor
    primitive: Primitive = "embedding_bag"

    @staticmethod
    def of(matrix: SparseMatrix, primitive: Primitive = "embedding_bag") -> "PortableMatrix":
        """The same matrix, sharing its arrays."""
        portable = PortableMatrix.__new__(PortableMatrix)
        nn.Module.__init__(portable)
        for suffix in ("", "_t"):
            crow = getattr(matrix, "crow" + suffix)
            row = torch.repeat_interleave(torch.arange(len(crow) - 1, device=crow.device), crow.diff().long())
            arrays = {"crow": crow, "col": getattr(matrix, "col" + suffix), "val": getattr(matrix, "val" + suffix), "row": row}
            for name, array in arrays.items():
                portable.register_buffer(name + suffix, array, persistent=False)
        portable.primitive = primitive
        return portable

    @property
    def T(self) -> "PortableMatrix":
        transpose = PortableMatrix.__new__(PortableMatrix)
        nn.Module.__init__(transpose)
        for name in ("crow", "col", "val", "row"):
            transpose.register_buffer(name, getattr(self, name + "_t"), persistent=False)
            transpose.register_buffer(name + "_t", getattr(self, name), persistent=False)
        transpose.primitive = self.primitive
        return transpose

    def on_nodes(self, h: Tensor) -> Tensor:
        return self._bags(self.crow, self.col, self.val, self.row, h)

    def adjoint_on_nodes(self, h: Tensor) -> Tensor:
        return self._bags(self.crow_t, self.col_t, self.val_t, self.row_t, h)

    def _bags(self, crow: Tensor, col: Tensor, val: Tensor, row: Tensor, h: Tensor) -> Tensor:
        x, rows = h.reshape(h.shape[0], -1).to(val.dtype), len(crow) - 1
        if self.primitive == "embedding_bag":
            # A bag of weighted rows of x is a row of the product.
            y = nn.functional.embedding_bag(col, x, crow, mode="sum", per_sample_weights=val, include_last_offset=True)
        else:
            y = x.new_zeros(rows, x.shape[1]).index_add(0, row, val[:, None] * x[col.long()])
        return y.reshape(rows, *h.shape[1:]).to(h.dtype)


def portable(module: nn.Module, primitive: Primitive = "embedding_bag") -> nn.Module:
    """A copy of a module whose sparse matrices are portable; matrices that were shared still are."""
    module = copy.deepcopy(module)
    made: dict[int, PortableMatrix] = {}

    def replace(parent: nn.Module, seen: set[int]) -> None:
        if id(parent) in seen:
            return
        seen.add(id(parent))
        # Its children are in one dictionary; others may keep modules, too, such as levels by the grid they belong to.
        for kept in (value for value in vars(parent).values() if isinstance(value, dict)):
            for name, child in kept.items():
                if isinstance(child, SparseMatrix):
                    made.setdefault(id(child), PortableMatrix.of(child, primitive))
                    kept[name] = made[id(child)]
                elif isinstance(child, nn.Module):
                    replace(child, seen)

    replace(module, set())
    return module
