"""The factorised Fourier neural operator F-FNO (Tran et al., ICLR 2023, arXiv 2111.13802): one axis at a time, and residual layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import InputError
from .fno import Pointwise, with_coordinates
from .fourier import Waves, multiply, synthesis, waves


class FactorizedLayer(nn.Module):
    """h ← h + W₂ σ(W₁ Σ_a F_a⁻¹(R_a · F_a h) + b₁) + b₂ with transforms F_a along one axis a each (equations 4 and 5)."""

    def __init__(self, width: int, modes: Sequence[int], factor: int):
        super().__init__()
        self.weights = nn.ParameterList(torch.empty(2, width, width, m) for m in modes)
        for weight in self.weights:
            nn.init.xavier_normal_(weight)
        self.feedforward = nn.Sequential(Pointwise(width, factor * width), nn.ReLU(), Pointwise(factor * width, width))

    def forward(self, h: Tensor, axes: Sequence[Waves]) -> Tensor:
        convolved = torch.zeros_like(h)
        for axis, (wave, weight) in enumerate(zip(axes, self.weights, strict=True), start=2):
            convolved = convolved + self._along(h, axis, wave, weight)
        return h + self.feedforward(convolved)

    def _along(self, h: Tensor, axis: int, wave: Waves, weight: Tensor) -> Tensor:
        h = h.movedim(axis, -1)
        spectrum = h @ torch.cat([wave[0], -wave[1]], dim=1)
        changed = multiply(spectrum, weight[..., : wave[0].shape[1]], "bi...k,iok->bo...k")
        return (changed @ synthesis(wave)).movedim(-1, axis)


class FactorizedFNO(nn.Module):
    """Residual layers of one-dimensional Fourier multipliers, ``(batch, channel, x[, y[, z]])`` to the same; deep ones train well.

    The weights of a layer grow with the sum of the modes along the axes, not with their product. Good values: 16 modes along each axis,
    width 64, 4 to 24 layers.

    Args:
        in_channels, out_channels: of the fields.
        modes: wave numbers kept along each axis.
        width: channels of the hidden fields.
        layers: Fourier layers.
        factor: width of each layer's pointwise network, over ``width``.
        projection: width of the last hidden map.
        coordinates: give the network the points' coordinates.

    Raises:
        InputError: an axis without modes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: Sequence[int] = (16, 16),
        width: int = 64,
        layers: int = 4,
        factor: int = 2,
        projection: int = 128,
        coordinates: bool = True,
    ):
        super().__init__()
        if not modes or min(modes) < 1:
            raise InputError(f"An F-FNO needs at least one mode along each axis, not {tuple(modes)}.")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.modes, self.coordinates = tuple(modes), coordinates
        self.lift = Pointwise(in_channels + (len(modes) if coordinates else 0), width)
        self.layers = nn.ModuleList(FactorizedLayer(width, modes, factor) for _ in range(layers))
        # Two linear maps, as in the authors' code.
        self.project = nn.Sequential(Pointwise(width, projection), Pointwise(projection, out_channels))

    def forward(self, u: Tensor) -> Tensor:
        h = self.lift(with_coordinates(u) if self.coordinates else u)
        axes = [waves(n, min(m, n // 2 + 1), True, h) for n, m in zip(h.shape[2:], self.modes, strict=True)]
        for layer in self.layers:
            h = layer(h, axes)
        return self.project(h)
