"""A multigrid V-cycle for networks of conductances on box grids: a symmetric preconditioner, batched, for grids of any size."""

from math import cos, pi

import torch
from torch import Tensor

from .conductances import Conductances, apply, coarsened, diagonal, prolong_axis, restrict_axis

#: Dampings of the two Jacobi steps of a smoothing, from the Chebyshev polynomial that is smallest on the eigenvalues [½, 2] of D⁻¹A.
#: 2 bounds them all; those of oscillating functions lie above ½ in two dimensions.
DAMPINGS = tuple(1 / (1.25 + 0.75 * cos((2 * i + 1) * pi / 4)) for i in range(2))

#: A grid is coarsened down to this many cells along its shortest axis, and solved there by a dense pseudo-inverse.
COARSEST = 2


class Multigrid:
    """A V-cycle for A = Σ of a network's conductances on free nodes, coarse networks by series and parallel connection.

    The cycle is linear, symmetric and positive definite: as many Chebyshev-Jacobi steps after the coarse correction as before, and
    restriction the transpose of interpolation. Grids of every size coarsen, a last odd cell staying as it is.

    Args:
        network: conductances of the finest grid.
        free: one at free nodes and zero at nodes whose value is prescribed, ``(x[, y[, z]])``. Without any of the latter, A
            is singular and the right-hand sides must sum to zero.
    """

    def __init__(self, network: Conductances, free: Tensor):
        self.levels = [(network, free, _damped_inverses(network, free))]
        while min(w.shape[axis + 2] for axis, w in enumerate(network)) > COARSEST:
            network = coarsened(network)
            free = _injected(free)
            self.levels.append((network, free, _damped_inverses(network, free)))
        self.coarse_inverse = _pseudo_inverse(network, free)

    def __repr__(self) -> str:
        sizes = ["x".join(str(n) for n in D.shape[2:]) for _, _, (D, _) in self.levels]
        return f"Multigrid({' > '.join(sizes)} nodes)"

    def __call__(self, r: Tensor, level: int = 0) -> Tensor:
        """One V-cycle from zero for A e = r, ``(batch, 1, nodes)``."""
        network, free, smoothers = self.levels[level]
        if level == len(self.levels) - 1:
            return torch.einsum("bij,bcj->bci", self.coarse_inverse, r.flatten(2)).view_as(r)
        u = smoothers[0] * r
        u = torch.addcmul(u, smoothers[1], r - apply(network, u))
        rest = free * (r - apply(network, u))
        for axis in range(2, r.dim()):
            rest = restrict_axis(rest, axis)
        e = self(rest, level + 1)
        for axis in range(2, r.dim()):
            e = prolong_axis(e, axis, r.shape[axis])
        u = torch.addcmul(u, free, e)
        for smoother in smoothers:
            u = torch.addcmul(u, smoother, r - apply(network, u))
        return u


def _damped_inverses(network: Conductances, free: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse diagonal times each damping."""
    inverse = free / diagonal(network).clamp_min(torch.finfo(network[0].dtype).tiny)
    return DAMPINGS[0] * inverse, DAMPINGS[1] * inverse


def _pseudo_inverse(network: Conductances, free: Tensor) -> Tensor:
    """Of the matrix of a small network, zero at nodes that are not free, ``(batch, nodes, nodes)``."""
    batch, n = len(network[0]), free.numel()
    unit = torch.diag(free.flatten()).reshape(1, n, *free.shape).expand(batch, -1, *free.shape)
    A = (free * apply(network, unit)).flatten(2)
    return torch.linalg.pinv(A, hermitian=True)


def _injected(free: Tensor) -> Tensor:
    """Values at the nodes that stay: every second, and the last."""
    for axis in range(free.dim()):
        n = free.shape[axis]
        kept = list(range(0, n - 1, 2)) + [n - 1]
        free = free.index_select(axis, torch.tensor(kept, device=free.device))
    return free
