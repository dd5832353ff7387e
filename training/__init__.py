"""Training of operators: loop, losses, metrics, checkpoints, logs."""

from .checkpoint import Checkpoints
from .evaluation import evaluate
from .log import MetricsLog
from .metrics import BoundaryError, Metric, RelativeNorm
from .schedule import cosine, one_cycle
from .trainer import Settings, Trainer, validate

__all__ = [
    "BoundaryError",
    "Checkpoints",
    "Metric",
    "MetricsLog",
    "RelativeNorm",
    "Settings",
    "Trainer",
    "cosine",
    "evaluate",
    "one_cycle",
    "validate",
]
