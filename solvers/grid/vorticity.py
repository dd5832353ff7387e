"""The two-dimensional Navier-Stokes equations on a periodic rectangle, in vorticity form, by a dealiased Fourier-Galerkin method."""

from collections.abc import Callable, Sequence
from functools import partial
from math import pi

import torch
from torch import Tensor, nn

from ...errors import DivergedError, InputError
from .rollouts import State, intervals_between, rollout, uniform_intervals
from .runge_kutta import ARK436, Scheme, imaginary_limit


class VorticityEquation(nn.Module):
    """∂ω/∂t + u·∇ω = νΔω − γω + g, u = (∂_y ψ, −∂_x ψ), −Δψ = ω, on a periodic rectangle; g is the curl of the body force.

    Vorticity is ``(batch, 1, x, y)``, velocity ``(batch, 2, x, y)``. Modes beyond two thirds of the Nyquist frequency are zero, so the
    quadratic term has no aliasing error, and energy and enstrophy change by viscosity, drag and forcing only. The nonlinear
    term is (∂_xx − ∂_yy)(u_x u_y) + ∂_x ∂_y (u_y² − u_x²), which needs four transforms (Basdevant, J. Comput. Phys. 50, 1983).
    Everything is differentiable.

    Good values: the benchmark of Li et al. (ICLR 2021, arXiv 2010.08895) has ``VorticityEquation((256, 256), viscosity=1e-5,
    forcing=diagonal_forcing((256, 256)))``, initial vorticity ``PeriodicField((256, 256), alpha=2.5, tau=7)``, frames at unit times,
    for which ``dt=5e-3`` is converged. Beyond that, ``dt`` around 0.5 · Δx / max|u|.

    Spectra are ``(batch, 1, k_y, k_x)`` with 0 ≤ k_y < n_y/3 only, which makes the transforms along x a third fewer, and their results
    contiguous.

    Args:
        shape: points along x and y.
        lengths: sides of the rectangle.
        viscosity: ν > 0, length²/time; a number, or one for each sample, ``(batch,)``.
        forcing: g, ``(x, y)`` for all samples or ``(batch, 1, x, y)``; none by default. Its mean, which no body force has, is dropped.
        drag: γ ≥ 0, 1/time.

    Raises:
        InputError: too few points, wrong shapes or signs.
    """

    k: Tensor
    inverse_k2: Tensor
    curl: Tensor
    products: Tensor
    kept: Tensor
    linear: Tensor
    source: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        lengths: Sequence[float] = (1.0, 1.0),
        *,
        viscosity: float | Tensor,
        forcing: Tensor | None = None,
        drag: float = 0.0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        super().__init__()
        if len(shape) != 2 or min(shape) < 4 or len(lengths) != 2 or min(lengths) <= 0:
            raise InputError(f"The grid needs two axes of 4 points or more and two positive lengths; got {shape} and {lengths}.")
        nu = torch.as_tensor(viscosity, dtype=torch.float64, device=device)
        if nu.dim() > 1 or not bool((nu > 0).all()) or drag < 0:
            raise InputError(
                f"Viscosity must be positive, a number or one for each sample, and drag not negative; got {viscosity} and {drag}."
            )
        self.shape, self.lengths = tuple(shape), tuple(lengths)
        (nx, ny), (Lx, Ly) = self.shape, self.lengths
        self._columns = (ny + 2) // 3
        mx, my = torch.meshgrid(torch.fft.fftfreq(nx, 1 / nx).round(), torch.arange(float(self._columns)), indexing="xy")
        k = 2 * pi * torch.stack([mx.double() / Lx, my.double() / Ly])
        k2 = (k**2).sum(0)
        kept = (3 * mx.abs() < nx) & (k2 > 0)
        inverse_k2 = torch.where(kept, 1 / k2.clamp_min(1e-300), 0.0)
        zero = torch.zeros_like(k)
        # Complex factors as real pairs: a module's change of dtype would drop the imaginary part of complex numbers. Those that are
        # real are pairs as well, because torch multiplies complex numbers by real ones after a copy.
        buffers = {
            "k": k,
            "inverse_k2": inverse_k2,
            "curl": torch.stack([zero, torch.stack([k[1], -k[0]]) * inverse_k2], -1),
            "products": torch.stack([torch.where(kept, torch.stack([k[0] ** 2 - k[1] ** 2, k[0] * k[1]]), 0.0), zero], -1),
            "kept": torch.stack([kept.double(), zero[0]], -1),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.to(device, dtype), persistent=False)
        linear = -(nu[:, None, None, None] if nu.dim() else nu) * k2.to(device) - drag
        self.register_buffer("linear", torch.stack([linear, torch.zeros_like(linear)], -1).to(dtype), persistent=False)
        g = torch.zeros(self.shape) if forcing is None else forcing
        if tuple(g.shape[-2:]) != self.shape or g.dim() not in (2, 4) or (g.dim() == 4 and g.shape[1] != 1):
            raise InputError(f"The forcing has shape {tuple(g.shape)}; expected {self.shape} or (batch, 1, {nx}, {ny}).")
        self.register_buffer("source", torch.view_as_real(self._spectrum(g.to(device, dtype))), persistent=False)

    def _spectrum(self, w: Tensor) -> Tensor:
        return self._transform(w) * torch.view_as_complex(self.kept)

    def _transform(self, w: Tensor) -> Tensor:
        return torch.fft.fft(torch.fft.rfft(w)[..., : self._columns].transpose(-1, -2))

    def _values(self, spectrum: Tensor) -> Tensor:
        nx, ny = self.shape
        # Two more columns than needed: with rows of 2^n numbers, transposing them would compete for the same lines of the cache.
        half = torch.nn.functional.pad(torch.fft.ifft(spectrum), (0, 2, 0, ny // 2 + 1 - self._columns))
        return torch.fft.irfft(half[..., :nx].transpose(-1, -2), n=ny)

    def _velocity(self, spectrum: Tensor) -> Tensor:
        """Velocity ``(batch, 2, x, y)`` of a vorticity spectrum ``(batch, 1, ...)``."""
        return self._values(spectrum * torch.view_as_complex(self.curl))

    def _nonlinear(self, spectrum: Tensor) -> Tensor:
        """Spectrum of g − u·∇ω."""
        u, v = self._velocity(spectrum).split(1, 1)
        shear, difference = self._transform(u * v), self._transform(torch.addcmul(v * v, u, u, value=-1))
        products = torch.view_as_complex(self.products)
        return torch.addcmul(torch.addcmul(torch.view_as_complex(self.source), shear, products[0]), difference, products[1])

    def velocity(self, w: Tensor) -> Tensor:
        """The velocity of a vorticity; zero on average."""
        return self._velocity(self._spectrum(self._checked(w)))

    def rate(self, w: Tensor) -> Tensor:
        """∂ω/∂t of the discrete equation."""
        spectrum = self._spectrum(self._checked(w))
        return self._values(torch.view_as_complex(self.linear) * spectrum + self._nonlinear(spectrum))

    def energy(self, w: Tensor) -> Tensor:
        """Kinetic energy ½⟨|u|²⟩ per unit area and mass, ``(batch,)``."""
        return self.velocity(w).square().sum(1).mean((-1, -2)) / 2

    def enstrophy(self, w: Tensor) -> Tensor:
        """½⟨ω²⟩, ``(batch,)``."""
        return self._values(self._spectrum(self._checked(w))).square().mean((-1, -2))[:, 0] / 2

    def power(self, w: Tensor) -> Tensor:
        """Work of the body force per unit time, ⟨f·u⟩ = ⟨gψ⟩, ``(batch,)``."""
        psi = self._values(self._spectrum(self._checked(w)) * self.inverse_k2)
        return (psi * self._values(torch.view_as_complex(self.source))).mean((-1, -2))[:, 0]

    def solve(
        self, w: Tensor, interval: float, frames: int, *, dt: float, scheme: Scheme = ARK436, segment: int | None = None
    ) -> Tensor:
        """Vorticity at the times 0, interval, ..., frames · interval: ``(batch, frames + 1, 1, x, y)``.

        The first frame is ``w`` without the modes beyond two thirds of the Nyquist frequency. Each interval takes equal steps, the
        fewest that are no longer than ``dt``. The default scheme has order four; :data:`CNRK4` is faster where viscosity is small.
        With gradients, ``segment`` steps at a time are stored (:func:`~thalweg.solvers.grid.rollouts.rollout`).

        Raises:
            InputError: a wrong shape or dtype, a mean vorticity, impossible times.
            DivergedError: a step too long for the velocity, looked at once a frame, or values that are not finite at the end.
                Nothing is checked in between, so that a GPU never waits within an interval.
        """
        return self._solve(w, uniform_intervals(interval, frames), dt, scheme, segment)

    def solve_at(
        self, w: Tensor, times: Sequence[float], *, dt: float, scheme: Scheme = ARK436, segment: int | None = None
    ) -> Tensor:
        """As :meth:`solve`, at increasing times of which the first is that of ``w``."""
        return self._solve(w, intervals_between(times), dt, scheme, segment)

    def _solve(self, w: Tensor, intervals: Sequence[float], dt: float, scheme: Scheme, segment: int | None) -> Tensor:
        w = self._checked(w)
        if bool((w.mean((-1, -2)).abs() > 1e-3 * w.square().mean((-1, -2)).sqrt()).any()):
            raise InputError("A periodic flow has no mean vorticity, but the initial one has. Subtract its mean.")
        linear = torch.view_as_complex(self.linear)

        def stepper(h: float) -> Callable[[State], State]:
            step = scheme.stepper(linear, self._nonlinear, h)
            return lambda state: (step(state[0]),)

        start = (self._spectrum(w),)
        frames = rollout(stepper, start, intervals, dt=dt, segment=segment, check=partial(self._check_step, scheme))
        result = self._values(torch.stack([spectrum for (spectrum,) in frames], 1))
        if not bool(torch.isfinite(result[:, -1]).all()):
            raise DivergedError(f"The flow left the finite numbers with dt = {dt:.3g}. Use a smaller dt or more points.")
        return result

    def _check_step(self, scheme: Scheme, state: State, h: float) -> None:
        """Whether the scheme is stable for the fastest oscillation, max|u| k_x + |v| k_y."""
        with torch.no_grad():
            fastest = self.k.amax((-2, -1))[:, None, None]
            frequency = float((self._velocity(state[0]).abs() * fastest).sum(1).max())
        limit = imaginary_limit(scheme)
        if not h * frequency <= limit:  # true for NaN, too
            raise DivergedError(
                f"Steps of {h:.3g} are too long for this flow: the scheme is stable up to {limit / frequency:.3g} with its velocity and "
                "grid. Use a smaller dt."
            )

    def _checked(self, w: Tensor) -> Tensor:
        batches = [len(t) for t in (self.source, self.linear) if t.dim() == 5 and len(t) > 1]
        if w.dim() != 4 or tuple(w.shape[1:]) != (1, *self.shape) or any(batch != len(w) for batch in batches):
            raise InputError(
                f"Vorticity has shape {tuple(w.shape)}; expected (batch, 1, {self.shape[0]}, {self.shape[1]})"
                + (f" with the {batches[0]} samples of the forcing or viscosity." if batches else ".")
            )
        if w.dtype != self.k.dtype:
            raise InputError(
                f"Vorticity is {w.dtype}, the equation {self.k.dtype}. Convert one, or build the equation with dtype=."
            )
        return w
