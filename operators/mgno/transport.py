"""The term c·∇u of a sample's own operator: where the velocity c comes from, and the stencil."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...errors import InputError
from ...fem import SparseMatrix
from ...fem.uniform_grid import Grid
from ..encoders import Fields
from ..spectral_derivatives import spectral_derivatives


class Velocity(Protocol):
    """What makes a velocity ``(batch or 1, dim, x, y[, z])`` of an operator's inputs on a grid."""

    def __call__(self, fields: Fields, grid: Grid) -> Tensor: ...


@dataclass(frozen=True)
class VorticityVelocity:
    """u = (∂_y ψ, −∂_x ψ) with −Δψ = ω on a periodic rectangle, by Fourier series, of the last channel of a field.

    The velocity depends on all of the vorticity (the law of Biot and Savart); cycles that are told of it need only carry.

    Raises:
        InputError: in use, a grid that is not a periodic rectangle.
    """

    field: str

    def __call__(self, fields: Fields, grid: Grid) -> Tensor:
        if grid.dim != 2 or not all(grid.periodic):
            raise InputError(f"A vorticity has its velocity by Fourier series on a periodic rectangle, not on {grid}.")
        w = fields[self.field][:, -1:]
        dx, dy, laplacian = spectral_derivatives(w, grid.lengths)
        psi = torch.fft.rfft2(w) / laplacian
        return torch.fft.irfft2(torch.cat([dy * psi, -dx * psi], 1), s=w.shape[-2:])


@dataclass(frozen=True)
class ChannelVelocity:
    """(4 y (L − y) / L², 0, ...): Poiseuille's flow along the first axis between walls at both ends of the second, of length L.

    In a bent channel that a grid is mapped to, these are about the contravariant components: as much flows through every section.
    """

    def __call__(self, fields: Fields, grid: Grid) -> Tensor:
        u = next(iter(fields.values()))
        y = torch.linspace(0, 1, u.shape[3], dtype=u.dtype, device=u.device)
        along = (4 * y * (1 - y)).view(1, 1, 1, -1, *[1] * (grid.dim - 2)).expand(1, 1, *u.shape[2:])
        return torch.cat([along, *[torch.zeros_like(along)] * (grid.dim - 1)], 1)


def transported(derivatives: Sequence[SparseMatrix], c: Tensor, u: Tensor) -> Tensor:
    """c·∇u at the nodes, as functionals ``(nodes, batch, channels)``, with c ``(nodes, batch or 1, dim)`` at the node that is tested.

    ∫ φ_i c·∇u with c at node i instead of in the integral, a difference of second order.
    """
    parts = [D.on_nodes(u) * along for D, along in zip(derivatives, c.split(1, dim=-1), strict=True)]
    return sum(parts[1:], parts[0])
