"""Optimisation of inputs through a solver or a trained operator: controls, reduced functionals, optimisers, Taylor tests."""

from .case import ControlCase, TrainedOperator
from .controls import Control, Controls
from .cylinder_drag import CylinderDrag
from .darcy_permeability import DarcyPermeability
from .duct_shape import DuctShape
from .firedrake_functional import FiredrakeFunctional
from .frequency import expected_frequency, power_spectrum
from .functional import ReducedFunctional
from .minimize import CONTROLS, HISTORY, Minimum, descend, minimize
from .parametrized_functional import ParametrizedFunctional
from .shedding import Shedding
from .shedding_frequency import SheddingFrequency
from .smoke_target import SmokeTarget
from .solver_functional import SolverFunctional
from .stokes_lid import StokesLid
from .taylor import taylor_test
from .torch_functional import TorchFunctional

__all__ = [
    "CONTROLS",
    "HISTORY",
    "Control",
    "ControlCase",
    "Controls",
    "CylinderDrag",
    "DarcyPermeability",
    "DuctShape",
    "FiredrakeFunctional",
    "Minimum",
    "ParametrizedFunctional",
    "ReducedFunctional",
    "Shedding",
    "SheddingFrequency",
    "SmokeTarget",
    "SolverFunctional",
    "StokesLid",
    "TorchFunctional",
    "TrainedOperator",
    "descend",
    "expected_frequency",
    "minimize",
    "power_spectrum",
    "taylor_test",
]
