"""Training of operators: loop, objectives, losses, metrics, optimisers, schedules, checkpoints, logs."""

from .certificate import Certificate, ResidualEstimate, calibrate
from .checkpoint import Checkpoints
from .distributed import Processes, processes
from .environment import deterministic, environment, record_environment
from .evaluation import evaluate
from .family import MetricFamily, ObjectiveFamily
from .grid_physics import StaggeredLoss, VorticityLoss
from .log import MetricsLog
from .losses import FormEnergy, FormResidual, NewtonError, SchemeResidual, WeightedSum
from .metrics import (
    VRMSE,
    BodyForces,
    BoundaryError,
    BoundaryErrors,
    DecorrelationTime,
    DivergenceNorm,
    ErrorOverTime,
    FunctionalError,
    IntegralError,
    MassDefect,
    MaximumError,
    Metric,
    PotentialDivergence,
    PotentialVelocityError,
    RelativeNorm,
    SpectralError,
    VelocityError,
    WeakDivergence,
)
from .objectives import Blocks, HistoryRollout, Mixed, Objective, Pool, Rollout, ScenePool, rollout
from .optimizers import Lion, MuonAdamW, adam, adamw
from .schedule import constant, cosine, one_cycle, plateau
from .settings import Settings
from .spread import SpreadCalibration, SubGridSpread
from .time_step import TimeStepResidual
from .trackers import TensorBoard, Tracker, WeightsAndBiases
from .trainer import Trainer
from .truncated_h1 import TruncatedH1
from .validation import validate

__all__ = [
    "VRMSE",
    "Blocks",
    "BodyForces",
    "BoundaryError",
    "BoundaryErrors",
    "Certificate",
    "Checkpoints",
    "DecorrelationTime",
    "DivergenceNorm",
    "ErrorOverTime",
    "FormEnergy",
    "FormResidual",
    "FunctionalError",
    "HistoryRollout",
    "IntegralError",
    "Lion",
    "MassDefect",
    "MaximumError",
    "Metric",
    "MetricFamily",
    "MetricsLog",
    "Mixed",
    "MuonAdamW",
    "NewtonError",
    "Objective",
    "ObjectiveFamily",
    "Pool",
    "PotentialDivergence",
    "PotentialVelocityError",
    "Processes",
    "RelativeNorm",
    "ResidualEstimate",
    "Rollout",
    "ScenePool",
    "SchemeResidual",
    "Settings",
    "SpectralError",
    "SpreadCalibration",
    "StaggeredLoss",
    "SubGridSpread",
    "TensorBoard",
    "TimeStepResidual",
    "Tracker",
    "Trainer",
    "TruncatedH1",
    "VelocityError",
    "VorticityLoss",
    "WeakDivergence",
    "WeightedSum",
    "WeightsAndBiases",
    "adam",
    "adamw",
    "calibrate",
    "constant",
    "cosine",
    "deterministic",
    "environment",
    "evaluate",
    "one_cycle",
    "plateau",
    "processes",
    "record_environment",
    "rollout",
    "validate",
]
