"""Networks that see how a vorticity is carried: what is far away reaches them without a wide stencil."""

from collections.abc import Callable
from math import comb, pi

import torch
from torch import Tensor, nn

from ...errors import InputError
from ..spectral_derivatives import spectral_derivatives
from .features import WithFeatures


class WithTransport(WithFeatures):
    """A network on a periodic rectangle that is given, as more channels, the velocity of the first channel ω and the transport u·∇ω.

    ``(batch, in_channels, x, y) -> (batch, out_channels, x, y)``; u = (∂_y ψ, −∂_x ψ), −Δψ = ω, by Fourier series. The velocity depends on
    all of the vorticity (the law of Biot and Savart), so that a local network of the vorticity alone cannot know where it goes. Lengths are
    in units in which the rectangle is 2π long in x. In a long step the transport itself changes, which further ``orders`` tell: −∂ⁿω/∂tⁿ
    of a flow without viscosity and forcing, from the Taylor series of its equation.

    Args:
        network: from ``in_channels`` and ``out_channels`` to a network, such as ``partial(DilatedResNet, padding_mode="circular")``.
        in_channels, out_channels: of the fields; the network gets two more, and one for each order.
        aspect: length of the rectangle along y over that along x.
        orders: 1 is the transport alone; 2 is good for steps in which the flow crosses a cell of its grid or more.

    Raises:
        InputError: the aspect is not positive, orders below 1; in ``forward``, fields that are not two-dimensional.
    """

    def __init__(
        self, network: Callable[..., nn.Module], in_channels: int, out_channels: int, aspect: float = 1.0, orders: int = 1
    ):
        if aspect <= 0 or orders < 1:
            raise InputError(f"The aspect ratio must be positive, and an order 1 or more; got {aspect} and {orders}.")
        super().__init__(network, in_channels, out_channels, dim=2, described_by=1, features=2 + orders)
        self.aspect, self.orders = aspect, orders

    def features(self, w: Tensor, /) -> Tensor:
        """Velocity, transport and its further orders, ``(batch, 2 + orders, x, y)``, of vorticities ``(batch, 1, x, y)``."""
        dx, dy, laplacian = spectral_derivatives(w, (2 * pi, 2 * pi * self.aspect))
        velocities, gradients, changes = [], [], []
        for order in range(self.orders):
            spectrum = torch.fft.rfft2(w)
            psi = spectrum / laplacian
            values = torch.fft.irfft2(torch.cat([dy * psi, -dx * psi, dx * spectrum, dy * spectrum], 1), s=w.shape[-2:])
            velocities.append(values[:, :2])
            gradients.append(values[:, 2:])
            # Leibniz' rule for the derivatives of u·∇ω in time.
            parts = [comb(order, i) * (velocities[i] * gradients[order - i]).sum(1, keepdim=True) for i in range(order + 1)]
            changes.append(torch.stack(parts).sum(0))
            w = -changes[-1]
        return torch.cat([velocities[0], *changes], 1)
