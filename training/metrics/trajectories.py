"""How long rollouts stay right: the error of every frame, and the time until prediction and reference decorrelate."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from ...errors import InputError
from ...fem import Space
from ...fem.uniform_grid import Grid
from .metric import FieldMetric, Fields
from .norms import RelativeNorm


class ErrorOverTime(RelativeNorm):
    """‖u − v‖ / ‖v‖ for each frame of trajectories ``(batch, time, ...)``: as many numbers as frames.

    Arguments are those of :class:`RelativeNorm`.
    """

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        errors = self.frames(prediction, truth)
        if errors.ndim != 2:
            raise InputError(
                f"The field {self.field!r} of shape {tuple(truth[self.field].shape)} has no frames. An error over time needs trajectories."
            )
        return errors


class DecorrelationTime(FieldMetric):
    """The time at which the correlation ⟨u, v⟩ / (‖u‖ ‖v‖) of prediction and reference first falls below a threshold.

    Fields are taken about their mean over the domain, in the L2 inner product (Kochkov et al., PNAS 2021, for the vorticity of turbulent
    flow). A rollout that never falls below it counts with the time of its last frame.

    Args:
        space: of the field, or its grid.
        field: its name.
        times: of the predicted frames, ``(time,)``; or their distance, if the first is one step after the start.
        threshold: of the correlation; good values are 0.8 and 0.95.
    """

    def __init__(self, space: Space | Grid, field: str, times: Sequence[float] | float = 1.0, threshold: float = 0.8):
        super().__init__(field)
        self.space, self.threshold = space, threshold
        self.times = float(times) if isinstance(times, int | float) else [float(t) for t in times]

    def each(self, prediction: Fields, truth: Fields) -> Tensor:
        u, v = (self._centred(w) for w in self.pair(prediction, truth))
        correlation = self.space.inner(u, v) / (self.space.norm(u) * self.space.norm(v))
        if correlation.ndim != 2:
            raise InputError(f"The field {self.field!r} has no frames, so no time to decorrelate in; roll the operator out.")
        frames = correlation.shape[1]
        times = (
            self.times * torch.arange(1, frames + 1, dtype=torch.float64)
            if isinstance(self.times, float)
            else torch.tensor(self.times, dtype=torch.float64)
        )
        if len(times) != frames:
            raise InputError(f"There are {len(times)} times for {frames} predicted frames of {self.field!r}.")
        # What has become NaN or infinite is not correlated any more.
        lost = ~(correlation >= self.threshold)
        first = torch.where(lost.any(1), lost.int().argmax(1), frames - 1)
        return times.to(u.device)[first]

    def _centred(self, u: Tensor) -> Tensor:
        if isinstance(self.space, Grid):
            mean = self.space.integral(u) / prod(self.space.lengths)
            return u - mean.reshape(*mean.shape, *[1] * self.space.dim)
        if not self.space.element.is_nodal:
            return u
        blocks = (self.space.num_nodes, self.space.element.block_size)
        ones = torch.ones_like(u[..., :1]).expand(u.shape)
        means, volume = (self.space.mass(w).unflatten(-1, blocks).sum(-2, keepdim=True) for w in (u, ones))
        return (u.unflatten(-1, blocks) - means / volume).flatten(-2)
