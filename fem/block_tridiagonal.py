"""A direct solver for a batch of sparse matrices of one pattern: block Gaussian elimination in an order of small bandwidth."""

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor, nn

from ..errors import InputError


class BlockTridiagonalSolver(nn.Module):
    """``x`` with ``A x = b`` and zero on the fixed dofs, for matrices given by their entries: ``(entries, batch), (batch, dofs)``.

    The free dofs are numbered so that the band is narrow (Cuthill and McKee, 1969) and cut into blocks as wide as the band: A is then
    block tridiagonal, and is solved by block elimination (the Thomas algorithm) with pivoting within blocks. The work for n dofs in
    a band m is O(n m²) for each sample, the loop goes over the n/m blocks and every step of it is batched. Suits slender domains and small
    ones; a square with n dofs has m ~ √n.

    Args:
        rows, columns: the place of each entry; those of one place are added.
        size: rows of the matrix.
        fixed: dofs that are eliminated.

    Raises:
        InputError: all dofs are fixed.
    """

    places: Tensor
    order: Tensor

    def __init__(self, rows: Tensor, columns: Tensor, size: int, fixed: Tensor):
        super().__init__()
        free = np.ones(size, dtype=bool)
        free[fixed.cpu().numpy()] = False
        if not free.any():
            raise InputError("Every dof is fixed; there is nothing to solve for.")
        i, j = rows.cpu().numpy(), columns.cpu().numpy()
        kept = free[i] & free[j]
        pattern = scipy.sparse.csr_matrix((np.ones(kept.sum()), (i[kept], j[kept])), shape=(size, size))
        order = reverse_cuthill_mckee(pattern + pattern.T, symmetric_mode=True)
        order = order[free[order]].astype(np.int64)
        position = np.full(size, -1)
        position[order] = np.arange(len(order))
        i, j = position[i], position[j]
        self.width = int(np.abs(i - j)[kept].max(initial=1))
        self.blocks = -(-len(order) // self.width)
        m = self.width
        # The lower, the diagonal and the upper block of each block row, and one place more for what is eliminated.
        side = np.where(kept, j // m - i // m + 1, 0)
        places = np.where(kept, ((i // m * 3 + side) * m + i % m) * m + j % m, self.blocks * 3 * m * m)
        self.size = size
        self.register_buffer("places", torch.from_numpy(places).to(rows.device), persistent=False)
        self.register_buffer("order", torch.from_numpy(order).to(rows.device), persistent=False)

    def forward(self, entries: Tensor, b: Tensor) -> Tensor:
        A, y = self._matrix(entries), self._right_hand_side(b)
        n, m = self.blocks, self.width
        eliminated: list[Tensor] = []
        for k in range(n):
            D, r = A[:, k, 1], y[:, k]
            if k:
                before = eliminated[-1]
                D = D - A[:, k, 0] @ before[..., :m]
                r = r - A[:, k, 0] @ before[..., m:]
            eliminated.append(torch.linalg.solve_ex(D, torch.cat([A[:, k, 2], r], dim=-1)).result)
        x = [eliminated[-1][..., m:]]
        for k in reversed(range(n - 1)):
            x.append(eliminated[k][..., m:] - eliminated[k][..., :m] @ x[-1])
        solution = torch.cat(x[::-1], dim=1)[:, : len(self.order), 0]
        return torch.zeros_like(b).index_copy(1, self.order, solution)

    def _matrix(self, entries: Tensor) -> Tensor:
        """``(batch, blocks, 3, width, width)``, with ones on the diagonal beyond the last dof."""
        n, m, batch = self.blocks, self.width, entries.shape[1]
        flat = entries.new_zeros(n * 3 * m * m + 1, batch).index_add(0, self.places, entries)
        A = flat[:-1].T.reshape(batch, n, 3, m, m).contiguous()
        beyond = len(self.order) - (n - 1) * m
        A[:, -1, 1].diagonal(dim1=-2, dim2=-1)[:, beyond:] = 1
        return A

    def _right_hand_side(self, b: Tensor) -> Tensor:
        """``(batch, blocks, width, 1)``."""
        y = b.index_select(1, self.order)
        missing = self.blocks * self.width - len(self.order)
        return nn.functional.pad(y, (0, missing)).view(b.shape[0], self.blocks, self.width, 1)

    def extra_repr(self) -> str:
        return f"{len(self.order)} free dofs of {self.size} in {self.blocks} blocks of {self.width}"
