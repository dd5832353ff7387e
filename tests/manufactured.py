"""What tests of convergence share: fitted orders, and residuals of compiled forms at the dofs that are not prescribed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.fem import Residual


def order(errors: Sequence[float], sizes: Sequence[float]) -> float:
    """The slope of errors over mesh or step sizes, fitted in the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def tensor(*functions: Any) -> Tensor:
    """The dofs of Firedrake functions, one after the other."""
    return torch.cat([torch.from_numpy(function.dat.data_ro.copy()).flatten() for function in functions])


def fields(functions: Mapping[str, Any]) -> dict[str, Tensor]:
    """The dofs of several named functions."""
    return {name: tensor(function) for name, function in functions.items()}


def evaluate(form: Residual, given: Mapping[str, Tensor | float]) -> Tensor:
    """A compiled form at those of the given fields and constants that it depends on."""
    return form(**{name: value for name, value in given.items() if name in form.arguments})


def free(num_dofs: int, prescribed: Tensor) -> Tensor:
    """Which dofs are not prescribed."""
    mask = torch.ones(num_dofs, dtype=torch.bool)
    mask[prescribed] = False
    return mask
