"""Learning-rate schedules, each a function of the optimiser and, where it must know it, the number of steps in all.

A schedule without ``total_steps`` has no end, so a run with it can be extended by more epochs.
"""

import inspect
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from ..errors import InputError


def one_cycle(optimizer: Optimizer, total_steps: int, warmup: float = 0.3) -> LRScheduler:
    """Rise over a share ``warmup`` of the steps to the optimiser's rate, then fall to nearly nothing (Smith and Topin, 2019)."""
    rates = [group["lr"] for group in optimizer.param_groups]
    # It cycles the momentum, too, where it finds it.
    cycles = not {"betas", "momentum"}.isdisjoint(optimizer.defaults)
    if warmup * total_steps == 1:
        warmup *= 1 - 1e-9  # a rise within the first step would last no time, by which PyTorch divides
    return OneCycleLR(optimizer, rates, total_steps=total_steps, pct_start=warmup, cycle_momentum=cycles)


def cosine(optimizer: Optimizer, total_steps: int, final: float = 0.0) -> LRScheduler:
    """Fall from the optimiser's rate to ``final`` along half a cosine."""
    return CosineAnnealingLR(optimizer, total_steps, eta_min=final)


def constant(optimizer: Optimizer, warmup_steps: int = 0) -> LRScheduler:
    """The optimiser's rate, after a linear rise over the first steps.

    Raises:
        InputError: ``warmup_steps`` is negative.
    """
    if warmup_steps < 0:
        raise InputError(f"warmup_steps must not be negative, but is {warmup_steps}.")
    if warmup_steps == 0:
        return ConstantLR(optimizer, factor=1.0)
    return LinearLR(optimizer, start_factor=1 / (warmup_steps + 1), total_iters=warmup_steps)


def plateau(optimizer: Optimizer, factor: float = 0.5, patience: int = 5, threshold: float = 1e-3) -> LRScheduler:
    """Multiply the rate by ``factor`` when the validation metric has not fallen by a share ``threshold`` for ``patience`` epochs."""
    return ReduceLROnPlateau(optimizer, factor=factor, patience=patience, threshold=threshold)


def has_end(make_scheduler: Callable[..., LRScheduler]) -> bool:
    """Whether a schedule depends on the number of steps in all."""
    return "total_steps" in inspect.signature(make_scheduler).parameters
