"""Poisson's equation on the unit square for random sums of sines, a benchmark with an exact solution."""

from collections.abc import Mapping, Sequence
from math import pi

import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ..counter_random import uniform_pairs
from ..problem import GridProblem


class PoissonOfSines(GridProblem):
    """−Δu = f in the unit square, u = 0 on its boundary, for f = π/K² Σ a_ij (i² + j²)^½ sin(πix) sin(πjy), i, j = 1, ..., K.

    The a_ij are uniform on [−1, 1]. Input ``f``, output ``u``, both ``(batch, 1, x, y)`` at the nodes, boundary included; u is exact but
    for rounding for every f that is such a sum.

    Good values: the defaults, the first of the representative PDE benchmarks of Raonić et al. (NeurIPS 2023, arXiv 2302.01178).

    Args:
        nodes: along each axis, boundary included.
        modes: K.

    Raises:
        InputError: more modes than the grid can tell apart.
    """

    inputs = ("f",)
    outputs = ("u",)

    def __init__(self, nodes: int = 64, modes: int = 16):
        if not 1 <= modes <= nodes - 2:
            raise InputError(
                f"A grid of {nodes} nodes along an axis has 1 to {nodes - 2} sines, not {modes}. Change nodes or modes."
            )
        self.grid = Grid((nodes, nodes))
        self.modes = modes

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        k = torch.arange(1, self.modes + 1, device=self.device)
        uniform, _ = uniform_pairs(seed, samples, torch.meshgrid(k, k, indexing="ij"))
        coefficients = pi / self.modes**2 * (2 * uniform - 1) * self._squares(self.modes).sqrt()
        return {"f": self._sum(coefficients).to(self.dtype)[:, None]}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # As many sines as the grid can tell apart: any f is solved for, not those drawn here alone.
        modes = self.grid.shape[0] - 2
        sines = self._sines(modes)
        coefficients = sines.T @ inputs["f"][:, 0].double() @ sines * (2 / (modes + 1)) ** 2
        return {"u": self._sum(coefficients / (pi**2 * self._squares(modes))).to(self.dtype)[:, None]}

    def _sum(self, coefficients: Tensor) -> Tensor:
        """Σ c_ij sin(πix) sin(πjy) at the nodes, ``(batch, K, K) -> (batch, x, y)``."""
        sines = self._sines(coefficients.shape[-1])
        return sines @ coefficients @ sines.T

    def _sines(self, modes: int) -> Tensor:
        """sin(πkx) at the nodes of an axis, ``(x, k)``, exactly zero at its ends."""
        x = torch.arange(self.grid.shape[0], dtype=torch.float64, device=self.device) / (self.grid.shape[0] - 1)
        sines = torch.sin(pi * x[:, None] * torch.arange(1, modes + 1, device=self.device))
        sines[[0, -1]] = 0
        return sines

    def _squares(self, modes: int) -> Tensor:
        k2 = torch.arange(1, modes + 1, dtype=torch.float64, device=self.device) ** 2
        return k2[:, None] + k2
