"""Sub-grids as an ensemble: each one's coarse solution everywhere, their mean, their spread as uncertainty, and how far to trust it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, sqrt

import torch
from scipy.special import stdtr
from torch import Tensor

from ...errors import InputError
from .decomposition import Decomposition


def interpolated(
    part: Tensor, decomposition: Decomposition, sub_grid: int, shape: Sequence[int], periodic: Sequence[bool]
) -> Tensor:
    """The values of one sub-grid ``(..., X, Y[, Z])`` at all points of the full grid, ``(..., x, y[, z])``.

    Along periodic axes the trigonometric interpolant, along others the piecewise cubic polynomial of the four nearest points, which is
    extrapolated beyond the ends by less than the factor.

    Raises:
        InputError: the part is no sub-grid of such a grid.
    """
    coarse = decomposition.coarse_shape(shape)
    if tuple(part.shape[-decomposition.dim :]) != coarse or not 0 <= sub_grid < decomposition.num_sub_grids:
        raise InputError(f"Sub-grid {sub_grid} of {tuple(shape)} points has {coarse} of them, not {tuple(part.shape)}.")
    axes = zip(decomposition.offsets[sub_grid], decomposition.space, coarse, shape, periodic, strict=True)
    for axis, (offset, factor, points, wanted, wraps) in enumerate(axes):
        at = (torch.arange(wanted, dtype=torch.float64) - offset) / factor
        matrix = (_trigonometric if wraps else _cubic)(at, points).to(part)
        lead = axis - decomposition.dim
        part = (part.movedim(lead, -1) @ matrix.T).movedim(-1, lead)
    return part


@dataclass(frozen=True)
class Ensemble:
    """Mean and standard deviation over the sub-grids' solutions at each point, ``(..., x, y[, z])``, and how many there are.

    The spread knows what the coarse solvers do not agree on: errors of networks, and what one sub-grid cannot represent. Errors that
    all have in common, such as that of the time stepping, it does not know.
    """

    mean: Tensor
    spread: Tensor
    members: int

    @classmethod
    def of(
        cls, parts: Tensor, decomposition: Decomposition, shape: Sequence[int], periodic: Sequence[bool], sub_grids: Sequence[int]
    ) -> "Ensemble":
        """From the solutions of some sub-grids, ``(sub-grids, ..., X, Y[, Z])``, two or more.

        Raises:
            InputError: fewer than two, or not as many as are named.
        """
        if len(parts) != len(sub_grids) or len(parts) < 2:
            raise InputError(
                f"An ensemble has two sub-grids or more; got {len(parts)} solutions of the sub-grids {list(sub_grids)}."
            )
        full = torch.stack(
            [interpolated(part, decomposition, s, shape, periodic) for part, s in zip(parts, sub_grids, strict=True)]
        )
        return cls(full.mean(0), full.std(0), len(full))

    @property
    def predicted(self) -> Tensor:
        """The standard deviation √(1 + 1/m) · spread of what is not a member about the mean, if it is like one."""
        return sqrt(1 + 1 / self.members) * self.spread

    def scaled(self, factor: float) -> "Ensemble":
        """With spreads times a factor that was found where the reference is known, see :class:`~thalweg.training.SpreadCalibration`."""
        return Ensemble(self.mean, factor * self.spread, self.members)

    def calibration(self, reference: Tensor) -> dict[str, float]:
        """How the spread compares with the mean's error over all points.

        ``spread_skill`` is √((1 + 1/m)⟨spread²⟩) over the root mean square error (Fortin et al., J. Hydrometeorol. 15, 2014): 1 if the
        reference behaves like one more member, below 1 if the ensemble is too sure of itself. ``correlation`` is that of the spread with
        the error's size. ``coverage_1`` and ``coverage_2`` are the shares of points within one and two spreads, and
        ``calibration_error`` is the largest difference between such shares and those of Student's distribution, from 0.1 to 3 spreads.
        """
        error = (self.mean - reference).abs().flatten()
        spread = self.spread.flatten()
        predicted = self.predicted.flatten()
        widths = torch.linspace(0.1, 3.0, 30, dtype=torch.float64)
        shares = [float((error <= float(z) * predicted).double().mean()) for z in widths]
        nominal = 2 * stdtr(self.members - 1, widths.numpy()) - 1
        pair = torch.stack([spread, error]).double()
        return {
            "spread_skill": float(predicted.square().mean().sqrt() / error.square().mean().sqrt()),
            "correlation": float(torch.corrcoef(pair)[0, 1]),
            "coverage_1": float((error <= predicted).double().mean()),
            "coverage_2": float((error <= 2 * predicted).double().mean()),
            "calibration_error": max(abs(a - float(b)) for a, b in zip(shares, nominal, strict=True)),
        }


def _trigonometric(at: Tensor, points: int) -> Tensor:
    """Values at positions ``at`` (in points) of the trigonometric interpolant of a periodic axis, ``(at, points)``."""
    x = (at[:, None] - torch.arange(points)) * (2 * pi / points)
    k = torch.arange(1, (points - 1) // 2 + 1, dtype=torch.float64)
    total = 1 + 2 * torch.cos(x[..., None] * k).sum(-1)
    if points % 2 == 0:
        total = total + torch.cos(x * (points / 2))
    return total / points


def _cubic(at: Tensor, points: int) -> Tensor:
    """Lagrange's polynomial of the four nearest points, or of all where there are fewer."""
    count = min(4, points)
    first = (at.floor().long() - 1).clamp(0, points - count)
    nodes = first[:, None] + torch.arange(count)
    matrix = torch.zeros(len(at), points, dtype=torch.float64)
    for j in range(count):
        weight = torch.ones_like(at)
        for i in range(count):
            if i != j:
                weight = weight * (at - nodes[:, i]) / (nodes[:, j] - nodes[:, i])
        matrix[torch.arange(len(at)), nodes[:, j]] += weight
    return matrix
