"""Lion, an optimiser found by symbolic search (Chen et al., NeurIPS 2023, arXiv 2302.06675, Algorithm 2)."""

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from ...errors import InputError


class Lion(Optimizer):
    """w ← (1 − ηλ) w − η sign(β₁ m + (1 − β₁) g), then m ← β₂ m + (1 − β₂) g.

    Good values: a rate 3 to 10 times smaller than AdamW's, a weight decay as many times larger.

    Raises:
        InputError: a number is out of its range.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ):
        if lr <= 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise InputError(f"Lion needs lr > 0, weight_decay ≥ 0 and betas in [0, 1); got {lr}, {weight_decay} and {betas}.")
        super().__init__(parameters, {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if not weights:
                continue
            gradients = [w.grad for w in weights]
            for w in weights:
                if not self.state[w]:
                    self.state[w]["momentum"] = torch.zeros_like(w)
            momenta = [self.state[w]["momentum"] for w in weights]
            beta1, beta2 = group["betas"]
            directions = torch._foreach_lerp(momenta, gradients, 1 - beta1)
            torch._foreach_sign_(directions)
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, directions, alpha=-group["lr"])
            torch._foreach_lerp_(momenta, gradients, 1 - beta2)
        return loss
