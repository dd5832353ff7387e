"""Networks that see how a flow in three dimensions changes its own vector potential."""

from collections.abc import Callable
from math import comb, pi

import torch
from torch import Tensor, nn

from ...errors import InputError
from ..spectral_derivatives import spectral_derivatives
from .features import WithFeatures


class WithLambVector(WithFeatures):
    """A network on a periodic cube that is given, as more channels, the velocity of a vector potential A and what the flow does to it.

    ``(batch, in_channels, x, y, z) -> (batch, out_channels, x, y, z)``; the first three channels are A. u = ∇×A, ω = ∇×u, and without
    viscosity and forcing −Δ ∂A/∂t = ∇×(u×ω) with the Lamb vector u×ω, all by Fourier series. So ∂A/∂t depends on the flow everywhere,
    as the pressure does, and a local network of A alone cannot know it. In a long step it changes itself, which further ``orders`` tell:
    ∂ⁿA/∂tⁿ by the Taylor series of the equation. The components of A are taken to be at the same points; those of a staggered grid are so
    up to half a cell of it. Lengths are in units in which the cube is 2π long.

    Args:
        network: from ``in_channels`` and ``out_channels`` to a network, such as ``partial(DilatedResNet, dim=3, padding_mode="circular")``.
        in_channels, out_channels: of the fields; the network gets three more, and three for each order.
        orders: 1 or more; 2 is good for steps in which the flow crosses a cell of its grid or so.

    Raises:
        InputError: fewer than three channels, orders below 1; in ``forward``, fields that are not three-dimensional.
    """

    def __init__(self, network: Callable[..., nn.Module], in_channels: int, out_channels: int, orders: int = 1):
        if in_channels < 3 or orders < 1:
            raise InputError(
                f"Expected the three components of a potential and an order of 1 or more; got {in_channels} and {orders}."
            )
        super().__init__(network, in_channels, out_channels, dim=3, described_by=3, features=3 + 3 * orders)
        self.orders = orders

    def features(self, a: Tensor, /) -> Tensor:
        """Velocity, ∂A/∂t and its further orders, ``(batch, 3 + 3 orders, x, y, z)``, of potentials A ``(batch, 3, x, y, z)``."""
        shape, axes = a.shape[-3:], (-3, -2, -1)
        *along, laplacian = spectral_derivatives(a, (2 * pi,) * 3)
        nabla = torch.stack(torch.broadcast_tensors(*along))
        spectrum = torch.fft.rfftn(a, dim=axes)
        velocities, vorticities, changes = [], [], []
        for order in range(self.orders):
            u = _curl(nabla, spectrum)
            values = torch.fft.irfftn(torch.cat([u, _curl(nabla, u)], 1), s=shape, dim=axes)
            velocities.append(values[:, :3])
            vorticities.append(values[:, 3:])
            # Leibniz' rule for the derivatives of u×ω in time.
            parts = [comb(order, i) * torch.linalg.cross(velocities[i], vorticities[order - i], dim=1) for i in range(order + 1)]
            spectrum = _curl(nabla, torch.fft.rfftn(torch.stack(parts).sum(0), dim=axes)) / laplacian
            changes.append(torch.fft.irfftn(spectrum, s=shape, dim=axes))
        return torch.cat([velocities[0], *changes], 1)


def _curl(nabla: Tensor, spectrum: Tensor) -> Tensor:
    return torch.linalg.cross(nabla.expand_as(spectrum), spectrum, dim=1)
