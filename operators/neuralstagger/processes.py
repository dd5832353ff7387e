"""Parts of a tensor on the processes of ``torchrun``, with gradients that are whole on every process."""

from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ...errors import InputError


def own_range(units: int) -> tuple[int, int]:
    """First and last (exclusive) of the units of this process; all of them if there is only one process.

    Raises:
        InputError: more processes than units.
    """
    if not dist.is_initialized():
        return 0, units
    rank, size = dist.get_rank(), dist.get_world_size()
    if size > units:
        raise InputError(f"{size} processes cannot share {units} subtasks; start {units} or fewer.")
    return units * rank // size, units * (rank + 1) // size


def require_same(x: Tensor) -> None:
    """
    Raises:
        InputError: the processes have different values, as under data parallel training.
    """
    if not dist.is_initialized():
        return
    sums = torch.stack([x.detach().double().sum(), x.detach().double().square().sum()])
    least, most = sums.clone(), sums.clone()
    dist.all_reduce(least, dist.ReduceOp.MIN)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    if not torch.equal(least, most):
        raise InputError(
            "The processes were given different fields, but share the subtasks of one batch. Give all the same, or divide the batch "
            "instead of the subtasks: execution=batched."
        )


class Share(torch.autograd.Function):
    """``Share.apply(x, low, high)`` is ``x[low:high]`` of an ``x`` that all processes have; its gradient is the sum over processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: int, high: int) -> Tensor:
        ctx.shape, ctx.range = x.shape, (low, high)
        return x[low:high].clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        low, high = ctx.range
        gradient = grad_outputs[0].new_zeros(ctx.shape)
        gradient[low:high] = grad_outputs[0]
        if dist.is_initialized():
            dist.all_reduce(gradient)
        return gradient, None, None


class _Gather(torch.autograd.Function):
    """All parts on all processes. They all go on to compute the same loss, so that each already has the gradient of its own part."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, units: int, each: int) -> Tensor:
        size = dist.get_world_size()
        bounds = [units * rank // size * each for rank in range(size + 1)]
        ctx.range = (bounds[dist.get_rank()], bounds[dist.get_rank() + 1])
        longest = max(high - low for low, high in pairwise(bounds))
        padded = part.new_zeros(longest, *part.shape[1:])
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in range(size)]
        dist.all_gather(parts, padded)
        return torch.cat([p[: high - low] for p, (low, high) in zip(parts, pairwise(bounds), strict=True)])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        low, high = ctx.range
        return grad_outputs[0][low:high], None, None


def gathered(part: Tensor, units: int, each: int) -> Tensor:
    """The parts of all processes, in order; ``units`` are divided as :func:`own_range` says, ``each`` entries a unit."""
    return part if not dist.is_initialized() else _Gather.apply(part, units, each)
