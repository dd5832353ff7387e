"""Optimisation of inputs through a solver or a trained operator: controls, reduced functionals, optimisers, Taylor tests."""

from .controls import Control, Controls
from .firedrake_functional import FiredrakeFunctional
from .functional import ReducedFunctional
from .minimize import CONTROLS, HISTORY, Minimum, descend, minimize
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
    "SpannedFunctional",
    "TorchFunctional",
    "descend",
    "minimize",
    "taylor_test",
]
