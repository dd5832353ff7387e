"""Errors by wave number: which scales a prediction has right."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ...errors import InputError
from ...fem.uniform_grid import Grid
from .metric import FieldMetric, Fields, over_frames


class SpectralError(FieldMetric):
    """Root mean square of u − v from the wave numbers of each band, the mean over channels and frames: one number for each band.

    A mode k of the discrete Fourier transform belongs to the band of ⌊|k|⌋, in periods of the box. By Parseval's identity the squares of
    all bands add up to the mean square of u − v. The bands of PDEBench (Takamoto et al., NeurIPS 2022, arXiv 2210.07182) are the default:
    low below 4, middle below 12, high from there.

    Args:
        grid: of the field.
        field: its name.
        bounds: where the second, third, ... band begins.
        relative: divide by the root mean square of v in the same band.

    Raises:
        InputError: bands do not begin at increasing positive wave numbers.
    """

    bands: Tensor

    def __init__(self, grid: Grid, field: str, bounds: Sequence[int] = (4, 12), relative: bool = False):
        super().__init__(field)
        if list(bounds) != sorted(set(bounds)) or not bounds or bounds[0] < 1:
            raise InputError(f"Bands begin at increasing positive wave numbers, not at {tuple(bounds)}.")
        self.grid, self.relative = grid, relative
        edges = [0, *bounds]
        self.labels = (*(f"k{a}_{b - 1}" for a, b in pairwise(edges)), f"k{edges[-1]}_up")
        axes = [torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in grid.shape]
        wave_number = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
        # Lengths of integer vectors: a root that rounding has put below an integer is meant to be it.
        number = (wave_number + 1e-9).floor()
        band = torch.bucketize(number, torch.tensor(bounds, dtype=torch.float64), right=True).flatten()
        one_hot = torch.nn.functional.one_hot(band, len(edges)).double()
        self.register_buffer("bands", one_hot, persistent=False)

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u, v = self.pair(prediction, truth)
        error = self._by_band(u - v)
        return error / self._by_band(v) if self.relative else error

    def _by_band(self, u: Tensor) -> Tensor:
        """``(batch, [time,] channel, x, y) -> (batch, bands)``."""
        self.grid.check(u)
        dim = self.grid.dim
        power = torch.fft.fftn(u, dim=tuple(range(-dim, 0)), norm="forward").abs().square().flatten(-dim)
        rms = (power @ self.bands.to(power)).sqrt()
        return torch.stack([over_frames(band) for band in rms.unbind(-1)], dim=1)
