"""Networks that see how a vorticity is carried: what is far away reaches them without a wide stencil."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...errors import InputError


class WithTransport(nn.Module):
    """A network on a periodic rectangle that is given, as three more channels, the velocity of the first channel ω and the transport u·∇ω.

    ``(batch, in_channels, x, y) -> (batch, out_channels, x, y)``; u = (∂_y ψ, −∂_x ψ), −Δψ = ω, by Fourier series. The velocity depends on
    all of the vorticity (the law of Biot and Savart), so that a local network of the vorticity alone cannot know where it goes. Lengths are
    in units in which the rectangle is 2π long in x.

    Args:
        network: from ``in_channels`` and ``out_channels`` to a network, such as ``partial(DilatedResNet, padding_mode="circular")``.
        in_channels, out_channels: of the fields; the network gets three more.
        aspect: length of the rectangle along y over that along x.

    Raises:
        InputError: the aspect is not positive; in ``forward``, fields that are not two-dimensional.
    """

    def __init__(self, network: Callable[..., nn.Module], in_channels: int, out_channels: int, aspect: float = 1.0):
        super().__init__()
        if aspect <= 0:
            raise InputError(f"The aspect ratio must be positive, not {aspect}.")
        self.in_channels, self.out_channels, self.aspect = in_channels, out_channels, aspect
        self.network = network(in_channels=in_channels + 3, out_channels=out_channels)

    def forward(self, u: Tensor) -> Tensor:
        if u.dim() != 4:
            raise InputError(f"A vorticity that is carried has shape (batch, channel, x, y), not {tuple(u.shape)}.")
        return self.network(torch.cat([u, self.features(u[:, :1])], 1))

    def features(self, w: Tensor) -> Tensor:
        """Velocity and transport, ``(batch, 3, x, y)``, of vorticities ``(batch, 1, x, y)``."""
        nx, ny = w.shape[-2:]
        kx = torch.fft.fftfreq(nx, 1 / nx, dtype=w.dtype, device=w.device)[:, None]
        ky = torch.arange(ny // 2 + 1, dtype=w.dtype, device=w.device)
        # The Nyquist waves have no derivative.
        dx, dy = 1j * torch.where(2 * kx.abs() < nx, kx, 0.0), 1j * torch.where(2 * ky < ny, ky / self.aspect, 0.0)
        spectrum = torch.fft.rfft2(w)
        psi = spectrum / (kx**2 + (ky / self.aspect) ** 2).clamp_min(min(1.0, self.aspect**-2))
        values = torch.fft.irfft2(torch.cat([dy * psi, -dx * psi, dx * spectrum, dy * spectrum], 1), s=(nx, ny))
        velocity, gradient = values.split(2, 1)
        return torch.cat([velocity, (velocity * gradient).sum(1, keepdim=True)], 1)
