"""Gaussian random fields on uniform grids by their Karhunen-Loève series: periodic, with zero slope, or zero at the boundary.

Covariance operator σ²(−Δ + τ²)^{−α} on a box; the boundary conditions of the Laplacian are those of the field. With
σ = τ^{α − d/2} these are the inputs of the Fourier neural operator's benchmarks (Li et al., ICLR 2021, arXiv 2010.08895).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import pi, prod, sqrt

import torch
from torch import Tensor

from ...errors import InputError
from .counter_random import normal_pairs
from .transforms import cosine_series, sine_series


class GaussianField(ABC):
    """u(x) = Σ_k √λ_k ξ_k φ_k(x), ξ_k standard normal, φ_k the orthonormal eigenfunctions of −Δ, λ_k = σ²(μ_k + τ²)^{−α}.

    Sample i depends on (seed, i) alone: not on the batch it is drawn in, not on the device but for rounding, and not on the grid,
    which only decides how many modes are kept. Two grids show the same function, up to the modes that the coarser one lacks.

    Args:
        cells: cells of the grid along each axis, one to three axes.
        lengths: sides of the box; 1 each by default.
        alpha: decay of the spectrum; samples are continuous for ``alpha > d/2`` (published: 2.5 periodic, 2 Neumann).
        tau: inverse correlation length (published: 7 periodic, 3 or 5 Neumann).
        sigma: amplitude; ``tau ** (alpha - d/2)`` by default, with which the variance is nearly independent of ``tau``:
            about 1/(4π(α − 1)) in two dimensions, a standard deviation of 0.23 for α = 2.5.
        zero_mode: keep the constant eigenfunction where there is one; without it every sample has mean zero.
        centred: values at the centres of the cells instead of at the nodes. Periodic fields have as many nodes as cells,
            the others one more along each axis, boundary included.

    Raises:
        InputError: no grid, an impossible covariance.

    Example:
        >>> field = PeriodicField((64, 64), alpha=2.5, tau=7)
        >>> a, b = field.sample(0, [3, 5]), field.sample(0, [5])
        >>> a.shape, bool((a[1] - b[0]).abs().max() < 1e-6)
        (torch.Size([2, 1, 64, 64]), True)
    """

    def __init__(
        self,
        cells: Sequence[int],
        lengths: Sequence[float] | None = None,
        *,
        alpha: float,
        tau: float,
        sigma: float | None = None,
        zero_mode: bool = False,
        centred: bool = False,
    ):
        self.cells = tuple(cells)
        self.lengths = tuple(lengths) if lengths is not None else (1.0,) * len(self.cells)
        dim = len(self.cells)
        if dim not in (1, 2, 3) or min(self.cells) < 2 or len(self.lengths) != dim or min(self.lengths) <= 0:
            raise InputError(
                f"A random field needs one to three axes of at least 2 cells each and as many positive lengths; got cells "
                f"{self.cells} and lengths {self.lengths}."
            )
        if alpha <= 0 or tau < 0 or (tau == 0 and (zero_mode or sigma is None)) or (sigma is not None and sigma <= 0):
            raise InputError(
                f"A covariance σ²(−Δ + τ²)^(−α) needs positive alpha, tau and sigma; got alpha {alpha}, tau {tau}, sigma {sigma}. "
                "tau = 0 is possible without the zero mode and with sigma given."
            )
        self.sigma = sigma if sigma is not None else tau ** (alpha - dim / 2)
        self.centred = centred
        self.modes = torch.meshgrid(*self._wave_numbers(), indexing="ij")
        k2 = torch.stack([(self._base * k.double() / L) ** 2 for k, L in zip(self.modes, self.lengths, strict=True)]).sum(0)
        variances = self.sigma**2 * (k2 + tau**2) ** (-alpha)
        kept = self._kept()
        if zero_mode and not bool((kept & (k2 == 0)).any()):
            raise InputError(
                f"A {type(self).__name__} has no zero mode to keep: its functions vanish at the boundary. Leave out zero_mode."
            )
        #: λ_k for each mode of ``modes``; zero for modes that the field leaves out.
        self.eigenvalues = torch.where(kept & ((k2 > 0) | zero_mode), variances, 0.0)

    def sample(
        self,
        seed: int,
        samples: Sequence[int],
        *,
        stream: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Samples ``(batch, 1, x[, y[, z]])`` numbered by ``samples``, for example ``range(64)``.

        ``stream`` tells apart independent fields of one sample. The random numbers are drawn on ``device``, in double precision.
        """
        return self._series(*self._coefficients(seed, samples, stream, device)).to(dtype)[:, None]

    def evaluate(self, points: Tensor, seed: int, samples: Sequence[int], *, stream: int = 0) -> Tensor:
        """The same samples at any points ``(n, dim)`` of the box: values ``(batch, n)``, computed in double precision.

        Raises:
            InputError: the points have another dimension than the box.
        """
        if points.dim() != 2 or points.shape[1] != len(self.cells):
            raise InputError(
                f"Points in a box of {len(self.cells)} axes have shape (n, {len(self.cells)}), not {tuple(points.shape)}."
            )
        coefficients = self._coefficients(seed, samples, stream, points.device)
        return self._expansion(coefficients, points.double())

    def _coefficients(self, seed: int, samples: Sequence[int], stream: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """√λ_k times two independent standard normal variates of each mode."""
        modes = [k.to(device) for k in self.modes]
        # Three words of the counter are the wave number, the fourth is the stream.
        counter = modes + [torch.zeros_like(modes[0])] * (3 - len(modes)) + [torch.full_like(modes[0], stream)]
        sqrt_eigenvalues = self.eigenvalues.to(device).sqrt()
        real, imaginary = normal_pairs(seed, samples, self._canonical(counter))
        return sqrt_eigenvalues * real, sqrt_eigenvalues * imaginary

    def _angles(self, points: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each axis the phases ``(distinct, modes)`` of its distinct coordinates, and which of them each point has."""
        angles = []
        for axis, (k, L) in enumerate(zip(self._wave_numbers(), self.lengths, strict=True)):
            x, which = points[:, axis].unique(return_inverse=True)
            angles.append((self._base / L * x[:, None] * k.to(points), which))
        return angles

    _base: float

    @abstractmethod
    def _wave_numbers(self) -> list[Tensor]:
        """Integer wave numbers along each axis, times ``_base``/length the frequency."""

    @abstractmethod
    def _kept(self) -> Tensor:
        """Modes that the grid resolves."""

    def _canonical(self, counter: list[Tensor]) -> list[Tensor]:
        return counter

    @abstractmethod
    def _series(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Values ``(batch, x[, y[, z]])`` for random coefficients of the modes."""

    @abstractmethod
    def _expansion(self, coefficients: tuple[Tensor, Tensor], points: Tensor) -> Tensor:
        """Values ``(batch, n)`` of the same series at points ``(n, dim)``."""


class PeriodicField(GaussianField):
    """The periodic field. Good values, those of the Navier-Stokes benchmark: ``PeriodicField((64, 64), alpha=2.5, tau=7)``.

    Its variance is the same everywhere: the sum of λ_k over all wave numbers. Modes at the Nyquist frequency are left out. See
    :class:`GaussianField`.
    """

    _base = 2 * pi

    def _wave_numbers(self) -> list[Tensor]:
        full = [torch.fft.fftfreq(n, 1 / n).round().long() for n in self.cells[:-1]]
        return [*full, torch.arange(self.cells[-1] // 2 + 1)]

    def _kept(self) -> Tensor:
        return torch.stack([2 * k.abs() < n for k, n in zip(self.modes, self.cells, strict=True)]).all(0)

    def _sign(self, modes: Sequence[Tensor]) -> Tensor:
        """−1 for the modes whose coefficient is the conjugate of that of −k, which stands for both; 0 for k = 0."""
        sign = torch.zeros_like(modes[0])
        for k in modes[::-1]:
            sign = torch.where(sign == 0, k.sign(), sign)
        return sign

    def _canonical(self, counter: list[Tensor]) -> list[Tensor]:
        sign = self._sign(counter[: len(self.cells)])
        return [k * torch.where(sign < 0, -1, 1) for k in counter[:3]] + counter[3:]

    def _hermitian(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """The complex coefficients of the modes that are kept, half of all."""
        sign = self._sign([k.to(real.device) for k in self.modes])
        # E|ξ|² = 1 where a pair ±k shares two variates; the constant has one, which is real.
        return torch.complex(real, sign * imaginary) * torch.where(sign == 0, 1.0, sqrt(0.5))

    def _expansion(self, coefficients: tuple[Tensor, Tensor], points: Tensor) -> Tensor:
        half = self._hermitian(*coefficients)
        weights = torch.where(self.modes[-1].to(points.device) == 0, 1.0, 2.0)  # modes along the last axis stand for ±k
        waves = [(torch.polar(torch.ones_like(a), a), which) for a, which in self._angles(points)]
        return _separable(weights * half, waves).real / sqrt(prod(self.lengths))

    def _series(self, real: Tensor, imaginary: Tensor) -> Tensor:
        coefficients = self._hermitian(real, imaginary)
        if self.centred:
            modes = [k.to(real.device) for k in self.modes]
            phase = torch.stack([pi * k.double() / n for k, n in zip(modes, self.cells, strict=True)]).sum(0)
            coefficients = coefficients * torch.polar(torch.ones_like(phase), phase)
        axes = tuple(range(-len(self.cells), 0))
        return torch.fft.irfftn(coefficients, s=self.cells, dim=axes, norm="forward") / sqrt(prod(self.lengths))


class NeumannField(GaussianField):
    """The field with zero normal derivative at the boundary, a cosine series.

    Good values, those of the Darcy benchmarks: ``NeumannField((420, 420), alpha=2, tau=3)``, and ``tau=5`` for a rougher one. See
    :class:`GaussianField`.
    """

    _base = pi

    def _wave_numbers(self) -> list[Tensor]:
        return [torch.arange(n + 1) for n in self.cells]

    def _kept(self) -> Tensor:
        return torch.stack([k < n for k, n in zip(self.modes, self.cells, strict=True)]).all(0)

    def _normalised(self, real: Tensor) -> Tensor:
        for k, L in zip(self.modes, self.lengths, strict=True):
            real = real * torch.where(k == 0, 1.0, sqrt(2)).to(real) / sqrt(L)
        return real

    def _expansion(self, coefficients: tuple[Tensor, Tensor], points: Tensor) -> Tensor:
        return _separable(self._normalised(coefficients[0]), [(a.cos(), which) for a, which in self._angles(points)])

    def _series(self, real: Tensor, imaginary: Tensor) -> Tensor:
        real = self._normalised(real)
        for axis in range(len(self.cells)):
            real = cosine_series(real, axis + 1, self.centred)
        return real


class DirichletField(GaussianField):
    """The field that is zero at the boundary, a sine series. Good values: ``DirichletField((128, 128), alpha=2, tau=3)``.

    See :class:`GaussianField`; there is no zero mode.
    """

    _base = pi

    def _wave_numbers(self) -> list[Tensor]:
        return [torch.arange(n + 1) for n in self.cells]

    def _kept(self) -> Tensor:
        return torch.stack([(k > 0) & (k < n) for k, n in zip(self.modes, self.cells, strict=True)]).all(0)

    def _expansion(self, coefficients: tuple[Tensor, Tensor], points: Tensor) -> Tensor:
        real = coefficients[0] * sqrt(2 ** len(self.cells) / prod(self.lengths))
        return _separable(real, [(a.sin(), which) for a, which in self._angles(points)])

    def _series(self, real: Tensor, imaginary: Tensor) -> Tensor:
        for axis, L in enumerate(self.lengths):
            real = sine_series(real * sqrt(2 / L), axis + 1, self.centred)
        return real


def _separable(coefficients: Tensor, factors: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Σ_k c_k Π_axis φ_axis(k, x): coefficients ``(batch, *modes)``, and for each axis a table ``(distinct, modes)`` and its rows."""
    (table, which), *others = factors
    values = torch.einsum("bk...,nk->bn...", coefficients, table)[:, which]
    for table, which in others:
        values = torch.einsum("bnk...,nk->bn...", values, table[which])
    return values
