"""The term c·∇u of a sample's own operator: where the velocity c comes from, and the stencil."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
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

    The velocity depends on all of the vorticity (the law of Biot and Savart); cycles that are told of it need only carry. Of a history,
    whose last frame comes last, ω may be that of a later time, by the polynomial in time through the last frames.

    Good values: of a history, ``frames=3`` and ``ahead=0.5``, the middle of the step to the next frame, where a constant velocity carries
    with an error of third order. Errors of a rollout act through the velocity then, and are not carried on as a rate of change.

    Args:
        field: of the vorticity, with a channel for each frame.
        frames: that the polynomial goes through.
        ahead: time after the last frame, in units of that between two.

    Raises:
        InputError: no frames; in use, fewer channels than frames, or a grid that is not a periodic rectangle.
    """

    field: str
    frames: int = 1
    ahead: float = 0.0

    def __post_init__(self):
        if self.frames < 1:
            raise InputError(f"A vorticity is known from one frame at least, not from {self.frames}.")

    def __call__(self, fields: Fields, grid: Grid) -> Tensor:
        if grid.dim != 2 or not all(grid.periodic):
            raise InputError(f"A vorticity has its velocity by Fourier series on a periodic rectangle, not on {grid}.")
        history = fields[self.field]
        if history.shape[1] < self.frames:
            raise InputError(f"A velocity from {self.frames} frames was given {history.shape[1]} of {self.field!r}.")
        weights, latest = extrapolation(self.frames, self.ahead), history[:, -self.frames :].split(1, dim=1)
        parts = [weight * w for weight, w in zip(weights, latest, strict=True)]
        w = sum(parts[1:], parts[0])
        dx, dy, laplacian = spectral_derivatives(w, grid.lengths)
        psi = torch.fft.rfft2(w) / laplacian
        return torch.fft.irfft2(torch.cat([dy * psi, -dx * psi], 1), s=w.shape[-2:])


def extrapolation(frames: int, ahead: float) -> list[float]:
    """Lagrange's weights of frames at the times 1 − frames, ..., −1, 0, the oldest first, for the value at the time ``ahead``."""
    times = range(1 - frames, 1)
    return [prod((ahead - other) / (t - other) for other in times if other != t) for t in times]


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
