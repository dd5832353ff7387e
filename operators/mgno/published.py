"""MgNO as published (He, Liu, Xu, ICLR 2024, arXiv 2310.19809): layers σ(Wu + B) whose W are V-cycles of dense convolutions.

The functions are those of the authors' public code. Where they depart from multigrid, the right-hand side instead of the residual is
restricted, there is no post-smoothing in the published settings, restriction and prolongation are no adjoint pair, and transposed
convolutions do not know of periodicity. :class:`MgNO` is the operator without these departures.
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...fem.uniform_grid import Grid
from ..encoders import Fields
from ..operator import Operator
from .scaling import ChannelFields, Standardization

Smoothing = Sequence[Sequence[int]]


class PublishedCycle(nn.Module):
    """One V-cycle of convolutions, ``(batch, in_channels, x, y) -> (batch, channels, x, y)``.

    On each level u ← u + S(f − Au), with A and S dense and distinct for every step; (u, f) ← (Πu, Rf) going down, u ← u + Pu_coarse
    going up.

    Args:
        shape: points of the finest grid.
        smoothing: numbers of steps before and after the coarse correction, for each level from fine to coarse.
        padding: of the smoothers, "zeros", "circular" or "reflect".
        bias: whether A and S have one.
        normalize: a LayerNorm over all channels and points of a level after each correction.
        growing: level l has (l + 1) times the channels, and transfers do not pad.

    Raises:
        InputError: a coarsest grid without neighbours to pad with.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        shape: tuple[int, int],
        smoothing: Smoothing,
        padding: str,
        bias: bool,
        normalize: bool,
        growing: bool,
    ):
        super().__init__()
        margin = 0 if growing else 1
        us, fs = ([(l + 1 if growing else 1) * c for l in range(len(smoothing))] for c in (channels, in_channels))
        shapes = coarser_shapes(shape, len(smoothing), margin)
        if padding != "zeros" and min(shapes[-1]) < 2:
            raise InputError(
                f"The coarsest of {len(smoothing)} levels of a grid of {shape[0]} x {shape[1]} points has {shapes[-1][0]} x "
                f"{shapes[-1][1]}, too few for a {padding} padding. Take fewer levels, or a finer grid."
            )
        stride = {"kernel_size": 3, "stride": 2, "padding": margin, "bias": False}
        stride |= {"padding_mode": "zeros" if growing else padding}
        self.before, self.after = nn.ModuleList(), nn.ModuleList()
        for l, (pre, post) in enumerate(smoothing):
            # The first step starts from u = 0 and needs no A.
            steps = [Step(us[l], fs[l], padding, bias, first=l == i == 0) for i in range(pre + post)]
            self.before.append(nn.ModuleList(steps[:pre]))
            self.after.append(nn.ModuleList(steps[pre:]))
        pairs = list(zip(range(len(smoothing) - 1), range(1, len(smoothing)), strict=True))
        self.project = nn.ModuleList(nn.Conv2d(us[l], us[m], **stride) for l, m in pairs)
        self.restrict = nn.ModuleList(nn.Conv2d(fs[l], fs[m], **stride) for l, m in pairs)
        self.prolong = nn.ModuleList(
            nn.ConvTranspose2d(us[m], us[l], _transposed_kernel(shapes[l], shapes[m], margin), 2, margin, bias=False)
            for l, m in pairs
        )
        self.norms = nn.ModuleList(nn.LayerNorm([us[l], *shapes[l]]) if normalize else nn.Identity() for l, _ in pairs)

    def forward(self, f: Tensor) -> Tensor:
        u, levels = None, []
        for l, steps in enumerate(self.before):
            if u is not None:
                u, f = self.project[l - 1](u), self.restrict[l - 1](f)
            for step in cast(nn.ModuleList, steps):
                u = step(u, f)
            levels.append((u, f))
        u = levels.pop()[0]
        for l in range(len(levels) - 1, -1, -1):
            before, f = levels[l]
            u = self.norms[l](self.prolong[l](u).add_(before))
            for step in cast(nn.ModuleList, self.after[l]):
                u = step(u, f)
        return u


class Pointwise(nn.Linear):
    """A 1x1 convolution, as a matrix product over channels-last memory: torch's convolutions would change the layout for it."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class NegativeConvolution(nn.Conv2d):
    """−Au, so that f − Au is an addition in place, whose backward pass moves no memory."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, -self.weight, None if self.bias is None else -self.bias)


class Step(nn.Module):
    """u ← u + S(f − Au), from u = 0 if ``first``."""

    def __init__(self, u_channels: int, f_channels: int, padding: str, bias: bool, first: bool):
        super().__init__()
        options = {"kernel_size": 3, "padding": 1, "bias": bias, "padding_mode": padding}
        self.S = nn.Conv2d(f_channels, u_channels, **options)
        self.A = None if first else NegativeConvolution(u_channels, f_channels, **options)

    def forward(self, u: Tensor | None, f: Tensor) -> Tensor:
        if u is None or self.A is None:
            return self.S(f)
        return self.S(self.A(u).add_(f)).add_(u)


