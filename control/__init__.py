"""Optimisation of inputs through a solver or a trained operator: controls, reduced functionals, optimisers, Taylor tests."""

from .controls import Control, Controls
from .firedrake_functional import FiredrakeFunctional
from .frequency import expected_frequency, power_spectrum
from .functional import ReducedFunctional
from .minimize import CONTROLS, HISTORY, Minimum, descend, minimize
from .shedding import Shedding
from .spanned import SpannedFunctional
from .taylor import taylor_test
from .torch_functional import TorchFunctional

__all__ = [
    "CONTROLS",
    "HISTORY",
    "Control",
    "Controls",
    "FiredrakeFunctional",
    "Minimum",
    "ReducedFunctional",
    "Shedding",
    "SpannedFunctional",
    "TorchFunctional",
    "descend",
    "expected_frequency",
    "minimize",
    "power_spectrum",
    "taylor_test",
]
