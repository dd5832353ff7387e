"""Metrics in the true norms, of structure, of scales, of rollouts and of quantities of interest; each also serves as a loss."""

from .conservation import DivergenceNorm, IntegralError, MassDefect
from .forces import BodyForces
from .functionals import FunctionalError
from .metric import Metric, accumulate, finish, merge
from .norms import BoundaryError, BoundaryErrors, MaximumError, RelativeNorm
from .spectra import SpectralError
from .trajectories import DecorrelationTime, ErrorOverTime
from .variance import VRMSE
from .velocity import PotentialDivergence, PotentialVelocityError, VelocityError
from .weak_divergence import WeakDivergence

__all__ = [
    "VRMSE",
    "BodyForces",
    "BoundaryError",
    "BoundaryErrors",
    "DecorrelationTime",
    "DivergenceNorm",
    "ErrorOverTime",
    "FunctionalError",
    "IntegralError",
    "MassDefect",
    "MaximumError",
    "Metric",
    "PotentialDivergence",
    "PotentialVelocityError",
    "RelativeNorm",
    "SpectralError",
    "VelocityError",
    "WeakDivergence",
    "accumulate",
    "finish",
    "merge",
]
