"""Muon for matrices, AdamW for every other parameter, as one optimiser with one learning rate."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Muon, Optimizer

from ...errors import InputError
from .adam import adamw


class MuonAdamW(Optimizer):
    """Momentum whose matrices are orthogonalised by Newton-Schulz iterations (Jordan et al., 2024), scaled to the size of AdamW's updates.

    Muon takes the parameters with two axes; biases, convolution kernels, stacks of matrices and norms go to AdamW. With the scaling of
    Liu et al. (2025, arXiv 2502.16982) both share learning rate and weight decay, so AdamW's good values are good here.

    Raises:
        InputError: no parameter is a matrix.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 1e-3, weight_decay: float = 1e-2, momentum: float = 0.95):
        parameters = list(parameters)
        matrices, others = [p for p in parameters if p.ndim == 2], [p for p in parameters if p.ndim != 2]
        if not matrices:
            raise InputError("Muon is for operators with matrices among their parameters, but this one has none. Use AdamW.")
        super().__init__(parameters, {"lr": lr})
        self.parts: list[Optimizer] = [
            Muon(matrices, lr=lr, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw")
        ]
        if others:
            self.parts.append(adamw(others, lr=lr, weight_decay=weight_decay))
        self._share_groups()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        """The parts' groups are this optimiser's, so that a schedule reaches both."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]
