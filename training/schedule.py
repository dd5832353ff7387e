"""Learning-rate schedules, each a function of the optimiser and the number of steps in all."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR


def one_cycle(optimizer: Optimizer, total_steps: int, warmup: float = 0.3) -> LRScheduler:
    """Rise over a share ``warmup`` of the steps to the optimiser's rate, then fall to nearly nothing (Smith and Topin, 2019)."""
    rates = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, rates, total_steps=total_steps, pct_start=warmup)


def cosine(optimizer: Optimizer, total_steps: int, final: float = 0.0) -> LRScheduler:
    """Fall from the optimiser's rate to ``final`` along half a cosine."""
    return CosineAnnealingLR(optimizer, total_steps, eta_min=final)
