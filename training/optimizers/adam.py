"""Adam and AdamW in their fused form, one kernel for all parameters, wherever torch has it."""

from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, AdamW


def adam(parameters: Iterable[nn.Parameter], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999)) -> Adam:
    """Adam (Kingma and Ba, ICLR 2015, arXiv 1412.6980)."""
    parameters = list(parameters)
    return Adam(parameters, lr, (betas[0], betas[1]), fused=_can_be_fused(parameters))


def adamw(
    parameters: Iterable[nn.Parameter], lr: float = 1e-3, weight_decay: float = 1e-2, betas: tuple[float, float] = (0.9, 0.999)
) -> AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101)."""
    parameters = list(parameters)
    return AdamW(parameters, lr, (betas[0], betas[1]), weight_decay=weight_decay, fused=_can_be_fused(parameters))


def _can_be_fused(parameters: list[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
