"""Optimisers beyond those of torch, each a function or class of the parameters; L-BFGS is ``torch.optim.LBFGS``."""

from .adam import adam, adamw
from .lion import Lion
from .muon import MuonAdamW

__all__ = ["Lion", "MuonAdamW", "adam", "adamw"]
