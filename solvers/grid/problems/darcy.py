"""Darcy flow on the unit square with random coefficients: the smooth, rough and multiscale benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ....errors import InputError
from ....fem.uniform_grid import Grid
from ..coefficients import multiscale_trigonometric, threshold
from ..darcy import Darcy
from ..problem import GridProblem, every_nth, take_every_nth
from ..random_fields import NeumannField


class Coefficient(Protocol):
    """A random coefficient, ``(batch, 1, nodes, nodes)``, a function of the seed and the samples' numbers."""

    def __call__(
        self, nodes: int, seed: int, samples: Sequence[int], dtype: torch.dtype, device: torch.device | str
    ) -> Tensor: ...


@dataclass(frozen=True)
class TwoPhase:
    """Two values, chosen by the sign of a Gaussian field with covariance τ^{2α−2}(−Δ + τ²)^{−α} and zero slope at the boundary.

    Good values: α = 2, τ = 3, 12 and 3 (smooth, Li et al., ICLR 2021, arXiv 2010.08895); τ = 5, 12 and 2 (rough).
    """

    alpha: float = 2.0
    tau: float = 3.0
    above: float = 12.0
    below: float = 3.0

    def __call__(self, nodes: int, seed: int, samples: Sequence[int], dtype: torch.dtype, device: torch.device | str) -> Tensor:
        field = NeumannField((nodes - 1, nodes - 1), alpha=self.alpha, tau=self.tau)
        values = field.sample(seed, samples, dtype=torch.float64, device=device)
        return threshold(values, above=self.above, below=self.below).to(dtype)


@dataclass(frozen=True)
class MultiscaleTrigonometric:
    """The product of cosines and sines of random frequencies in dyadic ranges; see :func:`multiscale_trigonometric`."""

    scales: int = 6

    def __call__(self, nodes: int, seed: int, samples: Sequence[int], dtype: torch.dtype, device: torch.device | str) -> Tensor:
        return multiscale_trigonometric(nodes, seed, samples, scales=self.scales, dtype=dtype, device=device)


@dataclass(frozen=True)
class LogNormal:
    """exp of a Gaussian field with covariance σ²(−Δ + τ²)^{−α}, zero slope at the boundary and mean zero.

    The defaults have values from a tenth to ten, and correlate over a third of the side.
    """

    alpha: float = 2.0
    tau: float = 3.0
    sigma: float = 12.0

    def logarithm(self, nodes: int) -> NeumannField:
        """The Gaussian field on a grid of so many nodes along each axis."""
        return NeumannField((nodes - 1, nodes - 1), alpha=self.alpha, tau=self.tau, sigma=self.sigma)

    def __call__(self, nodes: int, seed: int, samples: Sequence[int], dtype: torch.dtype, device: torch.device | str) -> Tensor:
        return self.logarithm(nodes).sample(seed, samples, dtype=torch.float64, device=device).exp().to(dtype)


class GridDarcy(GridProblem):
    """−div(a grad u) = 1 in the unit square, u = 0 on its boundary, for a random coefficient a.

    Input ``a``, output ``u``, both ``(batch, 1, x, y)`` at every ``every``-th of the solver's nodes, from the corner at the origin.
    Published benchmarks: 421 nodes and every 2nd (smooth), 512 and every 2nd (rough), 1023 and every 4th (multiscale); where the last
    node is not among those kept, the stored grid ends before the boundary.

    Args:
        coefficient: :class:`TwoPhase`, :class:`LogNormal` or :class:`MultiscaleTrigonometric`, or a function like them.
        nodes: of the solver along each axis, boundary included.
        every: distance of the stored nodes, in nodes.
        tolerance: of the solver's relative residual.

    Raises:
        InputError: so few of the nodes are stored that they are no grid.
    """

    inputs = ("a",)
    outputs = ("u",)

    def __init__(self, coefficient: Coefficient, nodes: int = 421, every: int = 2, tolerance: float = 1e-8):
        if every < 1 or nodes < 2 * every + 1:
            raise InputError(f"Of {nodes} nodes every {every}-th leaves no grid; store more of them.")
        self.coefficient, self.nodes, self.every = coefficient, nodes, every
        self.grid = every_nth(Grid((nodes, nodes)), every)
        self._darcy = Darcy((nodes, nodes), tolerance=tolerance)

    def random_inputs(self, seed: int, samples: Sequence[int]) -> dict[str, Tensor]:
        return {"a": self.coefficient(self.nodes, seed, samples, self.dtype, self.device)}

    def solve(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"u": take_every_nth(self._darcy.solve(inputs["a"]), self.every)}

    def stored(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"a": take_every_nth(inputs["a"], self.every)}
