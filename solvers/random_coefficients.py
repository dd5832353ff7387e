"""Random coefficients of diffusion on finite-element spaces: the published ones of the unit square, and log-normal ones anywhere."""

from collections.abc import Callable, Mapping
from functools import partial
from math import isqrt
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import InputError
from ..fem.firedrake import firedrake
from .domains import bounding_box
from .grid import NeumannField
from .grid.coefficients import multiscale_frequencies, trigonometric_product
from .random_field import MaternField
from .spectral_field import SpectralField, node_points, seed_and_sample


class RandomCoefficient(Protocol):
    """Whatever draws a positive Firedrake function from the state of a generator."""

    def sample(self, rng: np.random.Generator) -> Any: ...


class MultiscaleCoefficient:
    """The trigonometric coefficient of six scales, see :func:`thalweg.solvers.grid.multiscale_trigonometric`."""

    def __init__(self, A: Any, scales: int = 6):
        self.A, self.scales = A, scales
        self._x, self._y = torch.from_numpy(node_points(A)).unbind(1)

    def sample(self, rng: np.random.Generator) -> Any:
        seed, sample = seed_and_sample(rng)
        a = firedrake().Function(self.A)
        frequencies = multiscale_frequencies(seed, [sample], self.scales)
        a.dat.data_wo[...] = trigonometric_product(frequencies, self._x, self._y)[0].numpy()
        return a


class LogNormalCoefficient:
    """a = median · exp(Z) with a Matérn field Z of linear elements, on any mesh. Good values: ``length=0.3, deviation=1``."""

    def __init__(self, A: Any, median: float = 1.0, **matern: float):
        if median <= 0:
            raise InputError(f"The median of a log-normal coefficient must be positive, not {median:g}.")
        fd = firedrake()
        self.A, self.median = A, median
        self.field = MaternField(fd.FunctionSpace(A.mesh(), "Lagrange", 1), **matern)

    def sample(self, rng: np.random.Generator) -> Any:
        fd = firedrake()
        return fd.Function(self.A).interpolate(self.median * fd.exp(self.field.sample(rng)))


def two_phase(A: Any, tau: float, above: float, below: float) -> SpectralField:
    """``above`` where a Neumann field with α = 2 is at least zero, ``below`` elsewhere; as many modes as the mesh resolves."""
    cells = isqrt(A.mesh().num_vertices()) - 1
    field = NeumannField((cells, cells), alpha=2, tau=tau)
    return SpectralField(A, field, transform=lambda values: np.where(values >= 0, above, below))


#: The coefficients of the Darcy benchmarks (Li et al., arXiv 2010.08895; Liu et al., arXiv 2210.10890; He et al., arXiv 2310.19809).
PUBLISHED: dict[str, Callable[[Any], RandomCoefficient]] = {
    "smooth": partial(two_phase, tau=3, above=12, below=3),
    "rough": partial(two_phase, tau=5, above=12, below=2),
    "multiscale": MultiscaleCoefficient,
}


def random_coefficient(kind: str, A: Any, log_normal: Mapping[str, float] | None = None) -> RandomCoefficient:
    """A coefficient of a kind: ``smooth``, ``rough``, ``multiscale``, or ``log_normal`` with the given settings.

    Raises:
        InputError: an unknown kind, settings for another one, or a published coefficient on another domain than the unit square.
    """
    if kind == "log_normal":
        return LogNormalCoefficient(A, **(log_normal or {"length": 0.3}))
    if kind not in PUBLISHED:
        raise InputError(f"There is no coefficient of kind {kind!r}; choose one of {', '.join(PUBLISHED)}, log_normal.")
    if log_normal is not None:
        raise InputError(f"Settings of a log-normal field were given, but the coefficient is of kind {kind!r}.")
    low, high = bounding_box(A.mesh())
    if not np.allclose([low, high], [[0, 0], [1, 1]]):
        raise InputError(
            f"The coefficient of kind {kind!r} is defined on the unit square, but the mesh reaches from {low} to {high}. Choose "
            "kind log_normal, which is drawn on any mesh."
        )
    return PUBLISHED[kind](A)
