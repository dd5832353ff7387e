"""Training of operators: loop, objectives, losses, metrics, checkpoints, logs."""

from .checkpoint import Checkpoints
from .evaluation import evaluate
from .log import MetricsLog
from .losses import FormEnergy, FormResidual, SchemeResidual, WeightedSum
from .metrics import BoundaryError, Metric, RelativeNorm
from .objectives import Mixed, Objective, Pool, Rollout, rollout
from .schedule import cosine, one_cycle
from .trainer import Settings, Trainer, validate

__all__ = [
    "BoundaryError",
    "Checkpoints",
    "FormEnergy",
    "FormResidual",
    "Metric",
    "MetricsLog",
    "Mixed",
    "Objective",
    "Pool",
    "RelativeNorm",
    "Rollout",
    "SchemeResidual",
    "Settings",
    "Trainer",
    "WeightedSum",
    "cosine",
    "evaluate",
    "one_cycle",
    "rollout",
    "validate",
]
