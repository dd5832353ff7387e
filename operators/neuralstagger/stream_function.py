"""Networks that see the flow of a stream function: its derivatives carry what its values hide."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...errors import InputError
from .features import WithFeatures


class WithDerivatives(WithFeatures):
    """A network that is given, as four more channels, the velocity of the first channel ψ, its vorticity, and the transport of that.

    ``(batch, in_channels, x, y) -> (batch, out_channels, x, y)``; u = (∂_y ψ, −∂_x ψ), ω = −Δψ and u·∇ω, by central differences on the
    points as they are, with the last values repeated beyond the ends. What moves a vortex is far smaller in ψ than the flow that carries
    it, and a network of ψ alone has to learn these differences first. Unlike :class:`WithTransport`, which needs a periodic vorticity,
    this is local, for boxes with walls.

    Args:
        network: from ``in_channels`` and ``out_channels`` to a network, such as ``partial(DilatedResNet, padding_mode="replicate")``.
        in_channels, out_channels: of the fields; the network gets four more.
        points: along a length of 1, which units of ψ are multiplied by in each derivative. A good value is the number of points across
            the flow, so that velocities are near 1; by default that along y.
        scales: of velocity, vorticity and transport, which they are divided by.

    Raises:
        InputError: numbers that are not positive; in ``forward``, fields that are not two-dimensional.
    """

    def __init__(
        self,
        network: Callable[..., nn.Module],
        in_channels: int,
        out_channels: int,
        points: float | None = None,
        scales: tuple[float, float, float] = (1.0, 10.0, 50.0),
    ):
        if min(1.0 if points is None else points, *scales) <= 0 or len(scales) != 3:
            raise InputError(f"Expected a positive number of points and three positive scales; got {points} and {scales}.")
        super().__init__(network, in_channels, out_channels, dim=2, described_by=1, features=4)
        self.points, self.scales = points, tuple(scales)

    def features(self, psi: Tensor, /) -> Tensor:
        """Velocity, vorticity and transport, ``(batch, 4, x, y)``, of stream functions ``(batch, 1, x, y)``."""
        n = psi.shape[-1] if self.points is None else self.points
        velocity = torch.cat([_slope(psi, -1, n), -_slope(psi, -2, n)], 1)
        w = -_curvature(psi, -2, n) - _curvature(psi, -1, n)
        transport = velocity[:, :1] * _slope(w, -2, n) + velocity[:, 1:] * _slope(w, -1, n)
        return torch.cat([part / scale for part, scale in zip((velocity, w, transport), self.scales, strict=True)], 1)


def _slope(u: Tensor, axis: int, points: float) -> Tensor:
    before, after = _neighbours(u, axis)
    return (after - before) * (points / 2)


def _curvature(u: Tensor, axis: int, points: float) -> Tensor:
    before, after = _neighbours(u, axis)
    return (after - 2 * u + before) * points**2


def _neighbours(u: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    n = u.shape[axis]
    before = torch.cat([u.narrow(axis, 0, 1), u.narrow(axis, 0, n - 1)], axis)
    after = torch.cat([u.narrow(axis, 1, n - 1), u.narrow(axis, n - 1, 1)], axis)
    return before, after
