"""A U-Net (Ronneberger et al., MICCAI 2015) as PDEBench has it (Takamoto et al., NeurIPS 2022): convolutions on five resolutions."""

from typing import Literal

import torch
from torch import Tensor, nn

from ...errors import InputError


class UNet(nn.Module):
    """Two 3-wide convolutions on each resolution, halved by maxima and doubled by transposed convolutions, joined across.

    ``(batch, in_channels, x[, y[, z]]) -> (batch, out_channels, x[, y[, z]])``. Each convolution is followed by batch normalisation
    and tanh. Where a resolution is odd, the point that halving dropped is repeated on the way back.

    Args:
        in_channels, out_channels: of the fields.
        dim: axes of the grid, 1 to 3.
        width: channels at full resolution; they double with every halving.
        levels: how often the resolution is halved.
        padding_mode: "zeros", or "circular" on periodic domains.

    Raises:
        InputError: there is no such dimension; in ``forward``, the grid is too coarse to be halved so often.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 32,
        levels: int = 4,
        padding_mode: Literal["zeros", "circular"] = "zeros",
    ):
        super().__init__()
        if dim not in (1, 2, 3):
            raise InputError(f"A U-Net has 1, 2 or 3 axes, not {dim}.")
        self.in_channels, self.out_channels = in_channels, out_channels
        convolution = getattr(nn, f"Conv{dim}d")
        normalisation = getattr(nn, f"BatchNorm{dim}d")

        def block(a: int, b: int) -> nn.Sequential:
            parts: list[nn.Module] = []
            for c in (a, b):
                parts += [convolution(c, b, 3, padding=1, bias=False, padding_mode=padding_mode), normalisation(b), nn.Tanh()]
            return nn.Sequential(*parts)

        widths = [width * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(block(a, b) for a, b in zip([in_channels, *widths], widths, strict=False))
        self.pool = getattr(nn, f"MaxPool{dim}d")(2)
        transposed = getattr(nn, f"ConvTranspose{dim}d")
        self.lift = nn.ModuleList(transposed(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.up = nn.ModuleList(block(2 * w, w) for w in reversed(widths[:-1]))
        self.project = convolution(width, out_channels, 1)

    def forward(self, u: Tensor) -> Tensor:
        if min(u.shape[2:]) < 2 ** (len(self.down) - 1):
            raise InputError(
                f"A grid of {tuple(u.shape[2:])} points cannot be halved {len(self.down) - 1} times; use fewer levels or a finer grid."
            )
        across: list[Tensor] = []
        h = u
        for i, block in enumerate(self.down):
            h = block(self.pool(h) if i else h)
            across.append(h)
        across.pop()
        for lift, block in zip(self.lift, self.up, strict=True):
            fine = across.pop()
            h = block(torch.cat([_fit(lift(h), fine.shape[2:]), fine], dim=1))
        return self.project(h)


def _fit(h: Tensor, shape: torch.Size) -> Tensor:
    """Repeat the last points of odd axes."""
    missing = [n - m for m, n in zip(h.shape[2:], shape, strict=True)]
    if not any(missing):
        return h
    return nn.functional.pad(h, [side for n in reversed(missing) for side in (0, n)], mode="replicate")
