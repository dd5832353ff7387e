"""What a problem on a uniform grid is: its grid, its random inputs and its reference solution, batched in torch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ...fem.uniform_grid import Grid, Grids

#: The name of the grid among the spaces of a data set.
GRID = "grid"


class GridProblem(ABC):
    """A PDE on a uniform grid with random inputs, solved in batches by torch, on the CPU or the GPU.

    A subclass sets the attributes and implements the two methods. Its arrays are ``(batch, channel, x, y[, z])``, trajectories
    ``(batch, time, channel, x, y[, z])``; numbers of a sample are ``(batch,)``.

    Attributes:
        grid: of the stored fields; the solver may work on a finer one.
        inputs, outputs: names of the fields an operator is given, and of those it predicts. A field that is both is the state of a time
            stepper: the input is its first frame.
        places: for fields that are not on ``grid``, the name of theirs among those of :meth:`export`.
        times: of the frames of trajectories, the initial one included; None where there are none.
        dtype, device: what is computed in and where.
    """

    grid: Grid
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    places: Mapping[str, str] = MappingProxyType({})
    times: np.ndarray | None = None
    dtype: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")

    @abstractmethod
    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        """The inputs of some samples, on the solver's grid; each a function of (seed, its number) alone, whatever the batch."""

    @abstractmethod
    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs for given inputs, on ``grid``.

        Raises:
            DivergedError: the solver failed for a sample of the batch.
        """

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs as they are stored, on ``grid``; numbers of a sample, ``(batch,)``, are its parameters."""
        return dict(inputs)

    def to(self, device: torch.device | str) -> Self:
        """Draw and solve on a device."""
        self.device = torch.device(device)
        return self

    def export(self) -> Grids:
        """What operators of this problem live on."""
        return Grids({GRID: self.grid})


def every_nth(grid: Grid, n: int) -> Grid:
    """The grid of every ``n``-th point along each axis, from the first; what lies beyond the last of them is left out."""
    if n == 1:
        return grid
    shape = tuple(-(-points // n) for points in grid.shape)
    lengths = [h * n * (m if wraps else m - 1) for h, m, wraps in zip(grid.spacings, shape, grid.periodic, strict=True)]
    return Grid(shape, tuple(lengths), grid.periodic, grid.location)


def take_every_nth(u: Tensor, n: int, dim: int = 2) -> Tensor:
    """Values of a field ``(..., x, y[, z])`` at the points of :func:`every_nth`."""
    return u if n == 1 else u[(..., *[slice(None, None, n)] * dim)].contiguous()
