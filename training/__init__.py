"""Training of operators: loop, losses, metrics, checkpoints, logs."""

from .checkpoint import Checkpoints
from .log import MetricsLog
from .loss import RelativeNorm
from .schedule import cosine, one_cycle
from .trainer import Settings, Trainer, validate

__all__ = ["Checkpoints", "MetricsLog", "RelativeNorm", "Settings", "Trainer", "cosine", "one_cycle", "validate"]
