"""Objectives through differentiable torch: a trained operator, or a solver on a grid."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from ..errors import DivergedError
from .controls import Control, Controls
from .functional import ReducedFunctional


class TorchFunctional(ReducedFunctional):
    """J(m) by a function of tensors, differentiated by autograd.

    Args:
        objective: from the controls by name, tensors of their shapes, to a scalar tensor. It holds the model: for a trained operator,
            ``lambda m: cost(operator({"g": basis @ m["g"], ...}))``.
        controls: what to optimise.
    """

    def __init__(
        self,
        objective: Callable[[dict[str, Tensor]], Tensor],
        controls: Iterable[Control],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        self.objective, self.controls = objective, Controls(controls)
        self._dtype, self._device = dtype, device

    def value_and_gradient(self, values: Mapping[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
        tensors = self._tensors(values)
        for tensor in tensors.values():
            tensor.requires_grad_()
        J = self.objective(tensors)
        gradients = torch.autograd.grad(J, list(tensors.values()))
        return _finite(J), {name: g.double().cpu().numpy() for name, g in zip(tensors, gradients, strict=True)}

    @torch.no_grad()
    def __call__(self, values: Mapping[str, np.ndarray]) -> float:
        return _finite(self.objective(self._tensors(values)))

    def _tensors(self, values: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: torch.tensor(values[name], dtype=self._dtype, device=self._device) for name in self.controls.names}


def _finite(J: Tensor) -> float:
    value = J.item()
    if not np.isfinite(value):
        raise DivergedError(f"The objective became {value}: the model left the finite numbers. Bound the controls more tightly.")
    return value
