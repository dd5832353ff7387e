"""The energy of fields on periodic grids by wave number."""

from math import prod

import torch
from torch import Tensor

from ..errors import InputError
from ..fem import Grid


def energy_spectrum(grid: Grid, u: Tensor) -> tuple[Tensor, Tensor]:
    """½⟨|u|²⟩ by shells of the wave number ``(..., channel, x[, y[, z]]) -> (shells,), (..., shells)``.

    Shell n holds the modes with n − ½ ≤ |k| < n + ½ in periods of the box's longest side. By Parseval's identity the shells add up to the
    mean of ½|u|² over the box.

    Raises:
        InputError: an axis of the grid is not periodic.

    Example:
        >>> grid = Grid((32, 32), periodic=(True, True))
        >>> x, y = grid.coordinates(torch.float64)
        >>> k, energy = energy_spectrum(grid, torch.sin(2 * torch.pi * 3 * x)[None])
        >>> energy[3], energy.sum()  # ½⟨sin²⟩
        (tensor(0.2500, dtype=torch.float64), tensor(0.2500, dtype=torch.float64))
    """
    if not all(grid.periodic):
        raise InputError(f"A spectrum needs a grid that is periodic along each axis; this one is periodic: {grid.periodic}.")
    grid.check(u)
    axes = tuple(range(-grid.dim, 0))
    modes = torch.fft.fftn(u.double(), dim=axes) / prod(grid.shape)
    energy = modes.abs().square().sum(-grid.dim - 1) / 2
    longest = max(grid.lengths)
    frequencies = [torch.fft.fftfreq(n, 1 / n).double() * longest / L for n, L in zip(grid.shape, grid.lengths, strict=True)]
    number = torch.stack([k.square() for k in torch.meshgrid(*frequencies, indexing="ij")]).sum(0).sqrt()
    shell = (number + 0.5).floor().long().flatten().to(u.device)
    flat = energy.flatten(-grid.dim)
    sums = torch.zeros(*flat.shape[:-1], int(shell.max()) + 1, dtype=flat.dtype, device=u.device)
    return torch.arange(sums.shape[-1]), sums.index_add(-1, shell, flat)
