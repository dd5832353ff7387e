"""Burgers' equation with viscosity on a periodic interval, by a dealiased Fourier-Galerkin method."""

from collections.abc import Callable
from functools import partial
from math import pi

import torch
from torch import Tensor, nn

from ...errors import DivergedError, InputError
from .rollouts import State, rollout, uniform_intervals
from .runge_kutta import ARK436, Scheme, imaginary_limit


class BurgersEquation(nn.Module):
    """∂u/∂t + u ∂u/∂x = ν ∂²u/∂x² on a periodic interval, u ``(batch, 1, x)``.

    Modes beyond two thirds of the Nyquist frequency are zero, so the product in ½ ∂(u²)/∂x has no aliasing error: the mean is conserved,
    and the energy changes by viscosity only. Everything is differentiable.

    Good values: waves of unit size with ν = 0.1 on an interval of length 2π have layers of width ν, which 1024 points resolve;
    ``dt`` around Δx / max|u|.

    Args:
        points: of the grid.
        length: of the interval.
        viscosity: ν > 0, length²/time.

    Raises:
        InputError: too few points, or a length or viscosity that is not positive.
    """

    k: Tensor
    kept: Tensor
    linear: Tensor
    derivative: Tensor

    def __init__(
        self,
        points: int,
        length: float = 1.0,
        *,
        viscosity: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        super().__init__()
        if points < 4 or not length > 0 or not viscosity > 0:
            raise InputError(
                f"Burgers' equation needs 4 points or more, a positive length and viscosity; got {points}, {length} and {viscosity}."
            )
        self.points, self.length = points, length
        wave_numbers = torch.arange(points // 2 + 1, dtype=torch.float64)
        kept = 3 * wave_numbers < points
        k = 2 * pi / length * wave_numbers
        zero = torch.zeros_like(k)
        # Complex factors as real pairs: a module's change of dtype would drop the imaginary part of complex numbers.
        buffers = {
            "k": k * kept,
            "kept": torch.stack([kept.double(), zero], -1),
            "linear": torch.stack([-viscosity * k**2, zero], -1),
            "derivative": torch.stack([zero, -k / 2 * kept], -1),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.to(device, dtype), persistent=False)

    def rate(self, u: Tensor) -> Tensor:
        """∂u/∂t of the discrete equation."""
        spectrum = self._spectrum(self._checked(u))
        return self._values(torch.view_as_complex(self.linear) * spectrum + self._nonlinear(spectrum))

    def solve(
        self, u: Tensor, interval: float, frames: int, *, dt: float, scheme: Scheme = ARK436, segment: int | None = None
    ) -> Tensor:
        """u at the times 0, interval, ..., frames · interval: ``(batch, frames + 1, 1, x)``.

        The first frame is ``u`` without the modes beyond two thirds of the Nyquist frequency. Each interval takes equal steps, the
        fewest that are no longer than ``dt``. With gradients, ``segment`` steps at a time are stored
        (:func:`~thalweg.solvers.grid.rollouts.rollout`).

        Raises:
            InputError: a wrong shape or dtype, impossible times.
            DivergedError: a step too long for the velocity, looked at once a frame, or values that are not finite at the end.
        """
        linear = torch.view_as_complex(self.linear)

        def stepper(h: float) -> Callable[[State], State]:
            step = scheme.stepper(linear, self._nonlinear, h)
            return lambda state: (step(state[0]),)

        start = (self._spectrum(self._checked(u)),)
        intervals = uniform_intervals(interval, frames)
        spectra = rollout(stepper, start, intervals, dt=dt, segment=segment, check=partial(self._check_step, scheme))
        result = self._values(torch.stack([spectrum for (spectrum,) in spectra], 1))
        if not bool(torch.isfinite(result[:, -1]).all()):
            raise DivergedError(f"The wave left the finite numbers with dt = {dt:.3g}. Use a smaller dt or more points.")
        return result

    def _spectrum(self, u: Tensor) -> Tensor:
        return torch.fft.rfft(u) * torch.view_as_complex(self.kept)

    def _values(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft(spectrum, n=self.points)

    def _nonlinear(self, spectrum: Tensor) -> Tensor:
        """Spectrum of −½ ∂(u²)/∂x."""
        return torch.fft.rfft(self._values(spectrum).square()) * torch.view_as_complex(self.derivative)

    def _check_step(self, scheme: Scheme, state: State, h: float) -> None:
        """Whether the scheme is stable for the fastest oscillation, max|u| k."""
        with torch.no_grad():
            frequency = float(self._values(state[0]).abs().max() * self.k.max())
        limit = imaginary_limit(scheme)
        if not h * frequency <= limit:  # true for NaN, too
            raise DivergedError(
                f"Steps of {h:.3g} are too long for this wave: the scheme is stable up to {limit / frequency:.3g} with its velocity and "
                "grid. Use a smaller dt."
            )

    def _checked(self, u: Tensor) -> Tensor:
        if u.dim() != 3 or tuple(u.shape[1:]) != (1, self.points):
            raise InputError(f"The wave has shape {tuple(u.shape)}; expected (batch, 1, {self.points}).")
        if u.dtype != self.k.dtype:
            raise InputError(
                f"The wave is {u.dtype}, the equation {self.k.dtype}. Convert one, or build the equation with dtype=."
            )
        return u
