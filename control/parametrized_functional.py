"""Objectives of few parameters, through a functional of the fields that they make."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from .controls import Control, Controls
from .functional import ReducedFunctional


class ParametrizedFunctional(ReducedFunctional):
    """J(q(m)): a functional J of fields q, such as the coordinates of a mesh, as a function of parameters m.

    The derivative is the chain rule's: that of q by autograd, that of J by the functional.

    Args:
        functional: J; its controls are q.
        fields: q in torch: from float64 tensors by the names of the parameters to those by the names of the functional's controls, in
            their shapes.
        controls: m.
    """

    def __init__(
        self, functional: ReducedFunctional, fields: Callable[[dict[str, Tensor]], dict[str, Tensor]], controls: Iterable[Control]
    ):
        self.functional, self.fields, self.controls = functional, fields, Controls(controls)

    def value_and_gradient(self, values: Mapping[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
        m = {name: tensor.requires_grad_() for name, tensor in self._tensors(values).items()}
        q = self.fields(m)
        J, slope = self.functional.value_and_gradient({name: field.detach().numpy() for name, field in q.items()})
        outputs, slopes = zip(*((field, torch.from_numpy(slope[name])) for name, field in q.items()), strict=True)
        gradients = torch.autograd.grad(outputs, list(m.values()), slopes)
        return J, {name: gradient.numpy() for name, gradient in zip(m, gradients, strict=True)}

    @torch.no_grad()
    def __call__(self, values: Mapping[str, np.ndarray]) -> float:
        return self.functional({name: field.numpy() for name, field in self.fields(self._tensors(values)).items()})

    def _tensors(self, values: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: torch.tensor(values[name], dtype=torch.float64) for name in self.controls.names}