class PublishedMgNO(Operator):
    """The published operator: u ← GELU(Wu + Lu) layer by layer, then one channel for each output. ``(batch, channels, x, y)`` fields.

    It belongs to one resolution: the sizes of transposed kernels, and normalisation, follow from it. Good values:
    :mod:`thalweg.operators.mgno.published_cases`.

    Args:
        grid: of inputs and outputs, two axes.
        inputs, outputs: for each field, its number of channels.
        channels: of each layer.
        layers: how many.
        smoothing, padding, bias: see :class:`PublishedCycle`.
        skip: L is a 1x1 convolution with bias; otherwise zero.
        normalize: a LayerNorm after each correction of each "cycle", or one after each "layer", or None.
        growing: see :class:`PublishedCycle`.
        head: from the last layer to the output, a bias-free 1x1 "convolution" or another V-"cycle".
        increment: the network gives the change of the inputs, as in :class:`MgNO`.
        standardize: of inputs and outputs over the training set, with one mean and deviation for each "channel", or for each channel
            and "point".
        standardize_inputs: whether inputs are, too.

    Raises:
        InputError: a grid of another dimension, or an increment of fields that do not match.
    """

    def __init__(
        self,
        grid: Grid,
        inputs: dict[str, int],
        outputs: dict[str, int],
        *,
        channels: int = 24,
        layers: int = 4,
        smoothing: Smoothing = ((1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (2, 0)),
        padding: str = "zeros",
        bias: bool = False,
        skip: bool = True,
        normalize: Literal["cycle", "layer"] | None = None,
        growing: bool = False,
        head: Literal["convolution", "cycle"] = "convolution",
        increment: bool = False,
        standardize: Literal["channel", "point"] | None = None,
        standardize_inputs: bool = True,
    ):
        super().__init__()
        if grid.dim != 2:
            raise InputError(f"The published MgNO is for grids of two axes, not {grid.dim}. MgNO is for one to three.")
        self.grid, self.increment = grid, increment
        self.fields = ChannelFields(inputs, outputs)
        if increment:
            self.fields.require_increments()
        self.input_scale = Standardization(self.fields.in_channels, standardize if standardize_inputs else None, grid.shape)
        self.output_scale = Standardization(self.fields.out_channels, standardize, grid.shape)
        widths = [self.fields.in_channels, *[channels] * layers]

        def cycle(in_channels: int, out_channels: int) -> PublishedCycle:
            shape = (grid.shape[0], grid.shape[1])
            return PublishedCycle(in_channels, out_channels, shape, smoothing, padding, bias, normalize == "cycle", growing)

        self.cycles = nn.ModuleList(cycle(c, channels) for c in widths[:-1])
        self.skips = nn.ModuleList(Pointwise(c, channels) for c in widths[:-1]) if skip else None
        self.norms = nn.ModuleList(
            nn.LayerNorm([channels, *grid.shape]) if normalize == "layer" else nn.Identity() for _ in range(layers)
        )
        out = self.fields.out_channels
        self.head = cycle(channels, out) if head == "cycle" else Pointwise(channels, out, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.contiguous(memory_format=torch.channels_last)

    def forward(self, fields: Fields) -> dict[str, Tensor]:
        u0 = self.fields.join(fields, self.grid.shape)
        u = self.input_scale(u0).contiguous(memory_format=torch.channels_last)
        for i, (cycle, norm) in enumerate(zip(self.cycles, self.norms, strict=True)):
            Wu = cycle(u)
            u = nn.functional.gelu(norm(Wu if self.skips is None else self.skips[i](u).add_(Wu)))
        u = self.output_scale.inverse(self.head(u))
        return self.fields.split(self.fields.incremented(fields) + u if self.increment else u)

    @torch.no_grad()
    def set_scales(self, fields: Fields) -> None:
        inputs, outputs = self.fields.pairs(fields, self.grid.dim)
        self.input_scale.fit(inputs)
        self.output_scale.fit(outputs - self.fields.incremented(self.fields.named(inputs)) if self.increment else outputs)


def coarser_shapes(shape: tuple[int, int], levels: int, margin: int) -> list[tuple[int, int]]:
    """Points on each level under 3x3 convolutions of stride 2 with this padding.

    Raises:
        InputError: the grid is too small for so many levels.
    """
    shapes = [shape]
    for _ in range(levels - 1):
        x, y = ((n + 2 * margin - 3) // 2 + 1 for n in shapes[-1])
        shapes.append((x, y))
    if min(shapes[-1]) < 1:
        raise InputError(f"A grid of {shape} points is too small for {levels} levels.")
    return shapes


def _transposed_kernel(fine: tuple[int, int], coarse: tuple[int, int], margin: int) -> tuple[int, int]:
    """The kernel with which a transposed convolution of stride 2 leads from the one shape to the other: 3 or 4 points."""
    x, y = (n - 2 * (m - 1) + 2 * margin for n, m in zip(fine, coarse, strict=True))
    return x, y
