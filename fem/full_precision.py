"""Arithmetic that keeps its precision inside of an autocast: what must hold to rounding is not rounded to eight bits."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager:
    """A block whose dense products are computed in the precision of their factors, on the device of ``like``."""
    device = like.device.type
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known and torch.is_autocast_enabled(device) else nullcontext()
