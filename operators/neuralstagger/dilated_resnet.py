"""A dilated residual network: the small stencil network of learned coarse solvers."""

from collections.abc import Sequence

from torch import Tensor, nn

from ...errors import InputError


class DilatedResNet(nn.Module):
    """Blocks h ← h + C_n σ … C_1 σ h of 3-wide convolutions with growing and falling dilation (Stachenfeld et al., ICLR 2022).

    ``(batch, in_channels, x[, y[, z]]) -> (batch, out_channels, x[, y[, z]])``; arXiv 2112.15275, there with width 48, 4 blocks and the
    dilations 1, 2, 4, 8, 4, 2, 1 (the defaults). One block with the dilations 1, 2, 1 and width 16 to 32 is enough for smooth flow that
    moves a cell or two a step. The last layer starts from zero: an increment that is learned starts from persistence.

    Args:
        in_channels, out_channels: of the fields.
        dim: axes of the grid, 1 to 3.
        width: channels of the hidden fields.
        blocks: residual blocks.
        dilations: of each block's convolutions; no larger than the grid.
        padding_mode: ``"circular"`` on periodic domains, ``"zeros"``, ``"replicate"`` or ``"reflect"``.

    Raises:
        InputError: there is no such dimension, or nothing to do.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        width: int = 48,
        blocks: int = 4,
        dilations: Sequence[int] = (1, 2, 4, 8, 4, 2, 1),
        padding_mode: str = "zeros",
    ):
        super().__init__()
        if dim not in (1, 2, 3) or blocks < 1 or not dilations:
            raise InputError(f"Expected 1 to 3 axes, a block or more and dilations; got {dim}, {blocks} and {dilations}.")
        self.in_channels, self.out_channels = in_channels, out_channels
        convolution = getattr(nn, f"Conv{dim}d")

        def layer(a: int, b: int, dilation: int = 1) -> nn.Module:
            return convolution(a, b, 3, padding=dilation, dilation=dilation, padding_mode=padding_mode)

        self.encode = layer(in_channels, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(*[part for d in dilations for part in (nn.GELU(), layer(width, width, d))]) for _ in range(blocks)
        )
        self.decode = layer(width, out_channels)
        for parameter in self.decode.parameters():
            nn.init.zeros_(parameter)

    def forward(self, u: Tensor) -> Tensor:
        h = self.encode(u)
        for block in self.blocks:
            h = h + block(h)
        return self.decode(nn.functional.gelu(h))
