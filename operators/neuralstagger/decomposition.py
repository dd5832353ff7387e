"""Space and time as interleaved coarse sub-grids and coarse time sequences, and back, without loss."""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...errors import InputError

Padding = Literal["zeros", "replicate", "periodic"]


class Decomposition:
    """The subtasks of a trajectory: u_{pq}[i, j] = u[s_x i + p, s_y j + q] in space, u_k[n] = u[s_t n + k] in time.

    A rearrangement (a pixel unshuffle along every axis, time included): what is split and merged again is the same to the last bit
    (Huang et al., NeuralStagger, ICML 2023, arXiv 2302.10255). Sub-grids are numbered with the last axis fastest, a subtask is
    sub-grid · s_t + sequence.

    Args:
        space: the factor along each spatial axis, for one to three axes.
        time: s_t, the number of interleaved time sequences, each of which advances by s_t frames.
        padding: what lies beyond the end of an axis that its factor does not divide: zeros, the last value, or the first values again.
            It is cut off after merging. By default such an axis is an error.

    Raises:
        InputError: factors below 1, an unknown padding.

    Example:
        >>> halves = Decomposition((2, 2), time=2)
        >>> u = torch.randn(3, 8, 1, 32, 32)  # (batch, time, channel, x, y)
        >>> parts = halves.split_frames(u)
        >>> parts.shape
        torch.Size([8, 3, 4, 1, 16, 16])
        >>> torch.equal(halves.merge_frames(parts), u)
        True
    """

    def __init__(self, space: Sequence[int], time: int = 1, padding: Padding | None = None):
        factors = (*space, time)
        if not 1 <= len(space) <= 3 or any(not isinstance(s, int) or s < 1 for s in factors):
            raise InputError(
                f"A decomposition has a whole factor of 1 or more for each of 1 to 3 axes and for time; got {factors}."
            )
        if padding is not None and padding not in get_args(Padding):
            raise InputError(f"Padding is {', '.join(get_args(Padding))} or None, not {padding!r}.")
        self.space, self.time, self.padding = tuple(space), time, padding
        #: First point (p, q[, r]) of each sub-grid.
        self.offsets = tuple(product(*map(range, self.space)))

    @property
    def dim(self) -> int:
        return len(self.space)

    @property
    def num_sub_grids(self) -> int:
        return prod(self.space)

    @property
    def num_subtasks(self) -> int:
        return self.num_sub_grids * self.time

    def __repr__(self) -> str:
        return f"Decomposition({self.space}, time={self.time}, padding={self.padding!r})"

    def coarse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Points of every sub-grid of a grid with ``shape`` points.

        Raises:
            InputError: a factor does not divide its axis and nothing was said about padding, or another number of axes.
        """
        if len(shape) != self.dim:
            raise InputError(f"The decomposition has {self.dim} axes, but the grid {tuple(shape)} has {len(shape)}.")
        if self.padding is None and any(n % s for n, s in zip(shape, self.space, strict=True)):
            raise InputError(
                f"The factors {self.space} do not divide the grid {tuple(shape)}. Choose other factors, another grid, or a padding "
                f"({', '.join(get_args(Padding))})."
            )
        return tuple(-(-n // s) for n, s in zip(shape, self.space, strict=True))

    def split(self, u: Tensor) -> Tensor:
        """``(..., x[, y[, z]])`` to its sub-grids, ``(sub-grids, ..., X[, Y[, Z]])``."""
        coarse = self.coarse_shape(u.shape[-self.dim :])
        u = self.padded(u, [n * s for n, s in zip(coarse, self.space, strict=True)])
        lead = u.dim() - self.dim
        pairs = [n for pair in zip(coarse, self.space, strict=True) for n in pair]
        u = u.reshape(*u.shape[:lead], *pairs)
        within = [lead + 2 * axis + 1 for axis in range(self.dim)]
        return u.movedim(within, tuple(range(self.dim))).flatten(0, self.dim - 1)

    def merge(self, parts: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        """The inverse of :meth:`split`; ``shape`` are the points of the grid, where padding has to be cut off.

        Raises:
            InputError: there are not as many sub-grids as the factors say.
        """
        if parts.dim() <= self.dim or parts.shape[0] != self.num_sub_grids:
            raise InputError(
                f"Expected {self.num_sub_grids} sub-grids with {self.dim} axes, (sub-grids, ..., {'XYZ'[: self.dim]}); got "
                f"{tuple(parts.shape)}."
            )
        u = parts.unflatten(0, self.space)
        lead = u.dim() - 2 * self.dim
        within = [lead + 2 * axis + 1 for axis in range(self.dim)]
        u = u.movedim(tuple(range(self.dim)), within)
        coarse = parts.shape[-self.dim :]
        u = u.reshape(*u.shape[:lead], *(n * s for n, s in zip(coarse, self.space, strict=True)))
        for axis, n in enumerate(shape or ()):
            u = u.narrow(lead + axis, 0, n)
        return u

    def split_frames(self, u: Tensor) -> Tensor:
        """A trajectory ``(batch, time, channel, x[, y[, z]])`` to ``(subtasks, batch, time / s_t, channel, X[, Y[, Z]])``.

        Raises:
            InputError: the frames are no multiple of the time factor.
        """
        if u.dim() != self.dim + 3 or u.shape[1] == 0 or u.shape[1] % self.time:
            raise InputError(
                f"Expected (batch, time, channel, {', '.join('xyz'[: self.dim])}) with a multiple of {self.time} frames; got "
                f"{tuple(u.shape)}."
            )
        return self.split(u.unflatten(1, (-1, self.time)).movedim(2, 0)).flatten(0, 1)

    def merge_frames(self, parts: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        """The inverse of :meth:`split_frames`."""
        sequences = parts.unflatten(0, (self.num_sub_grids, self.time))
        return self.merge(sequences, shape).movedim(0, 2).flatten(1, 2)

    def padded(self, u: Tensor, shape: Sequence[int]) -> Tensor:
        """``u`` continued at the ends of its axes to ``shape``, as the padding says.

        Raises:
            InputError: there is something to pad, and nothing was said about padding.
        """
        missing = [m - n for m, n in zip(shape, u.shape[-self.dim :], strict=True)]
        if not any(missing):
            return u
        if self.padding is None:
            raise InputError(
                f"A field on {tuple(u.shape[-self.dim :])} points is to be continued to {tuple(shape)}. Choose a padding "
                f"({', '.join(get_args(Padding))})."
            )
        if self.padding == "zeros":
            return pad(u, [n for m in reversed(missing) for n in (0, m)])
        for axis, m in zip(range(-self.dim, 0), missing, strict=True):
            n = u.shape[axis]
            index = torch.arange(n + m, device=u.device)
            u = u.index_select(axis, index.clamp(max=n - 1) if self.padding == "replicate" else index % n)
        return u
