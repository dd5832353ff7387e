"""The two-dimensional Navier-Stokes equations on a periodic rectangle, in vorticity form, by a dealiased Fourier-Galerkin method."""

from collections.abc import Sequence
from math import ceil, pi

import torch
from torch import Tensor, nn

from ...errors import DivergedError, InputError
from .runge_kutta import ARK436, Tableau, imex_step


class VorticityEquation(nn.Module):
    """∂ω/∂t + u·∇ω = νΔω − γω + g, u = (∂_y ψ, −∂_x ψ), −Δψ = ω, on a periodic rectangle; g is the curl of the body force.

    Vorticity is ``(batch, 1, x, y)``, velocity ``(batch, 2, x, y)``. Modes beyond two thirds of the Nyquist frequency are zero, so the
    quadratic term has no aliasing error, and energy and enstrophy change by viscosity, drag and forcing only. The nonlinear
    term is (∂_xx − ∂_yy)(u_x u_y) + ∂_x ∂_y (u_y² − u_x²), which needs four transforms (Basdevant, J. Comput. Phys. 50, 1983).
    Everything is differentiable.

    Good values: the benchmark of Li et al. (ICLR 2021, arXiv 2010.08895) has ``VorticityEquation((256, 256), viscosity=1e-5,
    forcing=diagonal_forcing((256, 256)))``, initial vorticity ``PeriodicField((256, 256), alpha=2.5, tau=7)``, frames at unit times,
    for which ``dt=5e-3`` is converged. Beyond that, ``dt`` around 0.5 · Δx / max|u|.

    Args:
        shape: points along x and y.
        lengths: sides of the rectangle.
        viscosity: ν > 0, length²/time.
        forcing: g, ``(x, y)`` for all samples or ``(batch, 1, x, y)``; none by default. Its mean, which no body force has, is dropped.
        drag: γ ≥ 0, 1/time.

    Raises:
        InputError: too few points, wrong shapes or signs.
    """

    k: Tensor
    inverse_k2: Tensor
    products: Tensor
    kept: Tensor
    linear: Tensor
    source: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        lengths: Sequence[float] = (1.0, 1.0),
        *,
        viscosity: float,
        forcing: Tensor | None = None,
        drag: float = 0.0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        super().__init__()
        if len(shape) != 2 or min(shape) < 4 or len(lengths) != 2 or min(lengths) <= 0:
            raise InputError(f"The grid needs two axes of 4 points or more and two positive lengths; got {shape} and {lengths}.")
        if viscosity <= 0 or drag < 0:
            raise InputError(f"Viscosity must be positive and drag not negative; got {viscosity} and {drag}.")
        self.shape, self.lengths = tuple(shape), tuple(lengths)
        (nx, ny), (Lx, Ly) = self.shape, self.lengths
        mx, my = torch.meshgrid(torch.fft.fftfreq(nx, 1 / nx).round(), torch.arange(ny // 2 + 1.0), indexing="ij")
        k = 2 * pi * torch.stack([mx.double() / Lx, my.double() / Ly])
        k2 = (k**2).sum(0)
        kept = (3 * mx.abs() < nx) & (3 * my < ny) & (k2 > 0)
        buffers = {
            "k": k,
            "inverse_k2": torch.where(kept, 1 / k2.clamp_min(1e-300), 0.0),
            "products": torch.where(kept, torch.stack([k[0] ** 2 - k[1] ** 2, k[0] * k[1]]), 0.0),
            "kept": kept.double(),
            "linear": -viscosity * k2 - drag,
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.to(device, dtype), persistent=False)
        g = torch.zeros(self.shape) if forcing is None else forcing
        if tuple(g.shape[-2:]) != self.shape or g.dim() not in (2, 4) or (g.dim() == 4 and g.shape[1] != 1):
            raise InputError(f"The forcing has shape {tuple(g.shape)}; expected {self.shape} or (batch, 1, {nx}, {ny}).")
        # Real pairs: a module's change of dtype would drop the imaginary part of complex numbers.
        self.register_buffer("source", torch.view_as_real(self._spectrum(g.to(device, dtype))), persistent=False)

    def _spectrum(self, w: Tensor) -> Tensor:
        return torch.fft.rfft2(w) * self.kept

    def _values(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=self.shape)

    def _velocity(self, spectrum: Tensor) -> Tensor:
        """Velocity ``(batch, 2, x, y)`` of a vorticity spectrum ``(batch, 1, ...)``."""
        psi = spectrum * self.inverse_k2
        return self._values(torch.cat([1j * self.k[1] * psi, -1j * self.k[0] * psi], 1))

    def _nonlinear(self, spectrum: Tensor) -> Tensor:
        """Spectrum of g − u·∇ω."""
        u, v = self._velocity(spectrum).unbind(1)
        moments = torch.fft.rfft2(torch.stack([u * v, v * v - u * u], 1))
        return (moments * self.products).sum(1, keepdim=True) + torch.view_as_complex(self.source)

    def velocity(self, w: Tensor) -> Tensor:
        """The velocity of a vorticity; zero on average."""
        return self._velocity(self._spectrum(self._checked(w)))

    def rate(self, w: Tensor) -> Tensor:
        """∂ω/∂t of the discrete equation."""
        spectrum = self._spectrum(self._checked(w))
        return self._values(self.linear * spectrum + self._nonlinear(spectrum))

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

    def solve(self, w: Tensor, interval: float, frames: int, *, dt: float, scheme: Tableau = ARK436) -> Tensor:
        """Vorticity at the times 0, interval, ..., frames · interval: ``(batch, frames + 1, 1, x, y)``.

        The first frame is ``w`` without the modes beyond two thirds of the Nyquist frequency. Each interval takes equal steps, the
        fewest that are no longer than ``dt``. The default scheme has order four.

        Raises:
            InputError: a wrong shape or dtype, a mean vorticity, impossible times.
            DivergedError: values that are not finite at the end; nothing is checked in between, so that a GPU never waits.
        """
        w = self._checked(w)
        if interval <= 0 or dt <= 0 or frames < 1:
            raise InputError(f"Expected a positive interval and dt, and a frame or more; got {interval}, {dt} and {frames}.")
        if bool((w.mean((-1, -2)).abs() > 1e-3 * w.square().mean((-1, -2)).sqrt()).any()):
            raise InputError("A periodic flow has no mean vorticity, but the initial one has. Subtract its mean.")
        steps = ceil(interval / dt * (1 - 1e-12))
        spectrum = self._spectrum(w)
        spectra = [spectrum]
        for _ in range(frames):
            for _ in range(steps):
                spectrum = imex_step(spectrum, self.linear, self._nonlinear, interval / steps, scheme)
            spectra.append(spectrum)
        result = self._values(torch.stack(spectra, 1))
        if not bool(torch.isfinite(result[:, -1]).all()):
            raise DivergedError(
                f"The flow left the finite numbers with dt = {interval / steps:.3g}. Use a smaller dt (about half a cell a step) or "
                "more points."
            )
        return result

    def _checked(self, w: Tensor) -> Tensor:
        batch = self.source.shape[0] if self.source.dim() == 5 else 1
        if w.dim() != 4 or tuple(w.shape[1:]) != (1, *self.shape) or (batch > 1 and w.shape[0] != batch):
            raise InputError(
                f"Vorticity has shape {tuple(w.shape)}; expected (batch, 1, {self.shape[0]}, {self.shape[1]})"
                + (f" with the {batch} samples of the forcing." if batch > 1 else ".")
            )
        if w.dtype != self.k.dtype:
            raise InputError(
                f"Vorticity is {w.dtype}, the equation {self.k.dtype}. Convert one, or build the equation with dtype=."
            )
        return w
